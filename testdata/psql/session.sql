-- psql's own ways: ON_ERROR_ROLLBACK, single statements, \gexec, describe,
-- reconnecting, and a script that stops at an error.
\set ON_ERROR_ROLLBACK on
CREATE TABLE t (a int PRIMARY KEY, b text);
BEGIN;
\! (seq 1 15000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
\! (seq 14000 30000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SELECT count(*) FROM t;
COMMIT;
SELECT format('INSERT INTO t VALUES (%s, %L)', g, 'x') FROM generate_series(100000, 100003) g \gexec
INSERT INTO t SELECT g, 'y' FROM generate_series(200000, 200010) g ON CONFLICT DO NOTHING;
SELECT a FROM t WHERE a > 100 ORDER BY a LIMIT 2 \gset
\d t
\dt
\set AUTOCOMMIT off
\! (seq 300000 320000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SELECT count(*) FROM t;
ROLLBACK;
\set AUTOCOMMIT on
SELECT count(*) FROM t;
SELECT 1 \; SELECT 2 \; SELECT 3;
\set ON_ERROR_STOP on
COPY t FROM STDIN;
1	duplicate
\.
SELECT 'not reached';
