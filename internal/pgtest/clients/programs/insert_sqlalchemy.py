# SQLAlchemy on psycopg2 and, from version 2 on, on psycopg 3: Core and ORM, with
# and without numbers that the server gives.
import re

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, declarative_base

ROWS = 300
Base = declarative_base()


class G(Base):
    __tablename__ = "g"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(20), nullable=False)
    n = sa.Column(sa.Integer, unique=True)
    price = sa.Column(sa.Numeric(10, 2))
    made = sa.Column(sa.DateTime(timezone=True), server_default=sa.text("'2020-01-01 00:00+00'"))


T = sa.Table("t", Base.metadata, sa.Column("a", sa.Integer, primary_key=True, autoincrement=False), sa.Column("b", sa.Text, nullable=False),
             sa.Column("c", sa.Float), sa.Column("d", sa.JSON))


def note(label, e):
    d = e.orig.diag
    detail = re.sub(r"contains \(\d+,", "contains (N,", str(d.message_detail))
    print(label, type(e).__name__, getattr(e.orig, "pgcode", None) or getattr(e.orig, "sqlstate", None), d.message_primary, detail, d.context,
          d.constraint_name, d.table_name, d.column_name, d.statement_position)


def attempt(label, work):
    try:
        print(label, work())
    except sa.exc.DBAPIError as e:
        note(label, e)
        with engine.begin() as c:  # see insertOK
            c.execute(sa.text("INSERT INTO ok VALUES (1), (2)"))


def rows(first, bad=None):
    return [{"a": i, "b": None if i - first == bad else f"name {i} \\ 'é'", "c": i / 4, "d": {"i": i}} for i in range(first, first + ROWS)]


def things(first, bad=None):
    return [{"name": None if i - first == bad else f"name {i}", "n": i, "price": i % 7} for i in range(first, first + ROWS)]


def core(engine):
    def run(statement, values):
        with engine.begin() as c:
            result = c.execute(statement, values)
            return result.rowcount if not result.returns_rows else [tuple(x) for x in result.all()][::50]

    for autocommit in (False, True):
        e = engine.execution_options(isolation_level="AUTOCOMMIT") if autocommit else engine

        def many(values, e=e):
            with e.connect() as c, c.begin():
                return c.execute(sa.insert(T), values).rowcount

        def listed(values, e=e):
            with e.connect() as c, c.begin():
                return c.execute(sa.insert(T).values(values)).rowcount

        def nothing(values, e=e):
            with e.connect() as c, c.begin():
                return c.execute(upsert(T).values(values).on_conflict_do_nothing()).rowcount

        def update(values, e=e):
            statement = upsert(T).values(values)
            with e.connect() as c, c.begin():
                return c.execute(statement.on_conflict_do_update(index_elements=["a"], set_={"b": statement.excluded.b + T.c.b})).rowcount

        for way in (many, listed, nothing, update):
            label = f"core {way.__name__} {autocommit}"
            attempt(label, lambda: way(rows(1)))
            attempt(label + " duplicate", lambda: way(rows(2 - ROWS)))
            attempt(label + " more", lambda: way(rows(1001)))
            attempt(label + " null", lambda: way(rows(2001, ROWS // 2)))
            with engine.begin() as c:
                print(label, c.execute(sa.text("SELECT count(*), sum(a), md5(string_agg(t::text, ',' ORDER BY a)) FROM t")).one())
                c.execute(sa.text("TRUNCATE t"))

    if sa.__version__ >= "2":
        attempt("insertmanyvalues", lambda: run(sa.insert(G.__table__).returning(G.id, G.n, G.made), things(1)))
        attempt("insertmanyvalues sorted", lambda: run(sa.insert(G.__table__).returning(G.id, G.n, sort_by_parameter_order=True), things(1001)))
        attempt("insertmanyvalues duplicate", lambda: run(sa.insert(G.__table__).returning(G.id, sort_by_parameter_order=True), things(1001 - ROWS // 2)))


def restart(engine):
    with engine.begin() as c:
        c.execute(sa.text("TRUNCATE g RESTART IDENTITY"))


def orm(engine):
    def add(values, savepoint=False):
        with Session(engine) as s, s.begin():
            made = [G(**v) for v in values]
            if savepoint:
                s.add_all([G(**v) for v in things(5001)])
                s.flush()
                try:
                    with s.begin_nested():
                        s.add_all(made)
                        s.flush()
                except sa.exc.DBAPIError as e:
                    note("nested", e)
                return s.query(sa.func.count(G.id)).scalar()
            s.add_all(made)
            s.flush()
            return [(x.id, x.n, str(x.made)) for x in made[::50]]

    restart(engine)
    attempt("orm", lambda: add(things(1)))
    attempt("orm more", lambda: add(things(1001)))
    attempt("orm duplicate", lambda: add(things(2 - ROWS)))
    restart(engine)
    attempt("orm again", lambda: add(things(1)))
    attempt("orm null", lambda: add(things(1001, ROWS // 2)))
    restart(engine)
    attempt("orm block", lambda: add(things(1)))
    attempt("orm nested duplicate", lambda: add(things(2 - ROWS), savepoint=True))
    restart(engine)

    def bulk():
        with Session(engine) as s, s.begin():
            s.bulk_insert_mappings(G, things(1))
            s.bulk_save_objects([G(**v) for v in things(1001)])
            return s.query(sa.func.count(G.id), sa.func.sum(G.id)).one()

    attempt("orm bulk", bulk)


drivers = ["postgresql+psycopg2://"] + (["postgresql+psycopg://"] if sa.__version__ >= "2" else [])
for url in drivers:
    engine = sa.create_engine(url)
    print(url)
    Base.metadata.create_all(engine)
    with engine.begin() as c:
        c.execute(sa.text("CREATE TABLE IF NOT EXISTS ok (a int)"))
    core(engine)
    orm(engine)
    with engine.begin() as c:
        print(c.execute(sa.text("SELECT count(*), sum(id), md5(string_agg(g::text, ',' ORDER BY id)) FROM g")).one())
    Base.metadata.drop_all(engine)
    engine.dispose()
