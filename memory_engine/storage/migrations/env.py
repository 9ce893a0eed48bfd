"""Alembic's entry: it migrates over the connection that it is handed."""

from alembic import context

from memory_engine.storage.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
