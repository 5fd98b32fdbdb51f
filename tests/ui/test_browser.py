"""The page in a real browser: every view and action, by mouse and by keyboard."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mock_servers import text as texts
from orchestrator import Orchestrator, Question
from orchestrator.journal import history
from orchestrator.ui.actions import Actions
from orchestrator.ui.app import Page
from orchestrator.ui.guard import Keys
from orchestrator.ui.server import PageServer, listen
from orchestrator.ui.servers import Configured, Servers

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.untraced
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
FLOW: dict[str, Any] = {
    "name": "brief",
    "description": EVIL,
    "inputs": {"word": {"type": "string", "default": EVIL}},
    "tasks": [
        {"id": "begin", "tool": "text:title", "arguments": {"text": "$INPUT.word"}},
        {"id": "each", "for_each": [1, 2, 3], "value": {"n": "$ITEM", "of": "$OUTPUT[begin]"}},
        {"id": "wrong", "value": "$OUTPUT[each][7]"},
        {"id": "after", "value": "$OUTPUT[wrong]"},
        {
            "id": "asked",
            "ask": {
                "message": f"How many? {EVIL}",
                "schema": {
                    "type": "object",
                    "properties": {"count": {"type": "integer"}, "why": {"type": "string"}},
                    "required": ["count"],
                },
            },
        },
        {"id": "end", "value": "$OUTPUT[asked].count"},
    ],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    playwright.expect.set_options(timeout=30_000)  # the machine may be busy
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@dataclass
class Shown:
    """The page in a tab of a browser.

    Attributes:
        said: What the console of the browser said.
    """

    tab: Tab
    keys: Keys
    journal: Path
    portal: BlockingPortal
    said: list[str] = field(default_factory=list)

    def ran(self, flow: dict[str, Any] = FLOW, answer: Any = None) -> str:
        """Run a workflow, whose questions get this answer; None: they stay open. Its id."""
        run: str = self.portal.call(partial(_ran, self.journal, flow, answer))
        return run

    def open(self, where: str = "") -> None:
        self.tab.goto(f"http://127.0.0.1:{self.keys.port}/#/{where}")

    def node(self, name: str) -> Any:
        return self.tab.locator(f"svg.graph g.node[aria-label^='{name}:']")

    def status(self, status: str) -> None:
        """Wait until the run that is shown has this status."""
        playwright.expect(self.tab.locator(".title .chip")).to_have_text(status)

    def last(self) -> history.KnownRun:
        return history.find(self.journal, "last")


async def _ran(journal: Path, flow: dict[str, Any], answer: Any) -> str:
    def reply(_: Question) -> Any:
        return answer

    servers = {"text": texts.server}
    async with Orchestrator(servers, journal=journal, answer=reply) as orchestrator:
        return (await orchestrator.run(flow)).run_id


@contextmanager
def serving(journal: Path, portal: BlockingPortal) -> Iterator[Keys]:
    """Serve the page of a journal in the thread of a portal."""

    def make() -> PageServer:
        actions = Actions(journal, lambda _: Orchestrator(servers, journal=journal))
        return PageServer(Page(journal, actions, told), keys)

    servers, listening = {"text": texts.server}, listen(0)
    keys = Keys(listening.getsockname()[1])
    told = Servers(journal, lambda: Configured({}))
    server, ready = portal.call(make), threading.Event()
    task = portal.start_task_soon(server.run, listening, ready.set)
    ready.wait(10)
    yield keys
    portal.call(server.end)
    task.result(15)
    listening.close()


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Shown]:
    journal = tmp_path / "runs.db"
    with start_blocking_portal() as portal, serving(journal, portal) as keys:
        context = browser.new_context(viewport={"width": 1300, "height": 800})
        context.set_default_timeout(30_000)
        tab = context.new_page()
        page = Shown(tab, keys, journal, portal)
        tab.on("console", lambda message: page.said.append(message.text))
        tab.on("pageerror", lambda error: page.said.append(str(error)))
        tab.on("dialog", lambda dialog: page.said.append(dialog.message))
        tab.goto(keys.link)
        assert "token" not in tab.url
        yield page
        context.close()
    assert page.said == []


def test_every_view_shows_a_run_and_what_others_wrote_is_text(shown: Shown) -> None:
    run = shown.ran(answer={"count": 2})
    tab, expect = shown.tab, playwright.expect
    tab.get_by_role("listitem").filter(has_text="brief").click()
    shown.status("partial")
    assert run in tab.url
    expect(tab.locator(".run-head p.soft")).to_have_text(EVIL)
    expect(tab.locator("svg.graph g.node")).to_have_count(6)
    assert shown.node("wrong").get_attribute("data-state") == "error"
    shown.node("begin").click()
    panel = tab.locator("aside.task")
    expect(panel.locator("[data-part=arguments] .string")).to_have_text(EVIL)
    expect(panel.get_by_text("text:title").first).to_be_visible()
    tab.get_by_role("tab", name="Timeline").click()
    expect(tab.locator(".timeline .row")).to_have_count(6)
    expect(tab.locator(".timeline .row.selected")).to_contain_text("begin")
    tab.get_by_role("tab", name="Table").click()
    tab.get_by_label("Items of each").click()
    expect(tab.locator(".table .row")).to_have_count(9)
    tab.locator(".table .row").filter(has_text="[1]").click()
    expect(panel.locator("h2")).to_have_text("each[1]")
    expect(panel.locator("[data-part=output] .number")).to_have_text("2")
    tab.get_by_role("columnheader", name="State").click()
    tab.locator(".filter.error").click()
    expect(tab.locator(".table .row")).to_have_count(1)
    tab.locator(".filter.error").click()
    tab.get_by_label("Search tasks").fill("text:")
    expect(tab.locator(".table .row")).to_have_count(1)
    tab.locator("#top").get_by_role("link", name="Servers").click()
    expect(tab.locator("details[data-server=text]")).to_contain_text("1 call")


HIDDEN = "{configurable: true, value: %s}"


def test_a_question_is_answered_and_the_run_goes_on(shown: Shown) -> None:
    run = shown.ran()
    tab, expect = shown.tab, playwright.expect
    shown.open(f"run/{run}")
    shown.status("paused")
    form = tab.locator(".questions form.question")
    expect(form.locator(".message")).to_have_text(f"How many? {EVIL}")
    form.get_by_label("count").fill("many")
    form.get_by_role("button", name="Answer").click()
    expect(form.get_by_role("alert")).to_contain_text("expected a number")
    form.get_by_label("count").fill("7")
    with tab.expect_response(lambda each: run in each.url and "/events" not in each.url):
        for hidden in ("true", "false"):  # the tab is left, and news are loaded when it is back
            tab.evaluate(f"Object.defineProperty(document, 'hidden', {HIDDEN % hidden})")
            tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(form.get_by_label("count")).to_be_focused()
    expect(form.get_by_label("count")).to_have_value("7")
    form.get_by_role("button", name="Answer").click()
    shown.status("partial")
    expect(form).to_have_count(0)
    expect(shown.node("end")).to_have_attribute("data-state", "success")
    shown.node("end").click()
    expect(tab.locator("aside.task [data-part=output]")).to_contain_text("7")


def test_runs_are_cancelled_retried_and_forked_by_keyboard_alone(shown: Shown) -> None:
    run = shown.ran()
    tab, expect = shown.tab, playwright.expect
    expect(tab.locator("a.run")).to_have_count(1)
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    shown.status("paused")
    tab.keyboard.press("c")
    expect(tab.locator("dialog")).to_contain_text("Cancel this run?")
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog")).to_have_count(0)
    tab.keyboard.press("c")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    shown.status("cancelled")
    assert history.find(shown.journal, run).status == "cancelled"
    tab.keyboard.press("f")
    field = tab.locator("dialog").get_by_label("word")
    field.fill("another word")
    field.press("Enter")
    shown.status("paused")
    forked = shown.last()
    assert (forked.kind, forked.origin) == ("fork", run)
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    expect(tab.locator("aside.task [data-part=arguments] .string")).to_have_text("another word")
    tab.keyboard.press("3")
    expect(tab.get_by_role("tab", name="Table")).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("Escape")
    expect(tab.locator("aside.task")).to_be_hidden()
    tab.keyboard.press("a")
    tab.keyboard.type("3")
    tab.keyboard.press("Enter")
    shown.status("partial")
    tab.keyboard.press("r")
    tab.locator("dialog").get_by_role("button", name="Retry").press("Enter")
    expect(tab.locator(".about")).to_contain_text("retry of")
    shown.status("partial")
    tab.keyboard.press("g")
    expect(tab.locator("a.run")).to_have_count(3)
    tab.keyboard.press("/")
    tab.keyboard.type("nothing")
    expect(tab.locator(".nothing")).to_have_text("No run fits.")
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    expect(tab.locator("dialog")).to_contain_text("graph, timeline, table")


def test_a_run_of_1000_tasks_is_watched_as_it_goes_on(shown: Shown) -> None:
    call = {"tool": "text:title", "arguments": {"text": "a"}, "depends_on": ["gate"]}
    tasks: list[dict[str, Any]] = [{"id": "gate", "ask": {"message": "Go?"}}]
    tasks += [{"id": f"t{number}", **call} for number in range(1000)]
    run = shown.ran({"name": "many", "tasks": tasks})
    tab, expect = shown.tab, playwright.expect
    shown.open(f"run/{run}/table")
    expect(tab.locator(".filter.pending")).to_have_text("1,000 pending")
    assert tab.locator(".table .row").count() < 100
    tab.get_by_role("button", name="Yes").click()
    expect(tab.locator(".filter.success")).to_have_text("1,001 success")
    shown.status("success")
    tab.keyboard.press("1")
    expect(tab.locator("svg.graph g.node")).to_have_count(2)  # folded
    tab.get_by_role("button", name="Fold").click()
    expect(tab.locator("svg.graph g.node")).to_have_count(1001)


def test_a_run_of_10000_tasks_has_few_elements_in_every_view(shown: Shown) -> None:
    tasks: list[dict[str, Any]] = [{"id": "first", "value": 1}]
    tasks += [{"id": f"t{n}", "value": n, "depends_on": ["first"]} for n in range(9_997)]
    wrong = [{"id": f"wrong{n}", "value": "$OUTPUT[first].x"} for n in range(2)]
    run = shown.ran({"name": "large", "tasks": tasks + wrong})
    tab, expect = shown.tab, playwright.expect
    shown.open(f"run/{run}")
    expect(tab.locator(".filter.success")).to_have_text("9,998 success")
    expect(tab.locator("svg.graph g.node")).to_have_count(2)  # folded by what they do
    expect(tab.locator(".run-head .failure a")).to_have_text("wrong0")
    for key, rows in (("2", ".timeline .row"), ("3", ".table .row")):
        tab.keyboard.press(key)
        expect(tab.locator(rows).first).to_be_visible()
        tab.keyboard.press("End")
        expect(tab.locator(rows).last).to_contain_text("wrong1")
        tab.locator(".filter.error").click()
        expect(tab.locator(rows)).to_have_count(2)
        tab.locator(".filter.error").click()
        expect(tab.locator(rows).nth(5)).to_be_visible()
        assert tab.locator("*").count() < 1500


def test_more_tabs_than_a_browser_makes_connections_are_told_and_can_act(shown: Shown) -> None:
    run = shown.ran()
    expect = playwright.expect
    tabs = [shown.tab.context.new_page() for _ in range(6)]
    for tab in tabs:
        tab.goto(f"http://127.0.0.1:{shown.keys.port}/#/run/{run}")
        expect(tab.locator(".title .chip")).to_have_text("paused")
    tabs[-1].get_by_role("button", name="Cancel").click()
    tabs[-1].get_by_role("button", name="Cancel the run").click()
    for tab in tabs:
        expect(tab.locator(".title .chip")).to_have_text("cancelled")


def test_what_cannot_be_seen_is_shown_in_what_a_person_approves(shown: Shown) -> None:
    said, seen = "Delete /tmp/\u202egnp.exe\x00\u200b?", "Delete /tmp/\\u202egnp.exe\\u0000\\u200b?"
    call = {"tool": "text:title", "arguments": {"text": said}, "approve": True}
    asks = {"message": said, "schema": {"type": "integer", "minimum": 2, "title": said}}
    run = shown.ran({"name": "spoof", "tasks": [{"id": "a", **call}, {"id": "b", "ask": asks}]})
    tab, expect = shown.tab, playwright.expect
    shown.open(f"run/{run}?task=a")
    expect(tab.locator("form[data-question=b] .message")).to_have_text(seen)
    expect(tab.locator(".questions form[data-question=a] pre")).to_contain_text(seen)
    assert said not in tab.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_narrow_screen(shown: Shown, scheme: Any) -> None:
    run = shown.ran()
    shown.tab.emulate_media(color_scheme=scheme)
    shown.tab.set_viewport_size({"width": 360, "height": 700})
    for where in ("", f"run/{run}/graph", f"run/{run}/timeline", f"run/{run}/table?task=begin"):
        shown.open(where)
        shown.tab.locator("a.run, .row, g.node, aside.task h2").first.wait_for()
        widths = shown.tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], where
    paper = "getComputedStyle(document.getElementById('top')).backgroundColor"
    assert (shown.tab.evaluate(paper) == "rgb(255, 255, 255)") is (scheme == "light")


# What a page can try: to read, to ask without reading, to write, and to show it in a frame.
TRY = """async ([base, run]) => {
    const ask = (path, options) => fetch(base + path, { credentials: "include", ...options }).then(
        (answer) => `${answer.type} ${answer.status}`, () => "refused");
    const frame = document.createElement("iframe");
    frame.src = base + "/";
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
    let inside = "unreadable";
    try { inside = frame.contentDocument?.title ?? "unreadable"; } catch {}
    const write = { method: "POST", mode: "no-cors", body: "{}" };
    return [
        await ask("/api/runs"),
        await ask("/api/runs", { mode: "no-cors" }),
        await ask(`/api/runs/${run}/cancel`, write),
        inside,
    ];
}"""


class _Elsewhere(BaseHTTPRequestHandler):
    """A page on another port of this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><p>elsewhere")

    def log_message(self, *_: Any) -> None: ...


def test_a_page_on_another_port_can_neither_read_nor_write(shown: Shown) -> None:
    run = shown.ran()
    elsewhere = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    thread = threading.Thread(target=elsewhere.serve_forever)
    thread.start()
    try:
        shown.tab.goto(f"http://127.0.0.1:{elsewhere.server_address[1]}/")
        base = f"http://127.0.0.1:{shown.keys.port}"
        tried = shown.tab.evaluate(
            TRY,
            [base, run],
        )
    finally:
        elsewhere.shutdown()
        thread.join()
        elsewhere.server_close()
    assert tried == ["refused", "refused", "refused", "unreadable"]
    assert history.find(shown.journal, run).status == "paused"
    shown.said.clear()  # the browser says what it has refused
