"""The web page in a real Chromium: chat, search, the prompt of a reply, and the policy that the page is under."""

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

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


#: What breaks the page's policy, as the page itself sees it.
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""
#: Ids, names and texts that are markup, script, names of the page's elements or of JavaScript's own.
_HOSTILE = [
    "<img src=x onerror=document.title='broken'>",
    "<script>document.title='broken'</script>",
    "<svg onload=document.title='broken'>",
    "<style>body{display:none}</style>",
    "</li></ol><iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "javascript:document.title='broken'",
    "\" onclick=document.title='broken' x=\"",
    "${document.title='broken'}", "{{constructor.constructor('document.title=1')()}}",
    "message", "error", "prompt", "log", "conversation", "conversations", "results", "query", "say", "search",
    "status", "banner", "agent", "__proto__", "constructor", "toString", "body", "title", "location",
    "../../docs", "a b", "%2e%2e",
]  # fmt: skip


@pytest.fixture
def page(demo: RunningService) -> Iterator["playwright.Page"]:
    chromium = shutil.which("chromium")
    if chromium is None:
        assert not os.environ.get("CI"), "Chromium is not installed, and in CI its tests must not be skipped"
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=_FLAGS)
        opened = browser.new_page()
        opened.faults = faults = list[str]()
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if "Security Policy" in said.text else None)
        opened.add_init_script(_LISTEN)
        opened.on(
            "request", lambda request: faults.append(request.url) if not request.url.startswith(demo.address) else None
        )
        opened.goto(demo.address)
        yield opened
        assert opened.evaluate("window.violations") == []
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
    page.locator("#operations-memory-recall_v1_memory_recall_post").locator("button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.locator(".body-param__text").fill('{"query": "launch", "k": 1}')
    page.get_by_role("button", name="Execute").click()
    playwright.expect(page.locator(".live-responses-table")).to_contain_text("conversation_id")


def test_ids_and_names_that_are_markup_or_element_names_stay_text(
    page: "playwright.Page", demo: RunningService
) -> None:
    for number, text in enumerate(_HOSTILE):
        said = {"role": "user", "content": f"quokka {text}", "name": text, "id": text}
        body = {"conversation_id": text, "messages": [said]}
        assert demo.post("/v1/memory/messages", body).status_code == 201, (number, text)
    page.reload()
    elements = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id).sort()")
    names = page.get_by_test_id("conversation-list").locator("button")
    for text in _HOSTILE:
        opener = names.filter(has=page.locator("span", has_text=text)).filter(has_text=text)
        opener.first.click()
        playwright.expect(page.get_by_test_id("chat-log")).to_contain_text("quokka")
    page.get_by_test_id("search-input").fill("quokka message")
    page.get_by_test_id("search-button").click()
    results = page.get_by_test_id("search-results")
    hits = results.locator(".hit").filter(has_text="quokka")
    playwright.expect(hits.first).to_be_visible()
    for hit in hits.all():
        hit.locator("button").click()
        playwright.expect(page.locator("#log li.found")).to_contain_text("quokka")
    assert page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id).sort()") == elements
    page.locator("#conversation").fill("__proto__")
    page.get_by_test_id("chat-input").fill("What is a quokka? <script>document.title='broken'</script>")
    page.get_by_test_id("chat-send").click()
    playwright.expect(page.get_by_test_id("prompt-panel")).to_contain_text("of 4000 tokens")
    playwright.expect(page.get_by_test_id("error")).to_be_hidden()
    assert page.title() == "memory-engine"
    assert page.locator("iframe, svg, img").count() == 0


def test_the_policy_stops_an_inline_script(page: "playwright.Page") -> None:
    stopped = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'broken'";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<b onclick=document.title='broken' style=color:red>x</b>");
            document.body.lastElementChild.click();
            return new Promise((resolve) => setTimeout(() => resolve(window.violations.splice(0)), 100));
        }"""
    )
    assert {"script-src-elem", "script-src-attr", "style-src-attr"} <= set(stopped)
    assert page.title() == "memory-engine"
    page.faults.clear()


@pytest.mark.parametrize("tag", ["iframe src", "object data", "embed src"])
def test_a_page_of_another_site_shows_no_page_of_ours(page: "playwright.Page", demo: RunningService, tag: str) -> None:
    framing = f"<!DOCTYPE html><{tag}='{demo.address}/'></{tag.split()[0]}>".encode()

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(framing)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with page.expect_response(lambda answer: answer.url == f"{demo.address}/") as answered:
            page.goto(f"http://localhost:{server.server_port}/")
        server.shutdown()
    assert answered.value.status == 403
    assert urlsplit(page.url).hostname == "localhost"
    page.faults.clear()


@pytest.mark.parametrize(("is_past", "when"), [(True, "was switched off"), (False, "is switched off")])
def test_a_switch_off_date_is_shown_in_the_banner(page: "playwright.Page", is_past: bool, when: str) -> None:
    ending = {"model": "<b>old</b>", "date": "2026-12-11", "is_past": is_past, "replacement": "new"}
    parts = {"model": {"status": "ok", "detail": "", "switch_offs": [ending]}}
    page.route("**/ready", lambda route: route.fulfill(json={"status": "ok", "parts": parts}))
    page.reload()
    shown = f"The model <b>old</b> {when} on 2026-12-11; new replaces it."
    playwright.expect(page.locator("#banner")).to_have_text(shown)


def test_screenshot(page: "playwright.Page", tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    playwright.expect(page.get_by_test_id("conversation-list")).to_contain_text("launch-week")
    assert page.screenshot(path=tmp_path / "page.png")
