"""SQL of whole tables, read as JSON and written back: what a backup reads, and what a restore writes.

The tables are those that the database has, whatever their schema, so a backup of an earlier one can be restored too.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import NoneType
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
)  # fmt: skip
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.types import NullType

from memory_engine.errors import BackupDamaged, StoreError

#: Rows that are read, and written, at once.
_BATCH = 2_000
#: Says which schema the database has; a restore makes it itself.
_OF_ALEMBIC = "alembic_version"


def all_tables(db: Connection) -> list[Table]:
    """The database's tables, each after those that it refers to; from then on the connection's statements are not kept.

    Raises:
        StoreError: a column has a type that is not known here.
    """
    # SQLAlchemy would keep what it compiles for these tables, and them with it, long after the connection is closed.
    db.execution_options(compiled_cache=None)
    found = MetaData()
    found.reflect(db)
    tables = [table for table in found.sorted_tables if table.name != _OF_ALEMBIC]
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, NullType):
                raise StoreError(f"The column {table.name}.{column.name} has a type that cannot be read.")
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)  # a missing value stays one
    return tables


def count_rows(db: Connection, table: Table) -> int:
    """How many rows the table has."""
    return db.execute(select(func.count()).select_from(table)).scalar_one()


def read_rows(db: Connection, table: Table) -> Iterator[list[list[Any]]]:
    """The table's rows in batches, each row a list of JSON values in the order of the columns."""
    blobs = _binary_columns(table.columns.values())
    rows = db.execute(select(table).execution_options(yield_per=_BATCH))
    for some in rows.partitions():
        batch = [list(row) for row in some]
        for row in batch:
            _convert(row, blobs, lambda value: base64.b64encode(value).decode())
        yield batch


def write_rows(
    db: Connection, table: Table, columns: Sequence[str], batches: Iterable[list[list[Any]]]
) -> Iterator[int]:
    """Insert batches of rows as `read_rows` gives them, and say after each how many rows it has.

    Raises:
        StoreError: the table has no such column.
        BackupDamaged: a value is not of its column's type, or the rows contradict each other.
    """
    if missing := [name for name in columns if name not in table.columns]:
        raise StoreError(f"The table {table.name} has no column {missing[0]}.")
    blobs = _binary_columns([table.columns[name] for name in columns])
    kinds = [_kinds(table.columns[name]) for name in columns]
    wrong = BackupDamaged(f"The backup is damaged: rows of {table.name} do not fit the table.")
    for batch in filter(None, batches):  # no rows at all would be inserted as one of defaults
        if not all(isinstance(value, kind) for row in batch for value, kind in zip(row, kinds, strict=True)):
            raise wrong
        try:
            for row in batch:
                _convert(row, blobs, lambda value: base64.b64decode(value, validate=True))
            db.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in batch])
        except OperationalError:
            raise  # the disk is full, or the server is away
        except (SQLAlchemyError, ValueError, OverflowError) as exc:
            raise wrong from exc
        yield len(batch)


def _kinds(column: Column[Any]) -> tuple[type, ...]:
    """Return the types that a column's values have in a backup. SQLite itself takes any."""
    if isinstance(column.type, JSON):
        return (object,)
    kind = column.type.python_type
    return (*{bytes: (str,), float: (float, int)}.get(kind, (kind,)), NoneType)


def empty(db: Connection, name: str) -> None:
    """Remove the rows of a table."""
    db.execute(delete(_table(db, name)))


def add_rows(db: Connection, name: str, columns: Sequence[str], rows: Sequence[list[Any]]) -> None:
    """Insert those of the rows, as `read_rows` gave them, whose primary key is not there yet."""
    table = _table(db, name)
    known = {tuple(row) for row in db.execute(select(*table.primary_key.columns))}
    places = [list(columns).index(column.name) for column in table.primary_key.columns]
    fresh = (list(row) for row in rows if tuple(row[place] for place in places) not in known)
    for _ in write_rows(db, table, columns, iter(lambda: list(islice(fresh, _BATCH)), [])):
        pass


def _table(db: Connection, name: str) -> Table:
    return next(table for table in all_tables(db) if table.name == name)


def drop_all(db: Connection) -> None:
    """Remove every table, with what it holds."""
    found = MetaData()
    found.reflect(db)
    if db.dialect.name == "sqlite":
        found.drop_all(db)
    elif found.tables:
        # All at once: the policies of some ask others that they have no foreign key to.
        listed = ", ".join(db.dialect.identifier_preparer.format_table(table) for table in found.tables.values())
        db.execute(text(f"DROP TABLE {listed}"))


def names(db: Connection) -> list[str]:
    """The names of the database's tables."""
    return inspect(db).get_table_names()


def settle_counters(db: Connection) -> None:
    """Let the numbers that PostgreSQL gives out go on after those that were written; SQLite looks by itself."""
    if db.dialect.name == "sqlite":
        return
    for table in all_tables(db):
        for column in table.primary_key.columns:
            place = {"table_name": table.name, "column_name": column.name}
            counter = db.execute(text("SELECT pg_get_serial_sequence(:table_name, :column_name)"), place).scalar()
            newest = db.execute(select(func.max(column))).scalar() if counter is not None else None
            if newest is not None:
                db.execute(text("SELECT setval(:counter, :newest)"), {"counter": counter, "newest": newest})


def _binary_columns(columns: Sequence[Any]) -> list[int]:
    return [place for place, column in enumerate(columns) if isinstance(column.type, LargeBinary)]


def _convert(row: list[Any], places: Sequence[int], convert: Callable[[Any], Any]) -> None:
    for place in places:
        if row[place] is not None:
            row[place] = convert(row[place])
