-- INSERTs as psql sends them: literals, one statement a message; a dump; and
-- what its own settings make of them.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2));
CREATE TABLE g (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO t VALUES (1, 'one', 1.5), (2, 'two; not the end', 2), (3, E'th\tree', NULL);
INSERT INTO t (b, a) VALUES
  ('four', 4), -- a comment
  ('it''s', 5),
  ($$six$$, 6);
SELECT * FROM t ORDER BY a;
-- Three hundred rows, made by psql itself.
SELECT string_agg(format('(%s, %L, %s.25)', i, 'name ' || i || ' ''é'' \', i % 100), E',\n') AS rows FROM generate_series(100, 399) i \gset
INSERT INTO t VALUES :rows;
INSERT INTO t VALUES :rows;
INSERT INTO t VALUES :rows ON CONFLICT DO NOTHING;
INSERT INTO t VALUES :rows ON CONFLICT (a) DO UPDATE SET c = excluded.c + 1 WHERE t.a > 200 RETURNING a % 2 AS odd;
SELECT count(*), sum(a), sum(c) FROM t;
SELECT string_agg(format('(%s, %s, 1)', i, CASE WHEN i = 550 THEN 'NULL' ELSE quote_literal(i) END), ', ') AS broken FROM generate_series(500, 799) i \gset
INSERT INTO t VALUES :broken;
\errverbose
BEGIN;
INSERT INTO t VALUES (1000, 'a', 1), (1001, 'b', 2);
INSERT INTO t VALUES :broken;
SELECT 1;
COMMIT;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO t VALUES (1000, 'a', 1), (1001, 'b', 2);
INSERT INTO t VALUES :broken;
INSERT INTO t VALUES (1002, 'c', 1), (1001, 'b', 2);
INSERT INTO t VALUES (1002, 'c', 1), (1003, 'd', 2) RETURNING *;
COMMIT;
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT off
INSERT INTO t VALUES (2000, 'a', 1), (2001, 'b', 2);
INSERT INTO t VALUES (2000, 'a', 1), (2001, 'b', 2);
ROLLBACK;
INSERT INTO t VALUES (2002, 'a', 1), (2003, 'b', 2);
COMMIT;
\set AUTOCOMMIT on
INSERT INTO g (name) VALUES ('a'), ('b'), ('c') RETURNING id, name;
INSERT INTO g (name) VALUES ('x') RETURNING id AS only \gset
\echo :only
INSERT INTO g (name) VALUES ('d'), ('e') RETURNING format('INSERT INTO g (name) VALUES (%L), (%L)', name, id) \gexec
INSERT INTO t VALUES (3000, 'a', 1), (3001, 'b', 2)\; INSERT INTO t VALUES (3002, 'c', 1), (3003, 'd', 2)\; SELECT count(*) FROM t;
INSERT INTO t VALUES (1, 'x', 1), (2, 'y');
INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 'z');
INSERT INTO missing VALUES (1, 'x', 1), (2, 'y', 2);
\set QUIET on
INSERT INTO t VALUES (4000, 'a', 1), (4001, 'b', 2);
\set QUIET off
\! (echo 'INSERT INTO t VALUES'; seq 5000 9998 | sed "s/.*/(&, 'dumped &', 1.5),/"; echo "(9999, 'last', NULL);") > dump.sql
\i dump.sql
\i dump.sql
SELECT count(*), sum(a), sum(c) FROM t;
