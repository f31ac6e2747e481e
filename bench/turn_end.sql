-- After each turn_*.sql: n is what the turn acquired, at when its last work was done.
-- A client that found nothing a thousand times in a row ends itself, by an error.
\if :n > 0
\set empty 0
\else
\set empty :empty + 1
\sleep 1 ms
\if :empty >= 1000
\if :last_at > 0
INSERT INTO mark VALUES ('end', :last_at);
\endif
SELECT 1 / 0;
\endif
\endif
