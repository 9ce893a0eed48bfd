"""Bodies of the routes that forget on purpose."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictStr

from api.schemas.memory import Body, Moment


class EraseIn(Body):
    """What is to be erased: messages, a conversation, a user with all that is theirs, or the whole namespace.

    With messages or a conversation, `user` is whose they are.
    """

    message_ids: Annotated[tuple[StrictStr, ...], Field(max_length=10_000)] = ()
    conversation_id: StrictStr | None = None
    user: StrictStr | None = None
    namespace: StrictStr | None = None


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
