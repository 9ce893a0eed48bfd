"""What `memory-engine erase` asks of the service."""

from collections.abc import Sequence
from typing import Any

from api.client import Client, ServiceError

_WHAT = ("message", "conversation", "user", "namespace")


def check_alone(what: str | None, of_user: str | None) -> None:
    """See that nothing is named beside the receipt of an erasure that is looked at again.

    Raises:
        ServiceError: something is.
    """
    if what is not None or of_user is not None:
        raise ServiceError("--verify looks again for what a receipt stands for: name nothing to erase beside it.")


def body_of(
    what: str | None, names: Sequence[str], of_user: str | None, namespace: str | None = None
) -> dict[str, Any]:
    """The body of the request that erases these things.

    Raises:
        ServiceError: it is not said what is to be erased, or whose cannot be said of it.
    """
    if what not in _WHAT:
        raise ServiceError("Say what is to be erased: message, conversation, user or namespace, and which.")
    if not names or (what != "message" and len(names) > 1):
        raise ServiceError(f"Name {'the messages' if what == 'message' else f'one {what}'} to erase.")
    if of_user is not None and what in ("user", "namespace"):
        raise ServiceError(f"--of-user says whose a message or a conversation is, not whose a {what} is.")
    if namespace is not None and what == "namespace":
        raise ServiceError("--namespace says whose a message, conversation or user is: name the namespace alone.")
    if what == "message":
        named: dict[str, Any] = {"message_ids": list(names)}
    else:
        named = {"conversation_id" if what == "conversation" else what: names[0]}
    return named if of_user is None else {**named, "user": of_user}


def proved(client: Client, receipt_id: str | None, body: dict[str, Any] | None) -> Any:
    """The receipt after a scan: of what was erased before, or of what the body names, erased now.

    Raises:
        ServiceError: the service refused.
    """
    if receipt_id is None:
        receipt_id = client.call("POST", "/v1/memory/erase", body)["receipt_id"]
    return client.call("POST", f"/v1/memory/receipts/{receipt_id}/verify", {})
