"""What `memory-engine erase` asks for: all that was named, and nothing that was not."""

import pytest

from api.client import ServiceError
from api.erasing import body_of


@pytest.mark.parametrize(
    ("what", "names", "of_user", "body"),
    [
        ("message", ["m", "n"], None, {"message_ids": ["m", "n"]}),
        ("message", ["m"], "ana", {"message_ids": ["m"], "user": "ana"}),
        ("conversation", ["c"], "ana", {"conversation_id": "c", "user": "ana"}),
        ("user", ["ana"], None, {"user": "ana"}),
        ("namespace", ["shop"], None, {"namespace": "shop"}),
    ],
)
def test_it_asks_for_what_was_named(what: str, names: list[str], of_user: str | None, body: dict[str, object]) -> None:
    assert body_of(what, names, of_user) == body


@pytest.mark.parametrize(
    ("what", "names", "of_user"),
    [
        (None, [], None),
        ("everything", ["x"], None),
        ("message", [], None),
        ("conversation", ["c", "d"], None),
        ("user", ["ana", "ben"], None),
        ("user", ["ana"], "ben"),
        ("namespace", ["shop"], "ana"),
    ],
)
def test_what_is_not_clear_is_refused(what: str | None, names: list[str], of_user: str | None) -> None:
    with pytest.raises(ServiceError, match=r"\.$"):
        body_of(what, names, of_user)
