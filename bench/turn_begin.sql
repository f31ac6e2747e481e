-- Before each turn_*.sql: the client's first turn is on record.
\if :begun = 0
INSERT INTO mark (what) VALUES ('begin');
\set begun 1
\endif
