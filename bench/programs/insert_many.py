"""Inserts the rows of one table into another by psycopg 3's executemany, in one
transaction, and prints the seconds that took. Arguments: source and target
table. The server is that of the PG variables."""

import sys
import time

import psycopg

source, target = sys.argv[1:]
with psycopg.connect() as conn:
    rows = conn.execute(f"select * from {source} order by id").fetchall()
    conn.commit()
    start = time.perf_counter()
    with conn.cursor() as cur:
        cur.executemany(
            f"insert into {target} (id, quantity, customer, price, ordered_at, paid, note)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            rows,
        )
    conn.commit()
    print("seconds =", time.perf_counter() - start)
