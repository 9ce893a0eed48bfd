"""Has a writer put summaries in better words, in the background; what it cites is checked, or the quotations stay."""

from collections.abc import Sequence

from memory_engine.attempts import Attempts
from memory_engine.checks import check_name, check_text
from memory_engine.consolidation.quoting import MADE_BY
from memory_engine.consolidation.stage import StageWorker, Until, never
from memory_engine.errors import InvalidInput, WriterUnavailable
from memory_engine.models import Message, Summary
from memory_engine.ports import Clock, Source, SummaryWriter, Written
from memory_engine.storage import derivation_queue, messages, scopes, summaries, threads
from memory_engine.storage.database import Database
from memory_engine.storage.derivation_queue import Waiting
from memory_engine.storage.summaries import SentencePlaces

#: Messages that one summary is written from, the newest, and characters of each.
_MOST_SOURCES, _LONGEST_SOURCE = 80, 1_500
#: Words that are asked for, and by how much more a writer may take.
_WORDS, _TOLERANCE = 120, 2
#: Characters of one sentence, and of a model's name.
_LONGEST_SENTENCE, _LONGEST_NAME = 600, 250


class Rewriter(StageWorker):
    """Keeps the written summaries of one store up with what was said."""

    stage = "writing"

    def __init__(self, database: Database, clock: Clock, attempts: Attempts, writer: SummaryWriter) -> None:
        super().__init__(database, clock, attempts)
        self._writer = writer
        #: Why the writer could not be asked last, or None.
        self.problem: str | None = None
        #: Summaries that stayed quotations since the start, because what was written could not be checked.
        self.refused = 0

    def work(self, until: Until = never) -> int:
        """As every stage; where the writer does not answer, the rest waits for the next round.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        try:
            return super().work(until)
        except WriterUnavailable as exc:
            self.problem = exc.message
            return 0

    def _one(self, waiting: Waiting) -> None:
        with self._database.read() as db:
            thread = threads.by_id(db, waiting.key, waiting.thread_id)
            found = [] if thread is None else summaries.of_conversation(db, thread)
        for summary in found:
            if _is_to_rewrite(summary) and summary.last_seq >= waiting.first_seq:
                self._rewrite(waiting, summary)
        self.problem = None
        with self._database.write() as db:
            scopes.take_changes(db, waiting.key, 0)  # locks the scope, as whoever queues does
            derivation_queue.take(db, waiting)

    def _rewrite(self, waiting: Waiting, summary: Summary) -> None:
        key = waiting.key
        with self._database.read() as db:
            changes = scopes.marks(db, key)[1]
            seqs = summaries.seqs_to_sum_up(db, key, waiting.thread_id, summary.first_seq, summary.last_seq)
            said = messages.by_seqs(db, key, seqs[-_MOST_SOURCES:])
        sources = [said[seq] for seq in sorted(said)]
        written = self._writer.write([_source(message) for message in sources], _WORDS)
        sentences = checked(written, sources)
        if sentences is None:
            self.refused += 1
            return
        with self._database.write() as db:
            scopes.take_changes(db, key, 0)  # locks the scope: nothing is edited or erased meanwhile
            if scopes.marks(db, key)[1] == changes:
                summaries.reword(db, key, summary, _made_by(written), sentences)


def _is_to_rewrite(summary: Summary) -> bool:
    """A quotation whose messages are all there to be read."""
    return summary.made_by == MADE_BY and summary.level != "group" and not summary.rests_on_pruned


def checked(written: Written, sources: Sequence[Message]) -> list[SentencePlaces] | None:
    """The sentences as they are kept, each resting on whole messages; None where something cannot be right.

    Every sentence must cite at least one message, every citation must be one of those that were to be summed up, and
    the whole must be about as short as was asked.
    """
    known = {message.message_id: message for message in sources}
    kept: list[SentencePlaces] = []
    for text, cited in written.sentences:
        if not cited or any(not isinstance(name, str) or name not in known for name in cited) or not _is_sentence(text):
            return None
        rests_on = [known[name] for name in dict.fromkeys(cited)]
        kept.append((text.strip(), tuple((message.seq, 0, len(message.text)) for message in rests_on)))
    words = sum(len(text.split()) for text, _ in written.sentences)
    return kept if kept and words <= _TOLERANCE * _WORDS else None


def _is_sentence(text: object) -> bool:
    """Whether it can be kept: what a model replies passes the validator that every client's text passes."""
    try:
        return isinstance(text, str) and 0 < len(check_text(text, "summary").strip()) <= _LONGEST_SENTENCE
    except InvalidInput:
        return False


def _made_by(written: Written) -> str:
    """The model's name as it is kept, where it is a name."""
    try:
        return f"model/{check_name(str(written.model)[:_LONGEST_NAME], 'model')}"
    except InvalidInput:
        return "model/unknown"


def _source(message: Message) -> Source:
    return Source(
        message_id=message.message_id,
        speaker=f"{message.name} ({message.role})" if message.name else message.role,
        said_at=message.created_at,
        text=message.text[:_LONGEST_SOURCE],
    )
