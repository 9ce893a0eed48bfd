"""Bodies of the assistant's routes."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from api.schemas.memory import Body


class TurnIn(Body):
    """What a person says."""

    message: StrictStr
    agent: StrictStr | None = None
    model: StrictStr | None = None
    user: StrictStr | None = None
    token_budget: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 4000
    stream: StrictBool = False


class ReplyOut(BaseModel):
    """What the assistant answered."""

    conversation_id: str
    message_id: str
    text: str
    agent: str
    model: str
    tool_calls: list[dict[str, Any]]
    usage: dict[str, int] | None
    manifest_id: str
