WITH claimed AS (
	UPDATE job SET state = 'running', claimed_at = now()
	WHERE id = ANY (ARRAY(SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED))
	RETURNING id, payload)
SELECT count(*) AS n, array_agg(id) AS ids, array_agg(payload) AS payloads FROM claimed \gset
\if :n > 0
WITH finished AS (DELETE FROM job WHERE id = ANY (:ids) RETURNING id)
SELECT count(*) AS finished, micros() AS last_at FROM finished \gset
\endif
