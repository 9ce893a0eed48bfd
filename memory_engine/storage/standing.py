"""SQL that reads everything: in which tables pieces of text still stand as somebody's rows."""

from collections.abc import Iterator

from sqlalchemy import JSON, Connection, LargeBinary, MetaData, String, Table, Text, cast, inspect, select

#: Kept hashes are no text; reading them would find them in themselves.
_OWN = {"erasure_receipts", "erasure_canaries", "suppressions", "erased_names", "alembic_version"}
_ROWS = 2_000


def cells(db: Connection) -> Iterator[tuple[str, bytes]]:
    """Every text, JSON value and binary value of every table, each with the table's name."""
    for name in sorted(set(inspect(db).get_table_names()) - _OWN):
        table = Table(name, MetaData(), autoload_with=db)
        columns = [
            column if isinstance(column.type, LargeBinary) else cast(column, Text)
            for column in table.columns
            if isinstance(column.type, String | LargeBinary | JSON)
        ]
        if not columns:
            continue
        for row in db.execute(select(*columns).execution_options(yield_per=_ROWS)):
            for value in row:
                if value is not None:
                    yield name, value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
