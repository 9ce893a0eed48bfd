"""Bodies of the routes that forget on purpose."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel, StrictStr, model_validator

from api.schemas.memory import Body, Moment
from memory_engine.checks import check_target, check_targets
from memory_engine.errors import EmptyTarget, InvalidTarget

#: Messages of one erasure.
MAX_IDS = 10_000
#: What a body can name, the whole of which is erased with `all` alone.
_WHOLE = ("user", "namespace")
_PARTS = ("message_ids", "conversation_id")

Owner = Annotated[StrictStr, Field(description="Whose it is. Default: the namespace's default user.")]
All = Annotated[Literal[True], Field(description="Confirms that everything is erased.")]


class EraseMessagesIn(Body):
    """Messages, all of them or none."""

    message_ids: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=MAX_IDS, fail_fast=True)]
    user: Owner = Field(default_factory=str)


class EraseConversationIn(Body):
    """A conversation with all of its messages."""

    conversation_id: StrictStr
    user: Owner = Field(default_factory=str)


class EraseUserIn(Body):
    """A user with everything stored for this user."""

    user: StrictStr
    all: All


class EraseNamespaceIn(Body):
    """The namespace with everything stored for all of its users."""

    namespace: StrictStr
    all: All


class EraseIn(RootModel[EraseMessagesIn | EraseConversationIn | EraseUserIn | EraseNamespaceIn]):
    """Exactly one target. An empty or null target, and whatever stands beside a target, is an error."""

    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, raw: object) -> object:
        check_erasure(raw)
        return raw


def check_erasure(raw: object) -> None:
    """Check that a body names exactly one thing to erase.

    Raises:
        EmptyTarget: it names nothing, or something empty or null.
        InvalidTarget: it names two things, holds an unknown field, or a value of the wrong type.
    """
    if not isinstance(raw, Mapping):
        raise InvalidTarget("The body must be an object that names what is to be erased.")
    if unknown := [name for name in raw if name not in (*_PARTS, *_WHOLE, "all")]:
        raise InvalidTarget(f"Unknown field {unknown[0]!r}. Nothing was erased.", param=str(unknown[0]))
    for name in (name for name in raw if name != "all"):
        _check_value(name, raw[name])
    targets = [name for name in (*_PARTS, "namespace") if name in raw]
    if len(targets) > 1 or (targets == ["namespace"] and "user" in raw):
        raise InvalidTarget("Name one target: message_ids, conversation_id, user or namespace.", param=targets[0])
    if not targets and "user" not in raw:
        raise EmptyTarget("Name what is to be erased: message_ids, a conversation_id, a user or a namespace.")
    _check_all(raw, (targets or ["user"])[0])


def _check_value(name: str, value: object) -> None:
    if name != "message_ids":
        check_target(value, name)
    elif value is not None and not isinstance(value, list):
        raise InvalidTarget("message_ids must be a list of ids.", param=name)
    elif isinstance(value, list) and len(value) > MAX_IDS:
        raise InvalidTarget(f"message_ids may have {MAX_IDS:,} ids at most.", param=name)
    else:
        check_targets(value, name)


def _check_all(raw: Mapping[str, Any], target: str) -> None:
    if target in _PARTS and "all" in raw:
        raise InvalidTarget(f"all erases a whole user or namespace. Leave it out beside {target}.", param="all")
    if target in _WHOLE and raw.get("all") is not True:
        text = f'To erase the whole {target} {raw[target]!r}, say "all": true. Nothing was erased.'
        raise InvalidTarget(text, param="all")


class ReceiptOut(BaseModel):
    """What was erased, and how far that is proved. It names nothing that was erased."""

    receipt_id: str
    kind: Literal["messages", "conversation", "user", "namespace"]
    state: Literal["pending", "done"] = Field(description="done when a scan of every file found nothing of it.")
    requested_by: str
    requested_at: Moment
    completed_at: Moment | None
    counts: dict[str, int] = Field(description="Rows that went, by place; for a user or a namespace it grows.")
    content_hashes: tuple[str, ...] = Field(description="Keyed hashes of what went; the first thousand.")
    scan: dict[str, Any] | None
