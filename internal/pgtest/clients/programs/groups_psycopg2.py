# psycopg2: few rows at a time into a table with groups.
import psycopg2
import psycopg2.extras

conn = psycopg2.connect("")
GROUPS = ["a", "b", None, "b'\\"]
INSERT = "INSERT INTO t (id, group_id, v) VALUES (%s, %s, %s)"


def attempt(label, work):
    try:
        with conn.cursor() as cur:
            work(cur)
            print(label, cur.statusmessage, cur.fetchall() if cur.description else None, conn.info.transaction_status)
    except psycopg2.Error as e:
        d = e.diag
        print(label, d.sqlstate, d.message_primary, d.message_detail, d.context, d.constraint_name, d.table_name, d.statement_position)
        conn.rollback()


for autocommit in (True, False):
    conn.autocommit = autocommit
    base = 1000 * autocommit
    for i in range(6):
        attempt("one", lambda cur: cur.execute(INSERT, (base + i, GROUPS[i % 4], "x")))
    attempt("duplicate", lambda cur: cur.execute(INSERT, (base + 1, "b", "x")))
    for i in range(20, 26):
        attempt("returning", lambda cur: cur.execute(INSERT + " RETURNING id, group_id", (base + i, GROUPS[i % 4], "x")))
    attempt("many", lambda cur: cur.executemany(INSERT, [(base + i, GROUPS[i % 4], "x") for i in range(30, 40)]))
    attempt("values", lambda cur: psycopg2.extras.execute_values(cur, "INSERT INTO t (id, group_id, v) VALUES %s",
                                                                 [(base + i, GROUPS[i % 4], "x") for i in range(50, 60)]))
    attempt("batch", lambda cur: psycopg2.extras.execute_batch(cur, INSERT, [(base + i, GROUPS[i % 4], "x") for i in range(100, 400)]))
    attempt("batch duplicate", lambda cur: psycopg2.extras.execute_batch(cur, INSERT, [(base + i, GROUPS[i % 4], "é") for i in (400, 401, 101, 402)]))
    attempt("batch ignore", lambda cur: psycopg2.extras.execute_batch(cur, INSERT + " ON CONFLICT DO NOTHING", [(base + i, GROUPS[i % 4], "é") for i in range(410, 420)]))
    attempt("check", lambda cur: cur.execute(INSERT, (base + 70, "b", "no")))
    attempt("expression", lambda cur: cur.execute("INSERT INTO t (id, group_id, v) VALUES (%s, lower('B'), now()::text::varchar(4))", (base + 71,)))
    attempt("select", lambda cur: cur.execute("INSERT INTO t (id, group_id, v) SELECT g, CASE g %% 2 WHEN 0 THEN 'b' ELSE 'a' END, 's' FROM generate_series(%s, %s) g", (base + 80, base + 85)))
    if not autocommit:
        conn.rollback()
        attempt("after", lambda cur: cur.execute(INSERT, (90, "b", "x")))
        conn.commit()
