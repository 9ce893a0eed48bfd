"""What each route asks of its caller: one table. A route that is not in it is for the machine alone."""

from collections.abc import Mapping

from api.routes.planned import METHODS, PLANNED

#: What a caller must have. The rights of a key, and one that no key has.
Need = frozenset[str]
OPEN: Need = frozenset()
READ: Need = frozenset({"read"})
WRITE: Need = frozenset({"write"})
#: Keeps what is said and answers with what is remembered.
TALK: Need = READ | WRITE
ADMIN: Need = frozenset({"admin"})
#: Reaches over every namespace of the store, so no key will do: for commands on the service's own machine.
MACHINE: Need = frozenset({"machine"})

_MEMORY = "/v1/memory"
_CONVERSATION = f"{_MEMORY}/conversations/{{conversation_id:path}}"

NEEDS: Mapping[str, Need] = {
    **{f"{method} {path}": READ for path in PLANNED for method in METHODS},
    "GET /": OPEN,
    "GET /docs": OPEN,
    "GET /openapi.json": OPEN,
    "GET /health": OPEN,
    "GET /ready": READ,
    f"POST {_MEMORY}/messages": WRITE,
    f"PATCH {_MEMORY}/messages/{{message_id:path}}": WRITE,
    f"POST {_MEMORY}/recall": READ,
    f"POST {_MEMORY}/recall/why-not": READ,
    f"POST {_MEMORY}/context": READ,
    f"GET {_MEMORY}/contexts/{{manifest_id}}": READ,
    f"GET {_MEMORY}/conversations": READ,
    f"GET {_CONVERSATION}": READ,
    f"GET {_CONVERSATION}/messages": READ,
    f"GET {_CONVERSATION}/summaries": READ,
    f"GET {_CONVERSATION}/links": READ,
    f"POST {_MEMORY}/links": WRITE,
    f"GET {_MEMORY}/links/{{link_id}}": READ,
    f"POST {_MEMORY}/links/{{link_id}}/confirm": WRITE,
    f"POST {_MEMORY}/links/{{link_id}}/refuse": WRITE,
    f"GET {_MEMORY}/path": READ,
    f"GET {_MEMORY}/graph": READ,
    f"GET {_MEMORY}/patterns": READ,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/confirm": WRITE,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/dismiss": WRITE,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/correct": WRITE,
    f"GET {_MEMORY}/notes": READ,
    f"GET {_MEMORY}/notes/{{name}}": READ,
    f"PUT {_MEMORY}/notes/{{name}}": WRITE,
    f"DELETE {_MEMORY}/notes/{{name}}": WRITE,
    f"GET {_MEMORY}/stats": READ,
    f"POST {_MEMORY}/erase": ADMIN,
    f"GET {_MEMORY}/receipts/{{receipt_id}}": ADMIN,
    f"POST {_MEMORY}/receipts/{{receipt_id}}/verify": ADMIN,
    f"POST {_MEMORY}/messages/{{message_id:path}}/quarantine": WRITE,
    f"DELETE {_MEMORY}/messages/{{message_id:path}}/quarantine": WRITE,
    f"POST {_CONVERSATION}/quarantine": WRITE,
    f"DELETE {_CONVERSATION}/quarantine": WRITE,
    f"GET {_MEMORY}/retention": ADMIN,
    f"PUT {_MEMORY}/retention": ADMIN,
    f"POST {_MEMORY}/prune": ADMIN,
    f"GET {_MEMORY}/pruned": ADMIN,
    f"POST {_MEMORY}/restore": ADMIN,
    f"POST {_MEMORY}/messages/{{message_id:path}}/pin": WRITE,
    f"DELETE {_MEMORY}/messages/{{message_id:path}}/pin": WRITE,
    f"POST {_CONVERSATION}/hold": ADMIN,
    f"DELETE {_CONVERSATION}/hold": ADMIN,
    f"POST {_MEMORY}/doctor": MACHINE,
    f"POST {_MEMORY}/backup": MACHINE,
    f"POST {_MEMORY}/reindex": MACHINE,
    f"GET {_MEMORY}/reindex": MACHINE,
    "POST /v1/assistant/conversations/{conversation_id:path}/messages": TALK,
    "GET /v1/assistant/agents": READ,
    "GET /v1/assistant/tool-calls": READ,
    "GET /v1/assistant/cost": READ,
    "POST /v1/chat/completions": TALK,
    "GET /v1/models": READ,
    "GET /v1/models/{model:path}": READ,
    "POST /v1/keys": ADMIN,
    "GET /v1/keys": ADMIN,
    "DELETE /v1/keys/{key_id}": ADMIN,
}
#: Where the pages' static files are.
STATIC = "/web/"
_OPEN_PATHS = frozenset(route.partition(" ")[2] for route, need in NEEDS.items() if need == OPEN)


def needed(method: str, path: str) -> Need:
    """What the route of this method and path template asks of its caller."""
    return NEEDS.get(f"{method} {path}", MACHINE)


def is_open(path: str) -> bool:
    """Whether whoever comes may ask this path: it tells nothing of what is remembered."""
    return path in _OPEN_PATHS or path.startswith(STATIC)
