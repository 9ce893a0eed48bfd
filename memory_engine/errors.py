"""The one error tree of the memory engine; vendors' exceptions are translated into it at the door.

MemoryEngineError
  InvalidInput            the caller's value is wrong; nothing was changed
    TextTooLarge          a text is over the size that is kept
    IdConflict            an id is already taken by another content
    InvalidTarget         it is not clear what a deletion is to delete; nothing was deleted
      EmptyTarget         an empty value, null or nothing names what is to be deleted
  NotFound                no such thing in this scope (or it belongs to another: there is no difference)
    ConversationNotFound
    MessageNotFound
    LinkNotFound
    PatternNotFound
    NoteNotFound
    ReceiptNotFound
    Erased                it was there, and was erased
  StoreError              the store cannot do what was asked
    StoreInUse            another process owns the data directory
    StoreUnavailable      the database does not answer, is locked, read-only or full
    StoreConflict         another writer was faster; the same call may be made again
    RowRefused            the database answers, and cannot read or take a row
    SchemaMismatch        the database is of another version than the program
    ReindexRunning        the vectors are being made anew already
    EmbedderMismatch      the store's vectors are another embedder's
    StoreNotEmpty         a backup is restored into an empty store only
    BackupDamaged         a backup is not whole; nothing was changed
  EmbedderUnavailable     the embedder cannot be had
  WriterUnavailable       the writer of summaries does not answer; those by quotation stand
  IndexUnavailable        the vector index does not answer; SQL still has everything
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


class MemoryEngineError(Exception):
    """Something went wrong in the memory engine."""

    code: ClassVar[str] = "memory_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message or self.__doc__)
        self.param = param

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return str(self)


@dataclass(frozen=True, slots=True)
class WrongMessage:
    """A message of a call that cannot be stored, and why."""

    #: Its place in the call, from 0.
    index: int
    #: The field that is wrong.
    param: str
    #: One sentence.
    message: str


class InvalidInput(MemoryEngineError):
    """A value that was given cannot be accepted."""

    code = "invalid_value"

    def __init__(
        self, message: str | None = None, *, param: str | None = None, details: Sequence[WrongMessage] = ()
    ) -> None:
        super().__init__(message, param=param)
        #: Every wrong message of a call, in the order given; empty where the call is not one of messages.
        self.details = tuple(details)


class TextTooLarge(InvalidInput):
    """A text is larger than what is kept."""

    code = "text_too_large"


class IdConflict(InvalidInput):
    """The id is already taken by a message with other content."""

    code = "id_conflict"


class InvalidTarget(InvalidInput):
    """It is not clear what is to be deleted."""

    code = "invalid_request"


class EmptyTarget(InvalidTarget):
    """Name what is to be deleted."""

    code = "empty_target"


class NotFound(MemoryEngineError):
    """There is no such thing here."""

    code = "not_found"

    def __init__(self, message: str | None = None, *, param: str | None = None, names: Sequence[str] = ()) -> None:
        super().__init__(message, param=param)
        #: The ids that were looked for and not found, where they may have been erased.
        self.names = tuple(names)


class ConversationNotFound(NotFound):
    """There is no such conversation."""

    code = "conversation_not_found"

    @classmethod
    def of(cls, conversation_id: str, param: str = "conversation_id") -> Self:
        """The error for a conversation that the scope does not have."""
        return cls(f"There is no conversation {conversation_id!r}.", param=param, names=[conversation_id])


class MessageNotFound(NotFound):
    """There is no such message."""

    code = "message_not_found"

    @classmethod
    def of(cls, message_id: str, param: str = "message_id") -> Self:
        """The error for a message that the scope does not have."""
        return cls.of_several([message_id], param)

    @classmethod
    def of_several(cls, message_ids: Sequence[str], param: str = "message_ids") -> Self:
        """The error for messages that the scope does not have; it lists every one."""
        listed = ", ".join(map(repr, message_ids))
        text = f"There is no message {listed}." if len(message_ids) == 1 else f"There are no messages {listed}."
        return cls(text, param=param, names=message_ids)


class LinkNotFound(NotFound):
    """There is no such link."""

    code = "link_not_found"


class PatternNotFound(NotFound):
    """There is no such pattern."""

    code = "pattern_not_found"


class NoteNotFound(NotFound):
    """There is no such note."""

    code = "note_not_found"


class ReceiptNotFound(NotFound):
    """There is no such receipt."""

    code = "receipt_not_found"


class Erased(NotFound):
    """It was erased."""

    code = "erased"


class StoreError(MemoryEngineError):
    """The store cannot do what was asked of it."""

    code = "store_error"


class StoreInUse(StoreError):
    """Another process owns this data directory."""

    code = "store_in_use"


class StoreUnavailable(StoreError):
    """The database does not answer."""

    code = "store_unavailable"


class StoreConflict(StoreError):
    """Another writer was faster; make the call again."""

    code = "store_conflict"


class RowRefused(StoreError):
    """The database answers, and cannot read or take a row."""

    code = "row_refused"


class SchemaMismatch(StoreError):
    """The database was written by another version of the program."""

    code = "schema_mismatch"


class ReindexRunning(StoreError):
    """The vectors of this store are being made anew already."""

    code = "reindex_running"


class EmbedderMismatch(StoreError):
    """The vectors of this store are made by another embedder."""

    code = "embedder_mismatch"


class StoreNotEmpty(StoreError):
    """The store is not empty: it has messages or API keys. Restore into an empty store, or use --replace."""

    code = "store_not_empty"


class BackupDamaged(StoreError):
    """The file is no whole backup."""

    code = "backup_damaged"


class EmbedderUnavailable(MemoryEngineError):
    """The embedder that was chosen cannot be used."""

    code = "embedder_unavailable"


class WriterUnavailable(MemoryEngineError):
    """The writer of summaries does not answer."""

    code = "writer_unavailable"


class IndexUnavailable(MemoryEngineError):
    """The vector index does not answer."""

    code = "index_unavailable"


def blames_item(exc: BaseException) -> bool:
    """Return whether the item of work failed, and not the database, embedder, index or writer that it needs."""
    if isinstance(exc, RowRefused | StoreConflict):
        return True
    return not isinstance(exc, StoreError | EmbedderUnavailable | IndexUnavailable | WriterUnavailable)
