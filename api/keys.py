"""API keys: made, looked up, listed and revoked. The key itself is shown once and kept nowhere; its hash is."""

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from assistant.storage import api_keys
from memory_engine.checks import check_name, check_target
from memory_engine.errors import InvalidInput
from memory_engine.models import from_micros, random_id, to_micros
from memory_engine.ports import Clock
from memory_engine.storage.database import Database, Transaction

#: What a key may do; `scopes` in its JSON.
Right = Literal["read", "write", "admin"]
RIGHTS: tuple[Right, ...] = ("read", "write", "admin")
#: What every key begins with.
MARK = "mek_"
#: Keys in a line of keys that made each other.
MAX_GENERATIONS = 8
#: Characters that are shown of a key: its mark and eight more of its 43.
_SHOWN = len(MARK) + 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """What is known of a key."""

    key_id: str
    #: What its owner calls it.
    name: str
    #: Whose memory it opens.
    namespace: str
    #: The beginning of the key, by which its owner knows it again.
    prefix: str
    #: As they were given; `admin` holds the others.
    rights: tuple[Right, ...]
    #: None for what the settings say.
    requests_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    #: The id of the key that made it. None where a command made it.
    made_by: str | None = None
    #: The key that made it, the key that made that one, and so on. Only `find` reads them.
    makers: tuple["ApiKey", ...] = field(default=(), compare=False)

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key that is to be made."""

    namespace: str
    name: str
    rights: tuple[Right, ...]
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    made_by: str | None = None


class ApiKeys:
    """The keys of one store."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, new: NewKey) -> tuple[ApiKey, str]:
        """Make a key, and return what is known of it with the key itself, which is not kept.

        Raises:
            InvalidInput: a name cannot be taken, or it would have expired already.
            StoreError: the store does not answer; nothing was made.
        """
        check_name(new.namespace, "namespace")
        check_name(new.name, "name")
        now = self._clock.now()
        if new.expires_at is not None and new.expires_at <= now:
            raise InvalidInput("expires_at must lie in the future.", param="expires_at")
        secret = MARK + secrets.token_urlsafe(32)
        row = {
            "key_id": random_id("key"),
            "name": new.name,
            "namespace": new.namespace,
            "prefix": secret[:_SHOWN],
            "rights": ",".join(right for right in RIGHTS if right in new.rights),
            "requests_per_minute": new.requests_per_minute,
            "created_at": to_micros(now),
            "expires_at": None if new.expires_at is None else to_micros(new.expires_at),
            "revoked_at": None,
            "made_by": new.made_by,
        }
        with self._database.write() as db:
            api_keys.save(db, {**row, "hash": _hash(secret)})
        return _key(row), secret

    def find(self, secret: str) -> ApiKey | None:
        """Return the key that this text is. None unless the key and every key in its line of makers is valid."""
        with self._database.read() as db:
            row = api_keys.by_hash(db, _hash(secret))
            makers = [] if row is None else _makers(db, row)
        if row is None or None in makers:
            return None
        line = [_key(each) for each in (row, *makers) if each is not None]
        now = self._clock.now()
        return replace(line[0], makers=tuple(line[1:])) if all(key.is_valid(now) for key in line) else None

    def all(self, namespace: str | None = None) -> list[ApiKey]:
        """The keys of a namespace, or of all, oldest first; expired and revoked ones too."""
        with self._database.read() as db:
            return [_key(row) for row in api_keys.of_namespace(db, namespace)]

    def revoke(self, key_id: str, namespace: str | None = None) -> ApiKey | None:
        """Revoke a key and the keys that it made, and return it.

        None where no key has that id, or the key belongs to another namespace.

        Raises:
            EmptyTarget: no key is named; nothing was changed.
            StoreError: the store does not answer; nothing was changed.
        """
        check_target(key_id, "key_id")
        with self._database.write() as db:
            row = api_keys.revoke(db, key_id, namespace, to_micros(self._clock.now()))
        return None if row is None else _key(row)


def _makers(db: Transaction, row: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Return the rows of a key's line of makers; None in place of one that is gone, or beyond the longest line."""
    makers: list[dict[str, Any] | None] = []
    made_by = row["made_by"]
    while made_by is not None:
        maker = api_keys.by_id(db, made_by) if len(makers) < MAX_GENERATIONS else None
        makers.append(maker)
        made_by = None if maker is None else maker["made_by"]
    return makers


def _hash(secret: str) -> str:
    # A key is 256 random bits: a slow hash, which passwords need, would guard nothing more.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: dict[str, Any]) -> ApiKey:
    times = {
        name: None if row[name] is None else from_micros(row[name])
        for name in ("created_at", "expires_at", "revoked_at")
    }
    return ApiKey(**{**row, **times, "rights": tuple(row["rights"].split(","))})
