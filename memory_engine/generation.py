"""A generation: the parts of the memory that live in one vector space, and are replaced together."""

from dataclasses import dataclass

from memory_engine.indexing import Indexer
from memory_engine.models import Space
from memory_engine.recall.recaller import Recaller
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage.database import Database
from memory_engine.vectors.chroma import ChromaIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What remembers and recalls in one space."""

    database: Database
    #: The embedder's name, as it is chosen.
    embedder: str
    space: Space
    space_id: int
    #: Scopes of at least so many messages have a collection in the vector index.
    threshold: int
    index: ChromaIndex
    residents: ResidentScopes
    recaller: Recaller
    rememberer: Rememberer
    indexer: Indexer
