SELECT count(evq_publish('BENCH', 'BENCH', n::text, :payload)) FROM generate_series(1, :batch) AS n;
