"""Links, the graph and summaries over HTTP, and on the command line."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.conftest import Api, user
from tests.running_service import RunningService, clean_environment, command


def boats(api: Api) -> None:
    api.remember("boat", user("The zeppelin hangar in Friedrichshafen is rented for the regatta."))
    api.remember("hangar", user("Who pays for the hangar in Friedrichshafen and the zeppelin pilot?"))
    api.remember("bread", user("Sourdough needs rye flour and a warm oven."))


def test_a_link_is_added_read_judged_and_walked(api: Api) -> None:
    boats(api)
    made = api.post("/v1/memory/links", {"source": "boat", "target": "bread", "kind": "picnic", "weight": 0.5})
    assert made.status_code == 201
    link = made.json()
    assert (link["source"], link["target"], link["state"], link["made_by"]) == ("boat", "bread", "added", "person")
    listed = api.get("/v1/memory/conversations/boat/links").json()
    assert (listed["object"], listed["data"], listed["first_id"]) == ("list", [link], link["id"])
    assert api.get(f"/v1/memory/links/{link['id']}").json() == link
    path = api.get("/v1/memory/path?source=bread&target=boat").json()
    assert (path["connected"], [step["id"] for step in path["steps"]]) == (True, [link["id"]])
    drawn = api.get("/v1/memory/graph?conversation_id=boat&depth=1").json()
    assert {node["conversation_id"] for node in drawn["nodes"]} == {"boat", "bread"}
    assert [edge["id"] for edge in drawn["edges"]] == [link["id"]]
    assert api.post(f"/v1/memory/links/{link['id']}/confirm", {}).json()["state"] == "confirmed"
    assert api.post(f"/v1/memory/links/{link['id']}/refuse", {}).json()["state"] == "refused"
    assert api.get("/v1/memory/conversations/boat/links").json()["data"] == []
    assert api.get("/v1/memory/path?source=bread&target=boat").json()["connected"] is False


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/memory/conversations/none/links", 404),
        ("GET", "/v1/memory/conversations/none/summaries", 404),
        ("GET", "/v1/memory/links/link_none", 404),
        ("POST", "/v1/memory/links/link_none/confirm", 404),
        ("POST", "/v1/memory/links/link_none/refuse", 404),
        ("GET", "/v1/memory/path?source=boat&target=none", 404),
        ("GET", "/v1/memory/path?source=boat", 400),
        ("GET", "/v1/memory/graph?conversation_id=none", 404),
        ("GET", "/v1/memory/graph?conversation_id=boat&depth=9", 400),
        ("GET", "/v1/memory/graph?conversation_id=boat&depth=x", 400),
    ],
)
def test_what_is_not_there_or_wrong_is_told(api: Api, method: str, path: str, status: int) -> None:
    boats(api)
    assert api.request(method, path).status_code == status


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("demo") / "data", "--demo") as running:
        yield running


def test_the_command_shows_links_and_paths(demo: RunningService) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        arguments = command(*args, "--data-dir", str(demo.data_dir))
        return subprocess.run(
            arguments, env=clean_environment(COLUMNS="200"), capture_output=True, text=True, timeout=60, check=False
        )

    body = {"source": "sms-gateway", "target": "welcome-aboard", "kind": "mine", "weight": 1.0}
    assert demo.post("/v1/memory/links", body).status_code == 201
    shown = run("links", "show", "sms-gateway")
    assert shown.returncode == 0, shown.stderr
    assert "sms-gateway – welcome-aboard  mine" in shown.stdout
    assert "mine" in run("links", "show", "sms-gateway", "--to", "welcome-aboard").stdout
    missing = run("links", "show", "none")
    assert (missing.returncode, missing.stderr) == (2, "memory-engine: There is no conversation 'none'.\n")


def test_stats_count_the_strata(api: Api, tmp_path: Path) -> None:
    boats(api)
    api.post("/v1/memory/links", {"source": "boat", "target": "bread"})
    stats = api.get("/v1/memory/stats").json()
    assert stats["links"] == 1
    assert set(stats) == {"conversations", "messages", "embeddings", "summaries", "links", "patterns", "bytes"}
