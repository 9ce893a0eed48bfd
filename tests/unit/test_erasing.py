"""What `memory-engine erase` asks for: all that was named, and nothing that was not."""

import pytest

from api.client import ServiceError
from api.erasing import body_of, question_of
from memory_engine.errors import EmptyTarget


@pytest.mark.parametrize(
    ("what", "names", "of_user", "body"),
    [
        ("message", ["m", "n"], None, {"message_ids": ["m", "n"]}),
        ("message", ["m"], "ana", {"message_ids": ["m"], "user": "ana"}),
        ("conversation", ["c"], "ana", {"conversation_id": "c", "user": "ana"}),
        ("user", ["ana"], None, {"user": "ana", "all": True}),
        ("namespace", ["shop"], None, {"namespace": "shop", "all": True}),
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


@pytest.mark.parametrize("what", ["message", "conversation", "user", "namespace"])
@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_shell_variable_names_nothing(what: str, name: str) -> None:
    with pytest.raises(EmptyTarget, match=r"is empty\. Name what is to be deleted\.$"):
        body_of(what, [name], None)
    if what in ("message", "conversation"):
        with pytest.raises(EmptyTarget, match="--of-user is empty"):
            body_of(what, ["m"], name)
    if what != "namespace":
        with pytest.raises(EmptyTarget, match="--namespace is empty"):
            body_of(what, ["m"], None, name)


@pytest.mark.parametrize(
    ("what", "names", "of_user", "namespace", "question"),
    [
        ("message", ["m"], None, None, "the message 'm' of the default user in the namespace 'default'"),
        ("message", ["m", "n"], "ana", "shop", "2 messages ('m', 'n') of the user 'ana' in the namespace 'shop'"),
        ("conversation", ["c"], "ana", None, "the conversation 'c' of the user 'ana' in the namespace 'default'"),
        ("user", ["ana"], None, "shop",
         "the whole user 'ana' in the namespace 'shop', with everything stored for this user"),
        ("namespace", ["shop"], None, None,
         "the whole namespace 'shop', with everything stored for all of its users"),
    ],
)  # fmt: skip
def test_the_question_says_exactly_what_is_erased(
    what: str, names: list[str], of_user: str | None, namespace: str | None, question: str
) -> None:
    asked = question_of(body_of(what, names, of_user, namespace), namespace)
    assert asked == f"Erase {question}? This cannot be undone."


def test_the_question_lists_ten_of_many_messages() -> None:
    asked = question_of(body_of("message", [f"m{n}" for n in range(1_012)], None), None)
    assert asked.startswith("Erase 1,012 messages ('m0', 'm1',")
    assert "'m9' and 1,002 more)" in asked
