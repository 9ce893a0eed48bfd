"""The frozen values that the memory engine speaks in."""

import itertools
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from memory_engine.checks import check_name, check_text
from memory_engine.errors import InvalidInput, WrongMessage

Role = Literal["user", "assistant", "system", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

#: What becomes of a call of remember in which some messages cannot be stored.
OnInvalid = Literal["refuse", "skip"]

#: Messages in one call of remember.
MAX_MESSAGES = 1000
#: Hits that one recall may ask for.
MAX_HITS = 1000

_LETTERS = string.ascii_letters + string.digits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScopeKey(NamedTuple):
    """The two integers that stand first in every key of a scope's rows."""

    namespace_id: int
    scope_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Whose memory it is: a person within an application. Nothing crosses it."""

    #: The application.
    namespace: str = "default"
    #: The person; None is the namespace's one default user.
    user: str | None = None

    def __post_init__(self) -> None:
        check_name(self.namespace, "namespace")
        if self.user is not None:
            check_name(self.user, "user")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMessage:
    """A message that is to be remembered, already validated."""

    role: Role
    #: What is stored, indexed and shown; the text parts joined when parts were given.
    text: str
    #: OpenAI content parts as they were given, or None when the content was a plain string.
    parts: tuple[Mapping[str, Any], ...] | None = None
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] | None = None
    tool_call_id: str | None = None
    #: When it was said; None means now.
    created_at: datetime | None = None
    #: The client's own id, which makes remembering idempotent.
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: False keeps a message in the history but out of recall (what only repeats recalled text).
    recallable: bool = True
    #: Ids of the messages whose words it repeats; it does not outlive them.
    quotes: tuple[str, ...] = ()

    @property
    def is_indexed(self) -> bool:
        """Whether recall can find it."""
        return self.recallable and bool(self.text.strip())


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """That something is quarantined: it stays in the history and is kept out of recall and prompts."""

    since: datetime
    #: What a person said of it.
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message as it is kept."""

    message_id: str
    #: 1, and one more for each edit.
    version: int
    conversation_id: str
    thread_id: str
    #: Its place in the order of the scope.
    seq: int
    role: Role
    text: str
    parts: tuple[Mapping[str, Any], ...] | None
    name: str | None
    agent: str | None
    tool_calls: tuple[Mapping[str, Any], ...] | None
    tool_call_id: str | None
    #: When it was said.
    created_at: datetime
    #: When it was stored.
    recorded_at: datetime
    metadata: Mapping[str, Any]
    recallable: bool
    #: Its own quarantine, or else that of its conversation; None where there is neither.
    quarantine: Held | None = None
    #: No policy touches it, and it ranks higher.
    pinned: bool = False
    #: It waits for its removal, out of everything but a restore.
    pruned: bool = False
    #: Which branch of its conversation it is on; 0 is the trunk.
    branch: int = 0
    #: Whether its branch is live: an abandoned one is out of prompts, and of recall unless asked for.
    active: bool = True
    #: The message before it on its branch, where that was looked up.
    parent_id: str | None = None

    @property
    def branch_id(self) -> str:
        """The name of its branch."""
        return f"branch_{self.branch}"

    @property
    def quarantined(self) -> bool:
        """Whether it is kept out of recall and prompts."""
        return self.quarantine is not None

    @property
    def content(self) -> str | list[Mapping[str, Any]]:
        """The content in OpenAI's shape: the parts where there were parts, else the text."""
        return list(self.parts) if self.parts is not None else self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """What the application calls a conversation, and our record of it, the thread."""

    conversation_id: str
    thread_id: str
    agent: str | None
    created_at: datetime
    messages: int
    last_message_at: datetime | None
    quarantine: Held | None = None
    #: No policy touches what is said in it.
    on_hold: bool = False

    @property
    def quarantined(self) -> bool:
        """Whether all that is said in it is kept out of recall and prompts."""
        return self.quarantine is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """The receipt of a remember call; durable and recallable when it is returned."""

    conversation_id: str
    #: None where every message was skipped.
    thread_id: str | None
    #: One id for each message that is kept, in the order given.
    message_ids: tuple[str, ...]
    #: The messages that were not kept, in the order given.
    skipped: tuple[WrongMessage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallQuery:
    """What is asked of the memory, and within which limits."""

    text: str
    k: int = 10
    conversation_id: str | None = None
    exclude_conversation_ids: tuple[str, ...] = ()
    #: Only what was said at or after this time.
    after: datetime | None = None
    #: Only what was said before this time.
    before: datetime | None = None
    #: The state of the memory at that time, with that time as "now".
    as_of: datetime | None = None
    roles: tuple[Role, ...] = ()
    agent: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Hits under this score are left out, besides those under the absolute floor.
    min_score: float | None = None
    #: Whether each hit also says which of its words stand for words of the query.
    explain: bool = False
    #: Whether abandoned branches are asked too.
    all_branches: bool = False

    def __post_init__(self) -> None:
        check_text(self.text, "query")
        if not self.text.strip():
            raise InvalidInput("The query is empty.", param="query")
        if not 1 <= self.k <= MAX_HITS:
            raise InvalidInput(f"k must lie between 1 and {MAX_HITS}.", param="k")

    @property
    def named(self) -> tuple[str, ...]:
        """The conversations that it names, which must be there."""
        own = () if self.conversation_id is None else (self.conversation_id,)
        return (*own, *self.exclude_conversation_ids)

    @property
    def is_filtered(self) -> bool:
        """Whether a part of the scope is asked, rather than all of it."""
        return bool(self.named or self.after or self.before or self.as_of or self.roles or self.agent or self.metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What became of one message when a query was asked."""

    #: quarantined, not_indexed, filter, candidate, floor, rank or returned; duplicate and budget where hits are packed.
    stage: str
    #: One sentence.
    detail: str
    #: The numbers that decided it.
    figures: Mapping[str, Any]
    #: The parts of its relevance, as on a hit.
    why: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallHit:
    """Something recalled, with its score and why it was found."""

    message_id: str
    conversation_id: str
    thread_id: str
    seq: int
    role: Role
    name: str | None
    text: str
    created_at: datetime
    #: 0..1, comparable across queries and scopes.
    score: float
    #: The parts of the score and the words that matched.
    why: Mapping[str, Any]
    stratum: str = "messages"
    #: Which branch of its conversation it is on.
    branch: int = 0
    #: Whose it is, where all users of a namespace were asked; None is the default user.
    user: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recollection:
    """The answer to a recall query: hits, best first, and how many were left at each stage."""

    hits: tuple[RecallHit, ...]
    funnel: Mapping[str, int]
    #: What the asker should know, such as that no vector could be had; None when all went as it should.
    notice: str | None = None


#: What a scope in which nothing was said answers.
NOTHING = Recollection(hits=(), funnel={"messages": 0, "passed_filters": 0, "above_floor": 0, "returned": 0})


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """Where something is said: a span of a message's text."""

    message_id: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SummarySentence:
    """A sentence of a summary, and what it rests on."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a stretch of a conversation says in few words, each sentence leading back to messages."""

    summary_id: str
    #: `segment` or `conversation`.
    level: str
    conversation_id: str
    thread_id: str
    #: Places of the first and the last message that it sums up.
    first_seq: int
    last_seq: int
    #: When these were said.
    first_at: datetime
    last_at: datetime
    #: The rule and its version, or the model.
    made_by: str
    sentences: tuple[SummarySentence, ...]
    #: Whether messages that it rests on were pruned, by a policy that lets it stay.
    rests_on_pruned: bool = False

    @property
    def text(self) -> str:
        """The sentences as one text."""
        return " ".join(sentence.text for sentence in self.sentences)

    def covers(self, hit: RecallHit) -> bool:
        """Whether the hit is among what it sums up."""
        return hit.thread_id == self.thread_id and self.first_seq <= hit.seq <= self.last_seq

    @property
    def message_ids(self) -> tuple[str, ...]:
        """The messages that it rests on, each once, in order."""
        cited = (citation.message_id for sentence in self.sentences for citation in sentence.citations)
        return tuple(dict.fromkeys(cited))


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkEvidence:
    """Two messages that show a link, one of each conversation."""

    source: Message
    target: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What joins two conversations."""

    link_id: str
    #: Conversation ids. A reference leads from who refers to what is referred to.
    source: str
    target: str
    source_thread_id: str
    target_thread_id: str
    #: `reference`, `topic`, `entity`, `continuation`, or what a person called it.
    kind: str
    #: 0..1; it fades while nobody uses the link.
    weight: float
    #: `made` by a rule, `confirmed` or `refused` by a person, or `added` by one.
    state: str
    #: The rule and its version, or `person`.
    made_by: str
    made_at: datetime
    #: Words that both conversations share.
    words: tuple[str, ...]
    evidence: tuple[LinkEvidence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatternEvidence:
    """A span of a message that shows a pattern; the whole message where start and end are 0."""

    message: Message
    start: int
    end: int

    @property
    def text(self) -> str:
        """The words themselves."""
        return self.message.text[self.start : self.end] if self.end else self.message.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """What repeats, or what a person states of themself."""

    pattern_id: str
    #: statement, question, topic, tool_sequence, tool_argument or tool_failure.
    kind: str
    #: What it is about; of statements with one slot the newest is in force.
    slot: str
    #: learned, proposed (it waits for a person to confirm it), confirmed, corrected or dismissed.
    state: str
    #: The pattern that is in force instead.
    superseded_by: str | None
    made_by: str
    first_seen: datetime
    last_seen: datetime
    #: How many messages show it.
    support: int
    detail: Mapping[str, Any]
    #: The newest of these messages, newest first.
    evidence: tuple[PatternEvidence, ...]

    @property
    def stands(self) -> bool:
        """Whether nothing newer and no person says otherwise."""
        return self.superseded_by is None and self.state != "dismissed"

    @property
    def text(self) -> str:
        """What it says: a person's correction, the newest quotation, or what its figures mean."""
        if correction := self.detail.get("correction"):
            return str(correction)
        if self.kind == "topic":
            return f"{self.detail['word']}, in {self.support} conversations"
        if self.kind == "tool_sequence":
            return f"{self.detail['first']}, then {self.detail['then']}"
        if self.kind == "tool_argument":
            return f"{self.detail['tool']} with {self.detail['argument']} = {self.detail['value']}"
        if self.kind == "tool_failure":
            return f"{self.detail['tool']} failed with {self.detail['failed']} and worked with {self.detail['worked']}"
        return self.evidence[0].text if self.evidence else ""

    @property
    def every_days(self) -> float | None:
        """The median of days between the messages that show it; None for fewer than three."""
        times = sorted(each.message.created_at for each in self.evidence)
        gaps = sorted((b - a).total_seconds() / 86_400 for a, b in itertools.pairwise(times))
        return round(gaps[len(gaps) // 2], 2) if len(gaps) > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoteSources:
    """What a note was made of; it is held and erased with each of these messages."""

    message_ids: Sequence[str] = ()
    #: Notes: it rests on their messages too.
    note_ids: Sequence[str] = ()
    #: The message that holds the note's words as the call of a tool: it is emptied when one of the others is erased.
    written_in: str | None = None


NO_SOURCES = NoteSources()


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A small text that always stands in the prompt."""

    name: str
    text: str
    #: 1, and one more each time it is written.
    version: int
    #: Whose prompt it stands in; None for every agent's.
    agent: str | None
    written_by: str
    written_at: datetime
    #: By which kept prompts name this version; None where it rests on no message.
    note_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """How much a namespace holds, by stratum."""

    conversations: int
    messages: int
    embeddings: int
    summaries: int
    links: int
    patterns: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What makes vectors comparable: vectors of two spaces are never mixed."""

    model: str
    dimension: int
    normalisation: str = "l2"

    @property
    def name(self) -> str:
        """The space's unique name."""
        return f"{self.model}/{self.dimension}/{self.normalisation}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of a list: at most `limit` rows after the row with the id `after`."""

    limit: int = 20
    after: str | None = None
    ascending: bool = False


def random_id(prefix: str) -> str:
    """An id in the shape of OpenAI's: the prefix and 24 random letters and digits."""
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(24))


def to_micros(moment: datetime) -> int:
    """Microseconds since the Unix epoch, the form in which times are stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The UTC time of microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=micros)
