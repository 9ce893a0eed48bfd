"""Bodies of the routes of retention policies."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictStr

from api.schemas.memory import ExactBody, Moment, Time


class PolicyOut(BaseModel):
    """The policy in force."""

    policy: dict[str, Any]
    written_at: Moment | None = Field(description="null for the default policy, which nobody wrote.")
    last_pruned_at: Moment | None = Field(description="When the service last pruned by itself, which it does daily.")


class PruneIn(ExactBody):
    """What is to be pruned."""

    policy: dict[str, Any] | None = Field(
        None,
        description="Used once in place of the policy in force. Without restorable_days, the window in force holds.",
    )
    dry_run: StrictBool = False


class ShareOut(BaseModel):
    """What a rule takes of a stratum."""

    stratum: str
    rule: str
    action: Literal["mark", "remove"] = Field(description="What is marked can be brought back.")
    rows: int
    bytes: int = Field(description="Of the rows' texts.")


class PrunedOut(BaseModel):
    """What goes and why."""

    dry_run: bool
    data: list[ShareOut]
    index_pending: int = Field(0, description="Changed messages that the vector index has still to follow.")


class RestoreIn(ExactBody):
    """What is to come back: messages, a conversation, or all that was marked since a time."""

    message_ids: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=10_000, fail_fast=True)] = ()
    conversation_id: StrictStr | None = None
    since: Time | None = None
    user: StrictStr | None = None
    scope: Literal["namespace"] | None = Field(None, description="With since: of every user.")


class RestoredOut(BaseModel):
    """What came back."""

    restored: int = Field(description="Messages that are recalled again.")
    index_pending: int = Field(0, description="Changed messages that the vector index has still to follow.")


class KeepIn(ExactBody):
    """Whose message or conversation it is."""

    user: StrictStr | None = None
