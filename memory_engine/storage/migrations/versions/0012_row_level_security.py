"""row-level security on PostgreSQL: roles other than the owner see one namespace, or nothing."""

from memory_engine.storage.migrations import row_security

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    row_security.enable("namespaces", "scopes", "retention_policies")
    row_security.enable(
        "assistant_threads", "chat_messages", "message_versions", "message_changes", "message_terms",
        "message_embeddings", "message_quotes", "outbox",
    )  # fmt: skip
    row_security.enable(
        "summaries", "summary_sentences", "summary_citations", "consolidation_queue", "derivation_queue",
        "links", "link_messages", "patterns", "pattern_messages", "notes",
    )  # fmt: skip
    row_security.enable("contexts", "context_messages", "tool_calls", "model_calls")
    row_security.enable(
        "alembic_version", "store_settings", "embedding_spaces", "agent_versions", "api_keys",
        "erasure_receipts", "erasure_canaries", "suppressions", "erased_names",
    )  # fmt: skip
