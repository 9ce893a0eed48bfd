"""SQL that reads everything: in which tables pieces of text still stand as somebody's rows."""

from collections.abc import Generator
from itertools import chain

from sqlalchemy import JSON, Connection, LargeBinary, String, Text, cast, column, inspect, select, table

#: Kept hashes are no text; reading them would find them in themselves.
_OWN = {"erasure_receipts", "erasure_canaries", "suppressions", "erased_names", "alembic_version"}
_ROWS = 2_000


def cells(db: Connection) -> Generator[tuple[str, bytes]]:
    """Every text, JSON value and binary value of every table, each with the table's name."""
    database = inspect(db)
    for name in sorted(set(database.get_table_names()) - _OWN):
        # Not a Table: SQLAlchemy keeps the statements on each of them, and would keep those of every proof.
        columns = [
            described if isinstance(described.type, LargeBinary) else cast(described, Text)
            for described in (column(found["name"], found["type"]) for found in database.get_columns(name))
            if isinstance(described.type, String | LargeBinary | JSON)
        ]
        if not columns:
            continue
        query = select(*columns).select_from(table(name)).execution_options(yield_per=_ROWS)
        with db.execute(query) as rows:  # who breaks off leaves no cursor open on the server
            for value in chain.from_iterable(rows):
                if value is not None:
                    yield name, value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
