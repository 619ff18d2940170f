-- What psql itself does with COPY: inline data, \copy from files and programs,
-- errors with their context, timing of notices.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
CREATE TABLE t (a int PRIMARY KEY, b text);
COPY t FROM STDIN;
1	one
2	two
\.
COPY t FROM STDIN WITH (FORMAT csv, HEADER);
a,b
3,"three
lines"
\.
SELECT * FROM t ORDER BY a;
\! (seq 10 15000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SELECT count(*), sum(a) FROM t;
\! (seq 20000 40000 | sed "s/.*/&,\"quoted, &\"/") > rows.txt
\copy t (a, b) from 'rows.txt' with (format csv)
SELECT count(*), sum(a) FROM t;
\! (seq 15000 30000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
\! (seq 50000 60000 | sed "s/.*/&\tname &/"; echo bad) > rows.txt
\copy t from 'rows.txt'
\copy t from '/nonexistent'
\! (echo 1) > rows.txt
\copy missing from 'rows.txt'
COPY t FROM STDIN;
x	bad
\.
SELECT count(*), sum(a) FROM t;
BEGIN;
\! (seq 70000 90000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SELECT count(*), sum(a) FROM t;
ROLLBACK;
BEGIN;
COPY t FROM STDIN;
1	again
\.
SELECT 1;
COMMIT;
\copy (select * from t order by a limit 3) to stdout csv
