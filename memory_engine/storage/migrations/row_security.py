"""Row-level security on PostgreSQL: roles other than the tables' owner see one namespace, or nothing.

A migration that makes a table enables it there. The owner, as which the service connects, is not bound by it.
"""

import sqlalchemy as sa
from alembic import op

#: Names the namespace whose rows a session sees; until it does, none.
SETTING = "memory_engine.namespace"
# A setting that was local to a transaction is empty after it, and no namespace's name is.
_NAMED = f"nullif(current_setting('{SETTING}', true), '')"
# The policy of `namespaces` lets the subselect find this one name, which is looked up once for a statement.
_ROWS_OF_IT = f"namespace_id = (SELECT n.namespace_id FROM namespaces AS n WHERE n.name = {_NAMED})"


def enable(*tables: str) -> None:
    """Let other roles see and change the rows of the session's namespace; where a table has none, no row at all.

    `namespaces` itself they see alone: the service makes namespaces. On SQLite nothing is done.
    """
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        columns = {column["name"] for column in sa.inspect(db).get_columns(table)}
        if table == "namespaces":
            op.execute(f"CREATE POLICY of_the_namespace ON namespaces FOR SELECT USING (name = {_NAMED})")
        elif "namespace_id" in columns:
            # Without a WITH CHECK of its own the condition also holds for what is written.
            op.execute(f"CREATE POLICY of_the_namespace ON {table} USING ({_ROWS_OF_IT})")
