"""Bodies of the routes of API keys."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr

from api.keys import ApiKey, Right
from api.schemas.memory import Body, Moment, Time


class KeyIn(Body):
    """A key that is to be made."""

    namespace: StrictStr | None = Field(None, description="Whose memory it opens; the caller's unless given.")
    name: StrictStr = "key"
    scopes: Annotated[tuple[Right, ...], Field(min_length=1, max_length=16, fail_fast=True)] = ("read", "write")
    expires_at: Time | None = Field(None, description="Default: the expiry of the key that makes it.")
    requests_per_minute: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None


class KeyOut(BaseModel):
    """What is known of a key."""

    object: Literal["api_key"] = "api_key"
    id: str
    name: str
    namespace: str
    prefix: str
    scopes: list[Right]
    requests_per_minute: int | None
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    made_by: str | None = Field(description="The id of the key that made it. null where a command made it.")


class MadeKeyOut(KeyOut):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is shown this once and kept nowhere.")


def key_out(key: ApiKey) -> KeyOut:
    """A key as clients see it."""
    return KeyOut(
        id=key.key_id,
        name=key.name,
        namespace=key.namespace,
        prefix=key.prefix,
        scopes=list(key.rights),
        requests_per_minute=key.requests_per_minute,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        made_by=key.made_by,
    )
