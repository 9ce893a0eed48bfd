"""The web page in a real Chromium: chat, search, and the prompt of a reply."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running_service import RunningService

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("demo") / "data", "--demo") as running:
        yield running


@pytest.fixture
def page(demo: RunningService) -> Iterator["playwright.Page"]:
    chromium = shutil.which("chromium")
    if chromium is None:
        assert not os.environ.get("CI"), "Chromium is not installed, and in CI its tests must not be skipped"
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=_FLAGS)
        opened = browser.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on(
            "request", lambda request: faults.append(request.url) if not request.url.startswith(demo.address) else None
        )
        opened.goto(demo.address)
        yield opened
        browser.close()
        assert faults == []


def test_chat_shows_the_reply_and_its_prompt(page: "playwright.Page") -> None:
    page.get_by_test_id("chat-input").fill("When is the launch?")
    page.get_by_test_id("chat-input").press("Enter")
    playwright.expect(page.get_by_test_id("chat-log")).to_contain_text("No model is configured")
    playwright.expect(page.get_by_test_id("prompt-panel")).to_contain_text("recalled")
    playwright.expect(page.get_by_test_id("prompt-panel")).to_contain_text("of 4000 tokens")
    page.get_by_text("The whole prompt").click()
    playwright.expect(page.get_by_test_id("prompt-panel")).to_contain_text("<recalled_memory>")


def test_search_finds_and_opens_the_conversation(page: "playwright.Page") -> None:
    page.get_by_test_id("search-input").fill("Pingaro")
    page.get_by_test_id("search-button").click()
    results = page.get_by_test_id("search-results")
    playwright.expect(results).to_contain_text("Pingaro")
    results.locator(".hit button").first.click()
    playwright.expect(page.locator("#log li.found")).to_contain_text("Pingaro")


def test_nothing_relevant_and_errors_are_said_plainly(page: "playwright.Page") -> None:
    page.get_by_test_id("search-input").fill("qwxyz")
    page.get_by_test_id("search-button").click()
    playwright.expect(page.get_by_test_id("search-results")).to_contain_text("Nothing relevant is remembered.")
    page.get_by_test_id("search-input").fill("   ")
    page.get_by_test_id("search-button").click()
    playwright.expect(page.get_by_test_id("error")).to_have_text("The query is empty.")


def test_what_people_wrote_is_shown_as_text(page: "playwright.Page", demo: RunningService) -> None:
    attack = "<img src=x onerror=\"document.title='broken'\"> zanzibar"
    demo.post("/v1/memory/messages", {"conversation_id": "<b>x", "messages": [{"role": "user", "content": attack}]})
    page.reload()
    playwright.expect(page.get_by_test_id("conversation-list")).to_contain_text("<b>x")
    page.get_by_test_id("search-input").fill("zanzibar")
    page.get_by_test_id("search-button").click()
    playwright.expect(page.get_by_test_id("search-results")).to_contain_text("<img src=x")
    assert page.title() == "memory-engine"


def test_the_routes_page_needs_nothing_from_outside(page: "playwright.Page", demo: RunningService) -> None:
    page.goto(f"{demo.address}/docs")
    playwright.expect(page.get_by_text("/v1/memory/recall").first).to_be_visible()


def test_screenshot(page: "playwright.Page", tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    playwright.expect(page.get_by_test_id("conversation-list")).to_contain_text("launch-week")
    assert page.screenshot(path=tmp_path / "page.png")
