# psycopg 3: executemany with and without rows that come back, pipelines, and
# the cursor that writes literals.
import logging
import re

import psycopg
from psycopg import ClientCursor

ROWS = 300
logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it says of broken pipelines depends on the moment
conn = psycopg.connect("")
conn.add_notice_handler(lambda d: print("notice", d.severity, d.message_primary, d.context))
conn.execute("CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)")
conn.execute("CREATE TABLE ok (a int)")
conn.execute("CREATE TABLE g (id serial PRIMARY KEY, name varchar(20) NOT NULL)")
conn.commit()


def note(label, e):
    d = e.diag
    print(label, type(e).__name__, d.sqlstate, d.message_primary, re.sub(r"contains \(\d+,", "contains (N,", str(d.message_detail)),
          d.message_hint, d.context, d.constraint_name, d.schema_name, d.table_name, d.column_name, d.statement_position, d.source_function,
          conn.info.transaction_status.name)


def attempt(label, work):
    try:
        print(label, work(), conn.info.transaction_status.name)
        conn.commit()
    except psycopg.Error as e:
        note(label, e)
        conn.rollback()
        conn.execute("INSERT INTO ok VALUES (1), (2)")  # see insertOK
        conn.commit()


def rows(first, bad=None):
    return [(i, None if i - first == bad else f"name {i} \\ 'é'", i % 100 + 0.25, None) for i in range(first, first + ROWS)]


ONE = "INSERT INTO t (a, b, c, d) VALUES (%s, %s, %s, %s)"


def many(r, tail):
    with conn.cursor() as cur:
        cur.executemany(ONE + tail, r)
        return cur.rowcount


def many_returning(r, tail):
    with conn.cursor() as cur:
        cur.executemany(ONE + tail + " RETURNING a", r, returning=True)
        got = []
        while True:
            got += cur.fetchall()
            if not cur.nextset():
                return cur.rowcount, len(got), got[:2]


def pipeline(r, tail):
    with conn.pipeline(), conn.cursor() as cur:
        for x in r:
            cur.execute(ONE + tail, x)
        return cur.rowcount


def pipeline_syncs(r, tail):
    with conn.pipeline() as p, conn.cursor() as cur:
        for n, x in enumerate(r):
            cur.execute(ONE + tail, x)
            if n % 50 == 49:
                p.sync()
    return "done"


def many_values(r, tail):
    with conn.cursor() as cur:
        cur.execute("INSERT INTO t VALUES " + ",".join(["(%s, %s, %s, %s)"] * len(r)) + tail, [v for x in r for v in x])
        return cur.rowcount, cur.statusmessage


def literals(r, tail):
    with ClientCursor(conn) as cur:
        cur.execute("INSERT INTO t (a, b, c, d) VALUES " + ",".join(["(%s, %s, %s, %s)"] * len(r)) + tail, [v for x in r for v in x])
        return cur.rowcount, cur.statusmessage


def binary(r, tail):
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO t (a, b, c) VALUES (%b, %b, %t)" + tail, [x[:3] for x in r])
        return cur.rowcount


TAILS = ["", " ON CONFLICT DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = excluded.b || t.b"]
for autocommit in (False, True):
    conn.autocommit = autocommit
    for way in (many, many_returning, pipeline, pipeline_syncs, many_values, literals, binary):
        for tail in TAILS:
            label = f"{way.__name__}{tail} {autocommit}"
            attempt(label, lambda: way(rows(1), tail))
            attempt(label + " duplicate", lambda: way(rows(2 - ROWS), tail))
            attempt(label + " more", lambda: way(rows(1001), tail))
            attempt(label + " null", lambda: way(rows(2001, ROWS // 2), tail))
            print(label, conn.execute("SELECT count(*), sum(a), md5(string_agg(t::text, ',' ORDER BY a)) FROM t").fetchone())
            conn.execute("TRUNCATE t")
            conn.commit()

conn.autocommit = False


def numbered():
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO g (name) VALUES (%s) RETURNING id, name", [(f"n{i}",) for i in range(ROWS)], returning=True)
        got = [cur.fetchone()]
        while cur.nextset():
            got.append(cur.fetchone())
        return len(got), got[0], got[-1]


def literals_numbered():
    with ClientCursor(conn) as cur:
        cur.execute("INSERT INTO g (name) VALUES " + ",".join(["(%s)"] * ROWS) + " RETURNING id, name", [f"n{i}" for i in range(ROWS)])
        got = cur.fetchall()
        return len(got), got[0], got[-1]


def blocks():
    with conn.transaction():
        many(rows(1), "")
        try:
            with conn.transaction():
                many(rows(2 - ROWS), "")
        except psycopg.Error as e:
            note("in savepoint", e)
        try:
            with conn.transaction():
                literals(rows(2 - ROWS), "")
        except psycopg.Error as e:
            note("in savepoint", e)
        literals(rows(1001), "")
        with conn.transaction(force_rollback=True):
            many(rows(2001), "")
        return conn.execute("SELECT count(*), sum(a) FROM t").fetchone()


attempt("numbered", numbered)
attempt("numbered literals", literals_numbered)
attempt("numbered null", lambda: conn.cursor().executemany("INSERT INTO g (name) VALUES (%s)", [("a",), (None,), ("c",)]))
attempt("too long", lambda: conn.cursor().executemany("INSERT INTO g (name) VALUES (%s)", [("x" * i,) for i in range(23)]))
attempt("blocks", blocks)
print(conn.execute("SELECT count(*), sum(a), sum(length(b)), sum(c) FROM t").fetchone())
