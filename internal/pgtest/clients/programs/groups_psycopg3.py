# psycopg 3: few rows at a time into a table with groups; prepared after some
# executions, in pipelines, in binary.
import logging

import psycopg

logging.getLogger("psycopg").setLevel(logging.ERROR)
conn = psycopg.connect("", prepare_threshold=2)
GROUPS = ["a", "b", None, "b'\\"]
INSERT = "INSERT INTO t (id, group_id, v) VALUES (%s, %s, %s)"


def attempt(label, work):
    try:
        print(label, work(), conn.info.transaction_status.name)
    except psycopg.Error as e:
        d = e.diag
        print(label, d.sqlstate, d.message_primary, d.message_detail, d.context, d.constraint_name, d.table_name, conn.info.transaction_status.name)
        conn.rollback()


def one(sql, *values, **kwargs):
    cur = conn.execute(sql, values, **kwargs)
    return cur.statusmessage, cur.fetchall() if cur.description else None


def pipeline(base, bad=None):
    with conn.pipeline():
        for i in range(8):
            conn.execute(INSERT, (bad if i == 5 and bad else base + i, GROUPS[i % 4], "x"))
    return base


def transaction(base):
    with conn.pipeline(), conn.transaction():
        for i in range(4):
            conn.execute(INSERT, (base + i, GROUPS[i % 4], "x"))
    return base


def many(base, tail=""):
    with conn.cursor() as cur:
        cur.executemany(INSERT + tail, [(base + i, GROUPS[i % 4], "x") for i in range(8)], returning=bool(tail))
        return cur.rowcount


def sqlalchemy(base, tail="", **kwargs):  # the text that SQLAlchemy 2 makes of several rows
    cells = ", ".join("(%%s::INTEGER, %%s::VARCHAR, %%s::VARCHAR, %d)" % i for i in range(5))
    values = [v for i in range(5) for v in (base + i, GROUPS[i % 4], "x")]
    sql = "INSERT INTO t (id, group_id, v) SELECT p0::INTEGER, p1::VARCHAR, p2::VARCHAR FROM (VALUES " + cells
    return one(sql + ") AS imp_sen(p0, p1, p2, sen_counter) ORDER BY sen_counter" + tail, *values, **kwargs)


for autocommit in (True, False):
    conn.autocommit = autocommit
    base = 1000 * autocommit
    for i in range(8):
        attempt("one", lambda: one(INSERT, base + i, GROUPS[i % 4], "x"))
        attempt("binary", lambda: one(INSERT.replace("%s", "%b"), base + 10 + i, GROUPS[i % 4], "x"))
        attempt("returning", lambda: one(INSERT + " RETURNING id, group_id", base + 20 + i, GROUPS[i % 4], "x"))
    attempt("pipeline", lambda: pipeline(base + 100))
    attempt("bad pipeline", lambda: pipeline(base + 110, base + 1))
    attempt("transaction", lambda: transaction(base + 120))
    attempt("many", lambda: many(base + 130))
    attempt("many again", lambda: many(base + 130))
    attempt("many returning", lambda: many(base + 140, " RETURNING id"))
    attempt("duplicate", lambda: one(INSERT, base + 1, "b", "x"))
    attempt("check", lambda: one(INSERT, base + 150, "b", "no"))
    if not autocommit:
        conn.commit()

for autocommit in (True, False):  # errors leave other numbers of the sequence to what follows
    conn.autocommit = autocommit
    base = 3000 + 1000 * autocommit
    for i, tail in enumerate(("", " RETURNING t.id, t.id AS id__1, t.group_id", " ON CONFLICT (id) DO UPDATE SET v = t.v || excluded.v RETURNING t.v")):
        for n in range(4):
            attempt("sqlalchemy", lambda: sqlalchemy(base + 40 * i + 4 * n + n // 3, tail, binary=n % 2 == 1))
    if not autocommit:
        conn.commit()
