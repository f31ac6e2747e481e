-- Before a turn or a publish: the client's first one is on record.
\if :begun_at = 0
INSERT INTO mark (what, client) VALUES ('begin', :client_id) RETURNING at AS begun_at \gset
\endif
