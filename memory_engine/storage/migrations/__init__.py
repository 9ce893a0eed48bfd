"""Schema migrations: one Alembic history for every table, on both databases."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from memory_engine.errors import SchemaMismatch
from memory_engine.storage.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

#: The revision that this program works with: the last file in versions/.
HEAD = "0009"
_FOLDER = Path(__file__).parent


def current(database: Database) -> str | None:
    """The revision that the database has, or None when it is empty."""
    with database.read() as db:
        return _revision(db)


def upgrade(database: Database) -> bool:
    """Bring the database to HEAD and say whether anything had to be done.

    Raises:
        SchemaMismatch: the database is of a later version than this program.
    """
    found = current(database)
    if found == HEAD:
        return False
    from alembic import command  # takes half a second, and most starts do not need it

    if found is not None and found > HEAD:
        raise SchemaMismatch(f"The database has schema {found}; this program knows {HEAD} and earlier.")
    with database.write_alone() as db:
        if _revision(db) == HEAD:
            return False  # another process was faster
        command.upgrade(_config(db), "head")
    return True


def history() -> list[tuple[str, str]]:
    """Every revision and what it does, oldest first."""
    from alembic.script import ScriptDirectory

    revisions = ScriptDirectory(str(_FOLDER)).walk_revisions()
    return [(revision.revision, revision.doc) for revision in reversed(list(revisions))]


def _revision(db: Connection) -> str | None:
    if not inspect(db).has_table("alembic_version"):
        return None
    return db.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _config(db: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = db
    return config
