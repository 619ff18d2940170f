# psycopg2: execute_values, execute_batch, executemany, plain literals.
import re

import psycopg2
from psycopg2.extras import execute_batch, execute_values

ROWS = 300
conn = psycopg2.connect("")
cur = conn.cursor()
cur.execute("CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)")
cur.execute("CREATE TABLE ok (a int)")
cur.execute("CREATE TABLE g (id serial PRIMARY KEY, name varchar(20) NOT NULL, j jsonb, arr int[], raw bytea)")
conn.commit()


def note(label, e=None):
    if e is None:
        print(label, cur.rowcount, cur.statusmessage, conn.get_transaction_status())
    else:
        d = e.diag
        text = re.sub(r"contains \(\d+,", "contains (N,", str(e).strip().replace("\n", " / "))
        print(label, type(e).__name__, e.pgcode, text, d.context, d.constraint_name, d.schema_name, d.table_name, d.column_name,
              d.statement_position, d.severity, d.source_function, conn.get_transaction_status())
    for notice in conn.notices:
        print("notice", notice.strip())
    conn.notices.clear()


def attempt(label, work):
    try:
        work()
        note(label)
        conn.commit()
    except psycopg2.Error as e:
        note(label, e)
        conn.rollback()
        cur.execute("INSERT INTO ok VALUES (1), (2)")  # see insertOK
        conn.commit()


def rows(first, bad=None):
    return [(i, None if i - first == bad else f"name {i} \\ 'é'", f"{i % 100}.25", None) for i in range(first, first + ROWS)]


WAYS = {
    "values": lambda r, tail="": execute_values(cur, "INSERT INTO t (a, b, c, d) VALUES %s" + tail, r, page_size=100),
    "one page": lambda r, tail="": execute_values(cur, "INSERT INTO t VALUES %s" + tail, r, page_size=1000),
    "batch": lambda r, tail="": execute_batch(cur, "INSERT INTO t (a, b, c, d) VALUES (%s, %s, %s, %s)" + tail, r),
    "many": lambda r, tail="": cur.executemany("INSERT INTO t (a, b, c, d) VALUES (%s, %s, %s, %s)" + tail, r),
    "literals": lambda r, tail="": cur.execute(
        b"INSERT INTO t VALUES " + b",".join(cur.mogrify("(%s, %s, %s, %s)", x) for x in r) + tail.encode()),
}
TAILS = ["", " ON CONFLICT DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = excluded.b || t.b"]

for autocommit in (False, True):
    conn.autocommit = autocommit
    for name, way in WAYS.items():
        for tail in TAILS:
            label = f"{name}{tail} {autocommit}"
            attempt(label, lambda: way(rows(1), tail))
            attempt(label + " duplicate", lambda: way(rows(2 - ROWS), tail))
            attempt(label + " more", lambda: way(rows(1001), tail))
            attempt(label + " null", lambda: way(rows(2001, ROWS // 2), tail))
            cur.execute("SELECT count(*), sum(a), md5(string_agg(t::text, ',' ORDER BY a)) FROM t")
            print(label, cur.fetchone())
            cur.execute("TRUNCATE t")
            conn.commit()

conn.autocommit = False


def returning(label, values, fetch=True):
    def work():
        got = execute_values(cur, "INSERT INTO g (name, j, arr) VALUES %s RETURNING id, name, j, arr", values, fetch=fetch)
        print(label, len(got), got[0], got[-1])
    attempt(label, work)


returning("returning", [(f"n{i}", '{"a": [1, "é"]}', [i, i + 1]) for i in range(ROWS)])
returning("returning, one array", [(f"n{i}", "{}", None) for i in range(ROWS)])
attempt("bytes", lambda: execute_values(cur, "INSERT INTO g (name, raw) VALUES %s", [(f"n{i}", bytes(range(i % 256))) for i in range(ROWS)]))
attempt("raw and null", lambda: execute_values(cur, "INSERT INTO g (name, raw) VALUES %s", [(None if i == 50 else "x", None) for i in range(ROWS)]))
attempt("too long", lambda: execute_values(cur, "INSERT INTO g (name, raw) VALUES %s", [("x" * (i % 22), None) for i in range(ROWS)]))
cur.execute("ALTER SEQUENCE g_id_seq RESTART WITH 5000")
conn.commit()


def savepoints():
    WAYS["values"](rows(1))
    cur.execute("SAVEPOINT s")
    try:
        WAYS["values"](rows(2 - ROWS))
    except psycopg2.Error as e:
        note("in savepoint", e)
        cur.execute("ROLLBACK TO SAVEPOINT s")
    WAYS["values"](rows(1001))
    cur.execute("RELEASE SAVEPOINT s")
    returning_now = execute_values(cur, "INSERT INTO g (name) VALUES %s RETURNING id", [("a",), ("b",), ("c",)], fetch=True)
    print(returning_now)


attempt("savepoints", savepoints)
cur.execute("SELECT count(*), sum(a), sum(length(b)), sum(c) FROM t")
print(cur.fetchone())
