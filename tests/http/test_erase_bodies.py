"""Whatever a body of `POST /v1/memory/erase` holds, what disappears is what it names, or nothing."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.conftest import Api, user
from tests.running_service import RunningService

ERASE = "/v1/memory/erase"
#: Users of both namespaces; None is the default user.
USERS = (None, "ann", "bob")
#: Names of no user, some of them close to a user's name.
STRANGERS = ("nobody", "ANN", "ann ", "an", "ann%", "%", "*", "null", "default", "0")
#: What is empty, or of a type that no field takes.
ODD: tuple[Any, ...] = (None, "", " ", "\n\t", [], {}, [[]], 0, 1, -1, 1.5, True, False, {"user": "ann"}, [None], [""])


@dataclass(frozen=True, kw_only=True)
class World:
    """Two namespaces with users, conversations and messages. The first one asks."""

    http: httpx2.Client
    own: str = field(default_factory=lambda: f"own-{secrets.token_hex(6)}")
    other: str = field(default_factory=lambda: f"other-{secrets.token_hex(6)}")
    #: Message ids by namespace, user and conversation.
    kept: dict[tuple[str, str | None, str], list[str]] = field(default_factory=dict)

    def plant(self) -> "World":
        for namespace in (self.own, self.other):
            for number, whose in enumerate(USERS):
                for place in ("first", "second"):
                    name = f"{place}-{number}"
                    said = [user(f"The {word} is blue.") for word in ("door", "boat")]
                    body = {"conversation_id": name, "messages": said} | ({} if whose is None else {"user": whose})
                    answer = self.http.post("/v1/memory/messages", json=body, headers={"x-namespace": namespace})
                    self.kept[namespace, whose, name] = answer.raise_for_status().json()["message_ids"]
        return self

    def ids(self, namespace: str | None = None) -> list[str]:
        """Return the ids of all messages, or of one namespace's."""
        return [each for (place, *_), ids in self.kept.items() if namespace in (None, place) for each in ids]

    def alive(self) -> set[str]:
        """Return the ids of the messages that the service still lists."""
        found: set[str] = set()
        for namespace, whose, name in self.kept:
            asked = {} if whose is None else {"user": whose}
            path = f"/v1/memory/conversations/{name}/messages"
            answer = self.http.get(path, params=asked, headers={"x-namespace": namespace})
            assert answer.status_code in (200, 404, 410), answer.text
            found |= {row["message_id"] for row in answer.json().get("data", ())}
        return found

    def erase(self, raw: str) -> httpx2.Response:
        headers = {"x-namespace": self.own, "content-type": "application/json"}
        return self.http.post(ERASE, content=raw, headers=headers)


def is_name(value: Any) -> bool:
    """Whether a value can be a name: 1 to 256 characters, not all white space, none a control or a surrogate."""
    if not isinstance(value, str) or not 1 <= len(value) <= 256 or not value.strip():
        return False
    return not any(each < " " or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in value)


def named_by(world: World, body: Any) -> tuple[int, set[str]]:
    """Say what a body names by the contract: the status of the answer, and the ids that disappear."""
    if not isinstance(body, dict) or not all(map(is_name, _names(body))):
        return 400, set()
    scope = {key[2]: ids for key, ids in world.kept.items() if key[:2] == (world.own, body.get("user"))}
    own = [each for ids in scope.values() for each in ids]
    fields = frozenset(body)
    if fields in ({"message_ids"}, {"message_ids", "user"}):
        asked = body["message_ids"]
        if not isinstance(asked, list) or not asked:
            return 400, set()
        return (200, set(asked)) if set(asked) <= set(own) else (404, set())
    if fields in ({"conversation_id"}, {"conversation_id", "user"}):
        found = scope.get(body["conversation_id"])
        return (404, set()) if found is None else (200, set(found))
    if fields == {"user", "all"} and body["all"] is True:
        return (200, set(own)) if own else (404, set())
    if fields == {"namespace", "all"} and body["all"] is True:
        return (200, set(world.ids(world.own))) if body["namespace"] == world.own else (404, set())
    return 400, set()


def _names(body: dict[str, Any]) -> list[Any]:
    """Return every value of the body that has to be a name."""
    listed = body.get("message_ids")
    whole = [value for name, value in body.items() if name in ("conversation_id", "user", "namespace")]
    return [*whole, *(listed if isinstance(listed, list) else [])]


def bodies(world: World) -> st.SearchStrategy[Any]:
    """Bodies with fields that are missing, null, empty, unknown, of a wrong type or right, in any mixture."""
    ids, odd = world.ids(), st.sampled_from(ODD)
    of_default = world.kept[world.own, None, "first-0"]
    one_id = st.sampled_from([*ids, *of_default, "msg_none"]) | odd | st.text(max_size=5)
    id_lists = (
        st.lists(st.sampled_from(of_default), min_size=1, max_size=3)
        | st.lists(st.sampled_from(ids), min_size=1, max_size=3)
        | st.lists(one_id, max_size=3)
        | odd
        | st.sampled_from(ids)
    )
    names = st.sampled_from(["ann", "bob", *STRANGERS]) | odd | st.text(max_size=5)
    conversations = st.sampled_from([key[2] for key in world.kept]) | names
    spaces = st.sampled_from([world.own, world.own, world.other, "default", "nowhere"]) | odd
    everything = st.just(True) | odd | st.sampled_from(["true", "yes"])
    fields: dict[str, st.SearchStrategy[Any]] = {
        "message_ids": id_lists, "conversation_id": conversations, "user": names, "namespace": spaces,
        "all": everything,
    }  # fmt: skip
    unknown = st.sampled_from(["users", "userId", "conversationId", "ids", "filter", "where", "scope", "ALL", ""])
    one = st.sampled_from(sorted(fields)).flatmap(lambda name: fields[name].map(lambda value: {name: value}))
    scoped = st.tuples(one, names).map(lambda pair: {"user": pair[1], **pair[0]})
    whole = st.tuples(one, everything).map(lambda pair: {**pair[0], "all": pair[1]})
    mixed = st.fixed_dictionaries({}, optional=fields)
    surplus = st.tuples(one | scoped | whole, unknown, odd).map(lambda drawn: {**drawn[0], drawn[1]: drawn[2]})
    right = st.sampled_from(right_bodies(world)) | st.sampled_from(right_bodies(world)[-2:])
    beside = st.tuples(right, one).map(lambda pair: {**pair[1], **pair[0]})
    return right | beside | one | scoped | whole | mixed | surplus | odd | st.text(max_size=5)


def right_bodies(world: World) -> list[dict[str, Any]]:
    """Return bodies that name something that is there, of every kind."""
    parts: list[dict[str, Any]] = []
    for (namespace, whose, name), ids in world.kept.items():
        if namespace == world.own:
            of = {} if whose is None else {"user": whose}
            parts += [{"message_ids": ids[:1], **of}, {"message_ids": ids, **of}, {"conversation_id": name, **of}]
    wholes: list[dict[str, Any]] = [{"user": "ann", "all": True}, {"namespace": world.own, "all": True}]
    return [*parts, *wholes]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("erase") / "data") as running:
        yield running


def assert_takes_what_is_named(world: World, body: Any) -> int:
    status, gone = named_by(world, body)
    answer = world.erase(json.dumps(body))
    disappeared = set(world.ids()) - world.alive()
    assert disappeared <= gone, (body, answer.text)
    assert (answer.status_code, disappeared) == (status, gone), (body, answer.text)
    if status == 400:
        error = answer.json()["error"]
        assert error["code"] in ("empty_target", "invalid_request"), (body, error)
        assert error["message"].endswith("."), error
    return status


def test_erase_any_body_takes_what_it_names_or_nothing(service: RunningService) -> None:
    worlds = [World(http=service.http).plant()]
    statuses: list[int] = []

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        world = worlds[-1]
        status = assert_takes_what_is_named(world, data.draw(bodies(world)))
        statuses.append(status)
        if status == 200:
            worlds.append(World(http=service.http).plant())

    tried()
    told = {status: statuses.count(status) for status in (200, 400, 404)}
    assert min(told.values()) >= 10, f"too few of a kind were tried: {told}"


def test_erase_every_right_body_takes_exactly_what_it_names(service: RunningService) -> None:
    for place in range(len(right_bodies(World(http=service.http).plant()))):
        world = World(http=service.http).plant()
        assert assert_takes_what_is_named(world, right_bodies(world)[place]) == 200


#: Bodies that name nothing, each with the code of the answer; `{c}` is a conversation and `{m}` a message of ann's.
REFUSED: list[tuple[str, str]] = [
    ("{}", "empty_target"),
    ("", "empty_target"),
    ("null", "empty_target"),
    ("[]", "invalid_request"),
    ('"ann"', "invalid_request"),
    ('{"all": true}', "empty_target"),
    ('{"user": null, "all": true}', "empty_target"),
    ('{"user": "", "all": true}', "empty_target"),
    ('{"user": " ", "all": true}', "empty_target"),
    ('{"message_ids": []}', "empty_target"),
    ('{"message_ids": [], "user": "ann"}', "empty_target"),
    ('{"message_ids": null, "user": "ann"}', "empty_target"),
    ('{"message_ids": [null], "user": "ann"}', "empty_target"),
    ('{"message_ids": ["{m}", ""], "user": "ann"}', "empty_target"),
    ('{"message_ids": "{m}", "user": "ann"}', "invalid_request"),
    ('{"message_ids": {"id": "{m}"}, "user": "ann"}', "invalid_request"),
    ('{"message_ids": [["{m}"]], "user": "ann"}', "invalid_request"),
    ('{"conversation_id": null, "user": "ann"}', "empty_target"),
    ('{"conversation_id": "", "user": "ann"}', "empty_target"),
    ('{"conversation_id": "{c}", "user": null}', "empty_target"),
    ('{"conversation_id": "{c}", "user": "ann", "message_ids": null}', "empty_target"),
    ('{"conversation_id": "{c}", "user": "ann", "message_ids": ["{m}"]}', "invalid_request"),
    ('{"conversation_id": "{c}", "user": "ann", "all": true}', "invalid_request"),
    ('{"conversation_id": "{c}", "user": "ann", "all": false}', "invalid_request"),
    ('{"message_ids": ["{m}"], "user": "ann", "all": true}', "invalid_request"),
    ('{"user": "ann"}', "invalid_request"),
    ('{"user": "ann", "all": "true"}', "invalid_request"),
    ('{"user": "ann", "all": 1}', "invalid_request"),
    ('{"user": "ann", "all": null}', "invalid_request"),
    ('{"user": "ann", "namespace": null, "all": true}', "empty_target"),
    ('{"user": "ann", "namespace": "{own}", "all": true}', "invalid_request"),
    ('{"namespace": "{own}"}', "invalid_request"),
    ('{"message_ids": ["{m}"], "namespace": "{own}"}', "invalid_request"),
    ('{"user": "ann", "all": true, "message_id": "{m}"}', "invalid_request"),
    ('{"message_ids": ["{m}"], "user": "ann", "user": "bob"}', "invalid_request"),
    ('{"message_ids": ["{m}"], "message_ids": [], "user": "ann"}', "invalid_request"),
    ('{"conversation_id": "{c}", "user": "ann", "user": null}', "invalid_request"),
    ('{"user": "bob", "user": "ann", "all": true}', "invalid_request"),
]


@pytest.fixture(scope="module")
def standing(service: RunningService) -> World:
    """A world of which nothing is ever erased."""
    return World(http=service.http).plant()


def filled(world: World, raw: str) -> str:
    conversation = "first-1"
    values = {"c": conversation, "m": world.kept[world.own, "ann", conversation][0], "own": world.own}
    for name, value in {**values, "other": world.other}.items():
        raw = raw.replace(f"{{{name}}}", value)
    return raw


@pytest.mark.parametrize(("raw", "code"), REFUSED)
def test_erase_unclear_body_is_refused_and_nothing_goes(standing: World, raw: str, code: str) -> None:
    answer = standing.erase(filled(standing, raw))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), answer.text
    assert answer.json()["error"]["message"].endswith(".")
    assert standing.alive() == set(standing.ids())


@pytest.mark.parametrize("query", ["user=ann", "user=", "all=true", "namespace={own}", "message_ids={m}"])
def test_erase_target_in_the_query_is_refused(standing: World, query: str) -> None:
    headers = {"x-namespace": standing.own}
    for body in ({"conversation_id": "first-0"}, {"message_ids": standing.kept[standing.own, None, "first-0"]}):
        answer = standing.http.post(f"{ERASE}?{filled(standing, query)}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert standing.alive() == set(standing.ids())


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_erase_body_that_is_not_declared_json_is_refused(standing: World, content_type: str) -> None:
    headers = {"x-namespace": standing.own, "content-type": content_type}
    answer = standing.http.post(ERASE, content='{"conversation_id": "first-0"}', headers=headers)
    assert answer.status_code == 400
    assert standing.alive() == set(standing.ids())


def test_erase_cut_or_deep_json_is_refused(standing: World) -> None:
    for raw in ('{"user": "ann", "all": true', "[" * 200_000, '{"user": "ann", "all": true} {"user": "bob"}'):
        assert standing.erase(raw).status_code == 400
    assert standing.alive() == set(standing.ids())


# The erase cases of the field report, with inputs of our own.


def test_erase_empty_id_list_beside_a_user_leaves_both_messages(api: Api) -> None:
    api.remember("kitchen", user("The kettle is red."), user="ann")
    api.remember("garden", user("The bench is red."), user="ann")
    answer = api.post(ERASE, {"message_ids": [], "user": "ann"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "empty_target")
    assert {hit["text"] for hit in api.recall("What is red?", user="ann")} == {
        "The kettle is red.",
        "The bench is red.",
    }


def test_erase_empty_id_list_beside_a_namespace_leaves_the_message(api: Api) -> None:
    api.remember("kitchen", user("The kettle is red."))
    answer = api.post(ERASE, {"message_ids": [], "namespace": api.headers["x-namespace"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "empty_target")
    assert [hit["text"] for hit in api.recall("What is red?")] == ["The kettle is red."]


def test_erase_with_unknown_ids_lists_them_and_erases_nothing(api: Api) -> None:
    (known,) = api.remember("keys", user("The spare key hangs behind the clock."), user="ann")
    (others,) = api.remember("letters", user("The letters are in the drawer."), user="bob")
    answer = api.post(ERASE, {"message_ids": [known, "msg_none", others, "msg_nowhere"], "user": "ann"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "message_not_found")
    assert error["message"] == f"There are no messages 'msg_none', '{others}', 'msg_nowhere'."
    assert len(api.recall("Where is the spare key?", user="ann")) == 1
    assert len(api.recall("Where are the letters?", user="bob")) == 1


def test_erase_of_one_conversation_leaves_the_same_words_in_another(api: Api) -> None:
    said = user("The spare key hangs behind the clock.")
    api.remember("a", said, user="ann")
    (kept,) = api.remember("b", said, user="ann")
    assert api.post(ERASE, {"conversation_id": "a", "user": "ann"}).status_code == 200
    assert [hit["message_id"] for hit in api.recall("Where is the spare key?", user="ann")] == [kept]


def test_erase_again_of_several_names_every_receipt(api: Api) -> None:
    first, second, third = api.remember(
        "c", user("The otter sleeps."), user("The heron wakes."), user("The fox waits.")
    )
    receipts = [api.post(ERASE, {"message_ids": [each]}).json()["receipt_id"] for each in (first, second)]
    answer = api.post(ERASE, {"message_ids": [third, first, second]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "erased")
    assert all(each in answer.json()["error"]["message"] for each in receipts)
    assert len(api.recall("What does the fox do?")) == 1
