"""Column types that read any value: SQLite keeps whatever is written into a column, whatever the column's type."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import JSON, Dialect, LargeBinary, TypeDecorator

_Read = Callable[[Any], Any]


class DerivedJson(TypeDecorator[Any]):
    """JSON that is derived, or that nothing but a look at the past needs: text that is not JSON is read as None."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> _Read | None:
        """Return the reader of a value."""
        read = super().result_processor(dialect, coltype)
        if read is None:  # the driver reads JSON, and its database keeps no other text
            return None

        def read_or_none(value: Any) -> Any:
            try:
                return read(value)
            except (ValueError, TypeError, RecursionError):
                return None

        return read_or_none


class Blob(TypeDecorator[bytes]):
    """Bytes: a text or number in their place is read as no bytes, which no check takes for a vector or terms."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> _Read | None:
        """Return the reader of a value."""
        return _bytes_only if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _bytes_only(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
