-- After each turn: n is what it acquired, finished what it finished, last_at when its last work was done.
-- A client that found nothing a thousand times in a row ends itself, by an error, if all is published.
\set done :done + :finished
\set finished 0
\if :n > 0
\set empty 0
\else
\set empty :empty + 1
\sleep 1 ms
\if :empty >= 1000
\set empty 0
SELECT count(*) AS over FROM mark WHERE what = 'published' \gset
\if :over > 0
\if :last_at > 0
INSERT INTO mark VALUES ('end', :client_id, :last_at, :done);
\endif
SELECT 1 / 0;
\endif
\endif
\endif
