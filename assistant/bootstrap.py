"""The one place that opens the memory as the settings say, for the service and for `assistants_service`."""

from assistant.settings import Settings
from assistant.summary_writer import summary_writer
from memory_engine import EmbedderOptions, MemoryEngine


def open_engine(settings: Settings, *, any_embedder: bool = False) -> MemoryEngine:
    """Open the memory.

    Args:
        settings: where it is and what it uses.
        any_embedder: take the embedder that the store has, whatever the settings say.

    Raises:
        MemoryEngineError: the store or the embedder cannot be had.
    """
    return MemoryEngine.open(
        settings.data_dir,
        database_url=settings.database_url,
        chroma_url=settings.chroma_url,
        embedder=None if any_embedder else settings.embedder,
        embedder_options=EmbedderOptions(
            minilm_path=settings.minilm_path,
            openai_api_key=settings.openai_api_key,
            openai_base_url=settings.openai_base_url,
        ),
        index_threshold=settings.index_threshold,
        summary_writer=summary_writer(settings),
        redact_secrets=settings.redact_secrets,
        pool_size=settings.pool_size,
    )
