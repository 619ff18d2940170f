-- Locks, notices and notifications as psql shows them.
CREATE TABLE t (a int, b text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'row %', NEW.a;
	PERFORM pg_notify('bell', NEW.a::text);
	RETURN NEW;
END $$;
CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a % 5000 = 0) EXECUTE FUNCTION tell();
\! (seq 1 15000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SET client_min_messages = warning;
\! (seq 1 15000 | sed "s/.*/&\tname &/") > rows.txt
\copy t from 'rows.txt'
SET client_encoding = 'LATIN1';
\! (printf "1\t\351\n") > rows.txt
\copy t from 'rows.txt'
RESET client_encoding;
SELECT a, b FROM t WHERE b !~ 'name';
SET ROLE pg_monitor;
\! (echo 1) > rows.txt
\copy t from 'rows.txt'
RESET ROLE;
SELECT count(*) FROM t;
