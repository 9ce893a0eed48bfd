"""Requests made up from the application's own description of its routes, so that a new route is tried by itself."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from tests.canaries import Owner, absent

#: The kind of id that a field of this name takes; a field that is not here is offered ids of every kind.
KINDS = {
    "conversation_id": "conversation", "exclude_conversation_ids": "conversation", "source": "conversation",
    "target": "conversation", "x-conversation-id": "conversation", "message_id": "message", "message_ids": "message",
    "id": "message", "thread_id": "thread", "link_id": "link", "pattern_id": "pattern", "manifest_id": "context",
    "against": "context", "key_id": "key", "name": "note", "namespace": "namespace", "receipt_id": "receipt",
}  # fmt: skip
#: Times by which what was said lies within what is asked.
_PAST, _FUTURE = "2020-02-02T02:02:02Z", "2222-02-02T02:02:02Z"
#: What fields take that are no ids, so that a request reaches what it asks.
SAMPLES: dict[str, list[Any]] = {
    "after": [_PAST], "before": [_FUTURE], "as_of": [_FUTURE], "since": [_PAST], "from": [_PAST], "to": [_FUTURE],
    "expires_at": [_FUTURE], "agent": ["pm"], "by": ["day", "conversation", "agent"], "embedder": ["static"],
    "model": ["gpt-6.1-terra"],
    "policy": [{"rules": [{"stratum": "messages", "keep_newest": 0}]}],
    "rules": [[{"stratum": "messages", "older_than_days": 1}]], "reason": ["a reason"], "written_by": ["me"],
}  # fmt: skip
#: What is asked of texts: words that every owner said beside their canary.
TEXTS = ("query", "q", "message", "content", "text")
#: The bodies of routes whose description has none.
_CHAT = {
    "type": "object",
    "required": ["model", "messages", "metadata"],
    "properties": {
        "model": {"enum": ["m"]},
        "messages": {"type": "array"},
        "stream": {"type": "boolean"},
        "metadata": {
            "type": "object",
            "properties": {"conversation_id": {"type": "string"}, "thread_id": {"type": "string"}},
        },
    },
}
_POLICY = {"type": "object", "required": ["rules"], "properties": {"rules": {"type": "array"}}}
_UNDESCRIBED = {"POST /v1/chat/completions": _CHAT, "PUT /v1/memory/retention": _POLICY}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, and the ids of somebody else's that it names."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    named: frozenset[str]

    def of_nobody(self) -> "Request":
        """The same request, naming what nobody has."""
        path, body, headers = self.path, json.dumps(self.body), dict(self.headers)
        for name in self.named:
            nobodys = absent(name)
            path, body = path.replace(quote(name, safe=""), quote(nobodys, safe="")), body.replace(name, nobodys)
            headers = {key: value.replace(name, nobodys) for key, value in headers.items()}
        named = frozenset(absent(name) for name in self.named)
        return Request(method=self.method, path=path, headers=headers, body=json.loads(body), named=named)


class Asker:
    """Makes up requests to the routes of a description."""

    def __init__(self, openapi: dict[str, Any]) -> None:
        self._schemas = openapi["components"]["schemas"]
        self.operations = {
            f"{method.upper()} {path}": operation
            for path, operations in openapi["paths"].items()
            for method, operation in operations.items()
        }

    def takes_user(self, route: str) -> bool:
        """Whether the route can be asked as a user of the namespace."""
        operation = self.operations[route]
        if any(parameter["name"] == "user" for parameter in operation.get("parameters", ())):
            return True
        return any(body is _CHAT or "user" in body.get("properties", {}) for body in self._bodies(route))

    def request(self, draw: Any, route: str, victim: Owner, user: str | None) -> Request:
        """A request to the route with ids of the victim's, as a user of one's own."""
        method, path = route.split(" ")
        made = _Draft(draw, victim, user, self._schemas)
        described = draw(st.sampled_from(self._bodies(route)))
        query, headers = {}, {}
        for parameter in self.operations[route].get("parameters", ()):
            name, place = parameter["name"], parameter["in"]
            if name == "x-namespace" or not (parameter.get("required") or name == "user" or made.is_given()):
                continue
            in_query = place == "query" and name == "after"  # the row after which a page begins, and no time
            value = made.id(name) if in_query else made.value(name, parameter["schema"])
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            elif value is not None:
                (query if place == "query" else headers)[name] = str(value)
        body = made.value("", described) if described else None
        if described is _CHAT and user is not None:
            body["user"] = user
        path += "?" + urlencode(query, quote_via=quote, safe="") if query else ""
        return Request(method=method, path=path, headers=headers, body=body, named=frozenset(made.named))

    def _bodies(self, route: str) -> list[dict[str, Any]]:
        """The shapes that the route's body can have."""
        if route in _UNDESCRIBED:
            return [_UNDESCRIBED[route]]
        content = self.operations[route].get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        named = self._schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
        return [_resolved(choice, self._schemas) for choice in named.get("anyOf", [named])]


class _Draft:
    """Values for the fields of one request."""

    def __init__(self, draw: Any, victim: Owner, user: str | None, schemas: dict[str, Any]) -> None:
        self._draw, self._victim, self._user, self._schemas = draw, victim, user, schemas
        self.named: set[str] = set()

    def value(self, name: str, schema: dict[str, Any]) -> Any:
        """A value for a field of this name."""
        if name == "user":
            return self._user
        if name == "scope":  # of recall, for admins of the namespace
            return None if self._user is not None else self._draw(st.sampled_from([None, "namespace"]))
        if name == "messages":
            said = {"role": "user", "content": "Where is the safe?"}
            # Of messages that are kept, not of those that a model is sent.
            return [{**said, "id": self.id("id")} if "items" in schema and self.is_given() else said]
        if name in TEXTS:
            return "the password of the safe"
        if name in SAMPLES:
            return self._draw(st.sampled_from(SAMPLES[name]))
        return self._of_kind(name, _resolved(schema, self._schemas))

    def _of_kind(self, name: str, schema: dict[str, Any]) -> Any:
        kind = schema.get("type")
        if "enum" in schema or "const" in schema:
            return self._draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return [self.value(name, schema.get("items", {}))]
        if kind in ("integer", "number"):
            return self._draw(st.integers(max(0, int(schema.get("minimum", 1))), min(3, int(schema.get("maximum", 3)))))
        if kind == "boolean":
            return self._draw(st.booleans())
        if "pattern" in schema:
            return self._draw(st.sampled_from(schema["pattern"].strip("^$()").split("|")))
        return self.id(name)

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        required, fields = schema.get("required", ()), schema.get("properties", {})
        asked = [name for name in fields if name in required or name == "user" or self.is_given()]
        values = {name: self.value(name, fields[name]) for name in asked}
        return {name: value for name, value in values.items() if value is not None}

    def is_given(self) -> bool:
        """Whether something that can be left out is given: seldom, because some things exclude others."""
        return bool(self._draw(st.integers(0, 2)) == 2)

    def id(self, name: str) -> str:
        """An id of the victim's, most often of the kind that the field takes."""
        ids = self._victim.ids
        fitting = ids.get(KINDS.get(name, ""), [])
        every = [each for names in ids.values() for each in names]
        chosen: str = self._draw(st.sampled_from(fitting if fitting and self._draw(st.integers(0, 3)) < 3 else every))
        self.named.add(chosen)
        return chosen


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference leads to; of several, the first that is not null."""
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    choices = schema.get("anyOf") or schema.get("oneOf") or ()
    chosen = next((choice for choice in choices if choice.get("type") != "null"), None)
    return schema if chosen is None else _resolved(chosen, schemas)
