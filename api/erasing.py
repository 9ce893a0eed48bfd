"""What `memory-engine erase` asks of the service."""

from collections.abc import Sequence
from typing import Any

from api.client import Client, ServiceError
from memory_engine.checks import check_target

_WHAT = ("message", "conversation", "user", "namespace")
#: Message ids that the question before an erasure lists.
_SHOWN = 10


def check_alone(verify: str, what: str | None, of_user: str | None) -> None:
    """Check that nothing but a receipt is named where an erasure is looked at again.

    Raises:
        EmptyTarget: no receipt is named.
        ServiceError: something to erase is named too.
    """
    check_target(verify, "--verify")
    if what is not None or of_user is not None:
        raise ServiceError("--verify looks again for what a receipt stands for. Name nothing to erase with it.")


def body_of(
    what: str | None, names: Sequence[str], of_user: str | None, namespace: str | None = None
) -> dict[str, Any]:
    """Return the body of the request that erases these things.

    Raises:
        EmptyTarget: a name is empty, as that of a shell variable that is not set.
        ServiceError: it is not said what is to be erased, or whose cannot be said of it.
    """
    if what not in _WHAT:
        raise ServiceError("Say what is to be erased: message, conversation, user or namespace, and which.")
    if not names or (what != "message" and len(names) > 1):
        raise ServiceError(f"Name {'the messages' if what == 'message' else f'one {what}'} to erase.")
    if of_user is not None and what in ("user", "namespace"):
        raise ServiceError(f"--of-user says whose a message or a conversation is, not whose a {what} is.")
    if namespace is not None and what == "namespace":
        raise ServiceError("--namespace says whose a message, conversation or user is. Name the namespace alone.")
    named = [check_target(name, f"The {what}'s id") for name in names]
    whose = {} if of_user is None else {"user": check_target(of_user, "--of-user")}
    if namespace is not None:
        check_target(namespace, "--namespace")
    if what == "message":
        return {"message_ids": named, **whose}
    if what == "conversation":
        return {"conversation_id": named[0], **whose}
    return {what: named[0], "all": True}


def question_of(body: dict[str, Any], namespace: str | None) -> str:
    """Return the question that is asked before this body is sent: exactly what will be erased."""
    place = f"in the namespace {namespace or 'default'!r}"
    if "namespace" in body:
        what = f"the whole namespace {body['namespace']!r}, with everything stored for all of its users"
    elif "all" in body:
        what = f"the whole user {body['user']!r} {place}, with everything stored for this user"
    else:
        whose = f"of the user {body['user']!r}" if "user" in body else "of the default user"
        what = f"{_part_of(body)} {whose} {place}"
    return f"Erase {what}? This cannot be undone."


def _part_of(body: dict[str, Any]) -> str:
    if "conversation_id" in body:
        return f"the conversation {body['conversation_id']!r}"
    ids = body["message_ids"]
    listed = ", ".join(map(repr, ids[:_SHOWN])) + (f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else "")
    return f"the message {listed}" if len(ids) == 1 else f"{len(ids):,} messages ({listed})"


def proved(client: Client, receipt_id: str | None, body: dict[str, Any] | None) -> Any:
    """Return the receipt after a scan: of what was erased before, or of what the body names, erased now.

    Raises:
        ServiceError: the service refused.
    """
    if receipt_id is None:
        receipt_id = client.call("POST", "/v1/memory/erase", body)["receipt_id"]
    return client.call("POST", f"/v1/memory/receipts/{receipt_id}/verify", {})
