"""Bodies of the memory routes. Types here only shape; the engine validates what texts and ids may hold."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from assistant.settings import MAX_TOKEN_BUDGET
from memory_engine import Conversation, Message, RecallHit, Summary
from memory_engine.models import MAX_HITS, MAX_MESSAGES, OnInvalid
from memory_engine.parsing import MAX_FIELDS, MAX_METADATA, MAX_PARTS

Role = Literal["user", "assistant", "system", "tool"]
#: Whether abandoned branches of conversations are asked too.
Branches = Literal["active", "all"]
#: ISO 8601 or Unix time.
Time = StrictStr | StrictInt | StrictFloat


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


#: A time as clients see it: ISO 8601 in UTC, always with microseconds.
Moment = Annotated[datetime, PlainSerializer(_iso)]


#: Entries of a filter.
_FILTERED = 100
#: What a database keeps.
LARGEST = 2**63 - 1

Metadata = Annotated[dict[str, Any], Field(max_length=MAX_METADATA)]
#: Content parts, or calls of tools. The first that is wrong ends the reading, and so does the first that is too many.
Parts = Annotated[list[dict[str, Any]], Field(max_length=MAX_PARTS, fail_fast=True)]


class Body(BaseModel):
    """A request's body: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, raw: object) -> object:
        # Each unknown field would be an error of its own.
        if isinstance(raw, Mapping) and len(raw) > MAX_FIELDS:
            raise ValueError(f"An object may have {MAX_FIELDS} fields at most")
        return raw


class ExactBody(Body):
    """A body in which null is an error: a value that a client left empty must not change more, or another user's."""

    #: Fields that may be null, because they name nothing.
    may_be_null: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _no_nulls(cls, raw: object) -> object:
        if isinstance(raw, Mapping):
            for name, value in raw.items():
                if value is None and name in cls.model_fields and name not in cls.may_be_null:
                    raise ValueError(f"{name} is null: give it a value or leave it out")
        return raw


class MessageIn(BaseModel):
    """A message in OpenAI's shape, or as the openai SDK dumps it. The engine reads it, so that each error is listed."""

    model_config = ConfigDict(extra="allow")

    role: Literal["user", "assistant", "system", "tool", "developer", "function"]
    content: str | list[dict[str, Any] | str] | dict[str, Any] | None = None
    name: str | None = Field(None, description="Who speaks, or which tool answers.")
    tool_calls: list[dict[str, Any]] | None = Field(None, description="A call without an `id` gets one.")
    function_call: dict[str, Any] | None = Field(None, description="Stored as a tool call.")
    tool_call_id: str | None = None
    refusal: str | None = Field(None, description="The text, where there is no content.")
    reasoning_content: str | None = Field(None, description="Kept in `metadata`.")
    audio: dict[str, Any] | None = Field(None, description="Kept in `metadata`, without its `data`.")
    created_at: str | int | float | None = Field(
        None,
        description="ISO 8601 (UTC where it names no zone) or Unix time, from 1970 to 2100. The length of a Unix time "
        "says what it counts: seconds up to 11 digits, milliseconds up to 14, microseconds above.",
    )
    id: str | None = Field(None, description="Makes the call idempotent.")
    metadata: dict[str, Any] | None = Field(None, description="Unknown fields of the message are added as `extra`.")


class RememberIn(Body):
    """Messages to remember."""

    conversation_id: StrictStr
    messages: Annotated[
        list[Annotated[Any, WithJsonSchema(MessageIn.model_json_schema())]],
        Field(max_length=MAX_MESSAGES, fail_fast=True),
    ]
    user: StrictStr | None = None
    agent: StrictStr | None = None
    on_invalid: OnInvalid = Field(
        "refuse", description="`refuse`: a wrong message refuses the call. `skip`: the other messages are stored."
    )


class WrongMessageOut(BaseModel):
    """A message that was not stored."""

    index: int
    param: str
    message: str


class RememberOut(BaseModel):
    """Where they went."""

    conversation_id: str
    thread_id: str | None = Field(description="null where every message was skipped.")
    message_ids: list[str] = Field(description="Of the messages that are stored, in the order given.")
    skipped: list[WrongMessageOut] = Field([], description="The messages that are not, with `on_invalid: skip`.")


class RecallIn(Body):
    """A question to the memory."""

    query: StrictStr
    k: Annotated[StrictInt, Field(ge=1, le=MAX_HITS)] = 10
    token_budget: Annotated[StrictInt, Field(ge=1, le=MAX_TOKEN_BUDGET)] | None = None
    conversation_id: StrictStr | None = None
    exclude_conversation_ids: Annotated[list[StrictStr], Field(max_length=1_000, fail_fast=True)] = []
    after: Time | None = None
    before: Time | None = None
    as_of: Time | None = None
    roles: Annotated[list[Role], Field(max_length=16, fail_fast=True)] = []
    agent: StrictStr | None = None
    metadata: Annotated[dict[str, Any], Field(max_length=_FILTERED)] = {}
    user: StrictStr | None = None
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    explain: StrictBool = False
    branches: Branches = "active"
    scope: Literal["namespace"] | None = None


class WhyNotIn(RecallIn):
    """A question, and the message that was expected."""

    message_id: StrictStr


class FateOut(BaseModel):
    """What became of the message."""

    message_id: str
    #: quarantined, not_indexed, filter, candidate, floor, rank, duplicate, budget, or returned.
    stage: str
    detail: str
    figures: dict[str, Any]
    why: dict[str, Any]


class HitOut(BaseModel):
    """A message that speaks to the question."""

    message_id: str
    conversation_id: str
    thread_id: str
    role: str
    name: str | None
    text: str
    created_at: Moment
    score: float
    stratum: str
    user: str | None = Field(None, description="Whose it is; null is the namespace's default user.")
    why: dict[str, Any]


class RecallOut(BaseModel):
    """Hits, best first."""

    hits: list[HitOut]
    support: list["SupportOut"] = []
    took_ms: float
    funnel: dict[str, int] | None = None
    notice: str | None = Field(None, description="What did not go as it should, such as an embedder that is away.")


class ContextIn(Body):
    """A prompt to assemble."""

    conversation_id: StrictStr
    message: StrictStr | None = None
    token_budget: Annotated[StrictInt, Field(ge=1, le=MAX_TOKEN_BUDGET)] = 4000
    agent: StrictStr | None = Field(
        None,
        description="Chosen as a turn does unless given. null: no agent prompt and no tools, memory and message alone.",
    )
    model: StrictStr | None = None
    user: StrictStr | None = None
    as_of: Time | None = None


class HeldOut(BaseModel):
    """A quarantine."""

    since: Moment
    reason: str | None


class ConversationOut(BaseModel):
    """A conversation of the list."""

    object: Literal["conversation"] = "conversation"
    conversation_id: str
    thread_id: str
    agent: str | None
    created_at: Moment
    messages: int
    last_message_at: Moment | None
    quarantined: bool
    quarantine: HeldOut | None
    on_hold: bool = Field(description="No retention policy touches what is said in it.")


class MessageOut(BaseModel):
    """A message of a conversation."""

    object: Literal["message"] = "message"
    message_id: str
    conversation_id: str
    thread_id: str
    role: str
    name: str | None
    agent: str | None
    content: str | list[dict[str, Any]]
    text: str
    tool_calls: list[dict[str, Any]] | None
    tool_call_id: str | None
    created_at: Moment
    recorded_at: Moment
    version: int
    metadata: dict[str, Any]
    quarantined: bool
    quarantine: HeldOut | None = Field(description="Its own, or else that of its conversation.")
    pinned: bool = Field(description="No retention policy touches it, and it ranks a little higher.")
    branch_id: str = Field(description="The branch of its conversation; `branch_0` is the trunk.")
    parent_id: str | None = Field(description="The message before it on its branch.")
    active: bool = Field(description="Whether its branch is live. An abandoned branch is out of prompts and recall.")


class SupportOut(BaseModel):
    """A summary of the segment in which a hit stands."""

    summary_id: str
    text: str
    message_ids: list[str]


class CitationOut(BaseModel):
    """A span of a message's text."""

    message_id: str
    start: int
    end: int


class SentenceOut(BaseModel):
    """A sentence of a summary, and what it rests on."""

    text: str
    citations: list[CitationOut]


class SummaryOut(BaseModel):
    """A summary of a conversation or of one of its segments."""

    object: Literal["summary"] = "summary"
    summary_id: str
    level: str
    conversation_id: str
    thread_id: str
    text: str
    message_ids: list[str]
    sentences: list[SentenceOut]
    first_at: Moment
    last_at: Moment
    made_by: str
    rests_on_pruned: bool = Field(description="Messages that it rests on were pruned, and it was let stay.")


class EditIn(Body):
    """What a message is to say from now on."""

    content: StrictStr | Parts | None = None
    metadata: Metadata | None = None
    user: StrictStr | None = None


class HoldIn(ExactBody):
    """Why something is quarantined."""

    may_be_null = frozenset({"reason"})

    reason: StrictStr | None = None
    user: StrictStr | None = None


def hit_out(hit: RecallHit, user: str | None) -> HitOut:
    """A hit of this user as clients see it."""
    return HitOut.model_validate(replace(hit, user=user), from_attributes=True)


def support_out(summary: Summary) -> SupportOut:
    """A summary as it stands beside hits."""
    return SupportOut(summary_id=summary.summary_id, text=summary.text, message_ids=list(summary.message_ids))


def summary_out(summary: Summary) -> SummaryOut:
    """A summary as clients see it."""
    return SummaryOut.model_validate(summary, from_attributes=True)


def conversation_out(conversation: Conversation) -> ConversationOut:
    """A conversation as clients see it."""
    return ConversationOut.model_validate(conversation, from_attributes=True)


def message_out(message: Message) -> MessageOut:
    """A message as clients see it."""
    return MessageOut.model_validate(message, from_attributes=True)


class ReindexIn(Body):
    """Which embedder is to make the vectors."""

    embedder: str | None = Field(None, description="`static`, `minilm` or `openai:MODEL`; else the present one.")
    rollback: bool = Field(False, description="Back to the embedder before; only what was said since is embedded.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> "ReindexIn":
        if self.rollback and self.embedder is not None:
            raise ValueError("rollback goes back to the embedder before and takes no other one")
        return self


class ReindexedOut(BaseModel):
    """What was done."""

    embedder: str
    before: str
    embedded: int = Field(description="Messages that were embedded for it.")


class ReindexingOut(BaseModel):
    """How far it is."""

    running: bool = False
    what: str = ""
    done: int = 0
    total: int | None = None


RecallOut.model_rebuild()
