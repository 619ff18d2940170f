# psycopg2: copy_expert, copy_from, execute_values; what each raises.
import io

import psycopg2
from psycopg2.extras import execute_values

ROWS = 12000
conn = psycopg2.connect("")
cur = conn.cursor()
cur.execute("CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10,2), d timestamptz)")
conn.commit()


def attempt(label, work):
    try:
        work()
        print(label, cur.rowcount, cur.statusmessage, conn.get_transaction_status())
        conn.commit()
    except psycopg2.Error as e:
        d = e.diag
        print(label, type(e).__name__, e.pgcode, str(e).strip().replace("\n", " / "), d.context, d.constraint_name, d.table_name,
              d.column_name, d.message_detail, d.source_function)
        conn.rollback()
    for notice in conn.notices:
        print("notice", notice.strip())
    conn.notices.clear()


def text(first, n, bad=None):
    lines = [f"{i}\tname {i} é\t{i % 100}.25\t2020-01-01 00:00:00+00\n" for i in range(first, first + n)]
    return io.StringIO("".join(lines) + (bad or ""))


def csv(first, n):
    return io.StringIO("a,b,c,d\n" + "".join(f'{i},"name ""{i}"",\né",,\n' for i in range(first, first + n)))


attempt("small", lambda: cur.copy_expert("COPY t FROM STDIN", text(1, 3)))
attempt("large", lambda: cur.copy_expert("COPY t FROM STDIN", text(100, ROWS)))
attempt("csv", lambda: cur.copy_expert("COPY t FROM STDIN WITH (FORMAT csv, HEADER)", csv(20000, ROWS)))
attempt("copy_from", lambda: cur.copy_from(text(40000, ROWS), "t", columns=("a", "b", "c", "d")))
attempt("small pieces", lambda: cur.copy_expert("COPY t FROM STDIN", text(60000, 2000), size=77))
attempt("duplicate", lambda: cur.copy_expert("COPY t FROM STDIN", text(99, ROWS)))
attempt("bad row", lambda: cur.copy_expert("COPY t FROM STDIN", text(100000, ROWS, "x\ty\t1\t2020-01-01\n")))
attempt("missing column", lambda: cur.copy_expert("COPY t FROM STDIN", text(100000, ROWS, "7\n")))
attempt("missing table", lambda: cur.copy_expert("COPY missing FROM STDIN", text(1, 3)))


class Broken(io.StringIO):
    def read(self, n=-1):
        raise ValueError("source failed")


try:
    cur.copy_expert("COPY t FROM STDIN", Broken())
except Exception as e:
    print("broken source", type(e).__name__, getattr(e, "pgcode", None), str(e).strip().split("\n")[0])
    conn.rollback()

attempt("values", lambda: execute_values(cur, "INSERT INTO t VALUES %s", [(i, "v", 1, None) for i in range(200000, 205000)], page_size=1000))
cur.execute("SELECT count(*), sum(a), sum(length(b)), sum(c), max(d)::text FROM t")
print(cur.fetchone())
