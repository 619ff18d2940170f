# psycopg 3: single rows by execute, first parsed each time and then prepared, and by executemany, with pgbulk.coalesce.
import psycopg

conn = psycopg.connect("")
cur = conn.cursor()
cur.execute("CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)")
cur.execute("SET pgbulk.coalesce = 'transaction'")
conn.commit()
INSERT = "INSERT INTO t (a, b, c, d) VALUES (%s, %s, %s, %s)"


def row(i):
    return (i, f"name {i} \\ 'é'", i % 100 + 0.25, None)


for i in range(50):
    cur.execute(INSERT, row(i))
    print(cur.rowcount, cur.statusmessage, conn.info.transaction_status.name)
conn.commit()
cur.executemany(INSERT, [row(i) for i in range(50, 100)])
print(cur.rowcount)
cur.execute("SELECT count(*), sum(hashtext(t::text)::bigint) FROM t")
print(cur.fetchone())
conn.commit()
