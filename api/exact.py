"""Requests that delete, hide or bring back: what they name is named once, and nothing they say is ignored.

Otherwise a field that is named twice, a misspelt `?usr=ann` or a user in the wrong place would leave a value out. The
request would then act on more than the client named, or on another user.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Depends, Request

from memory_engine.checks import fields_once
from memory_engine.errors import EmptyTarget, InvalidTarget


@dataclass(frozen=True, kw_only=True, slots=True)
class Exact:
    """A dependency that refuses a request with a part that its route ignores."""

    #: The query parameters that the route takes.
    query: Sequence[str] = ()
    #: Whether the route takes a body.
    body: bool = True
    #: Whether the body has to name what is to be erased.
    target: bool = False

    async def __call__(self, request: Request) -> None:
        """Check the query and the body.

        Raises:
            InvalidTarget: something is named twice, or where the route does not look.
            EmptyTarget: the body has to name a target and is empty or null.
        """
        self._check_query(request.query_params.multi_items())
        raw = await request.body()
        try:
            found = json.loads(raw, object_pairs_hook=fields_once) if raw.strip() else None
        except (ValueError, RecursionError):
            found = raw  # not JSON, which the route refuses where it takes a body
        if not self.body and found:
            hint = " Name the user in the query." if self.query else ""
            raise InvalidTarget(f"This request takes no body.{hint}")
        if self.target and found is None:
            raise EmptyTarget("The body is empty. Name what is to be erased.")

    def _check_query(self, given: Sequence[tuple[str, str]]) -> None:
        seen: set[str] = set()
        for name, _ in given:
            if name not in self.query:
                where = " Name it in the body." if self.body else ""
                raise InvalidTarget(f"This request takes no query parameter {name!r}.{where}", param=name)
            if name in seen:
                raise InvalidTarget(f"The query names {name!r} twice.", param=name)
            seen.add(name)


#: For routes that take a body and no query.
EXACT = Depends(Exact())
EXACT_TARGET = Depends(Exact(target=True))
#: For routes that take a user in the query and no body.
EXACT_OF_USER = Depends(Exact(query=("user",), body=False))
#: For routes that take neither.
EXACT_PATH = Depends(Exact(body=False))
