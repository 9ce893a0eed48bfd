"""SQL of what holds for a store as a whole."""

from sqlalchemy import Connection, delete, insert, select

from memory_engine.storage.schema import StoreSetting

#: Names the ids of stores that a restore replaced, until a Chroma server has nothing of them.
REPLACED = "store_ids_before"


def setting(db: Connection, name: str) -> str | None:
    """The value, or None when it was never set."""
    return db.execute(select(StoreSetting.value).where(StoreSetting.name == name)).scalar()


def set_once(db: Connection, name: str, value: str) -> str:
    """Set the value unless there is one, and return the one that holds."""
    if (found := setting(db, name)) is not None:
        return found
    db.execute(insert(StoreSetting).values(name=name, value=value))
    return value


def put(db: Connection, name: str, value: str) -> None:
    """Set the value in place of the one before."""
    db.execute(delete(StoreSetting).where(StoreSetting.name == name))
    db.execute(insert(StoreSetting).values(name=name, value=value))
