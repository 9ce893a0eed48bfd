"""Bodies of the assistant's routes."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from api.schemas.memory import Body
from assistant.settings import MAX_TOKEN_BUDGET


class TurnIn(Body):
    """What a person says."""

    message: StrictStr
    agent: StrictStr | None = None
    model: StrictStr | None = None
    user: StrictStr | None = None
    token_budget: Annotated[StrictInt, Field(ge=1, le=MAX_TOKEN_BUDGET)] | None = None
    stream: StrictBool = False
    #: Tools that may change something in this turn, because a person has agreed.
    confirmed_tools: Annotated[tuple[StrictStr, ...], Field(max_length=64, fail_fast=True)] = ()


class AgentOut(BaseModel):
    """An agent, as it is now."""

    name: str
    description: str
    version: str
    model: str | None
    temperature: float | None
    tools: list[str]
    #: Versions that replies were made with, newest first.
    versions: list[dict[str, Any]]


class ToolCallOut(BaseModel):
    """A call of a tool as it was logged."""

    id: str
    conversation_id: str
    message_id: str
    call_id: str
    tool: str
    agent: str
    arguments: str
    attempt: int
    status: str
    error: str | None
    output: str | None
    started_at: datetime
    #: None while it runs, or where the process ended before it did.
    duration_ms: float | None


class ReplyOut(BaseModel):
    """What the assistant answered."""

    conversation_id: str
    message_id: str | None = Field(description="Null where the answer could not be stored.")
    text: str
    agent: str
    model: str
    tool_calls: list[dict[str, Any]]
    usage: dict[str, int] | None
    manifest_id: str
    notice: str | None = Field(None, description="What could not be stored: `answer_not_stored`.")
