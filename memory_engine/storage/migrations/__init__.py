"""Schema migrations: one Alembic history for every table, on both databases."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from memory_engine.errors import SchemaMismatch
from memory_engine.storage.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

#: The revision that this program works with: the last file in versions/.
HEAD = "0016"
_FOLDER = Path(__file__).parent


def current(database: Database) -> str | None:
    """The revision that the database has, or None when it is empty.

    Raises:
        SchemaMismatch: row-level security hides it.
    """
    with database.read() as db:
        return revision(db)


def upgrade(database: Database) -> bool:
    """Bring the database to HEAD and say whether anything had to be done.

    Raises:
        SchemaMismatch: the database is of a later version than this program, or another role's.
    """
    found = current(database)
    if found == HEAD:
        return False
    if found is not None and found > HEAD:
        raise SchemaMismatch(f"The database has schema {found}; this program knows {HEAD} and earlier.")
    with database.write_alone() as db:
        if revision(db) == HEAD:
            return False  # another process was faster
        upgrade_within(db, "head")
    return True


def history() -> list[tuple[str, str]]:
    """Every revision and what it does, oldest first."""
    from alembic.script import ScriptDirectory

    revisions = ScriptDirectory(str(_FOLDER)).walk_revisions()
    return [(revision.revision, revision.doc) for revision in reversed(list(revisions))]


def upgrade_within(db: Connection, to: str) -> None:
    """Bring the tables to a revision, or to `head`, within an open transaction."""
    from alembic import command  # takes half a second, and most starts do not need it

    command.upgrade(_config(db), to)


def revision(db: Connection) -> str | None:
    """The revision that the database has, within an open transaction, or None when it is empty.

    Raises:
        SchemaMismatch: row-level security hides it.
    """
    if not inspect(db).has_table("alembic_version"):
        return None
    found: str | None = db.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is None:
        raise SchemaMismatch("The database shows no schema: connect as the role that owns the memory's tables.")
    return found


def _config(db: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = db
    return config
