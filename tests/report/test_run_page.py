"""The report of a run as one file: what others wrote is text, and nothing is loaded."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import anyio
import pytest

from orchestrator.engine.outcome import Failure
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import TaskError
from orchestrator.recordings.clock import INSTANT
from orchestrator.report import run_page, run_pictures
from orchestrator.report.run_history import RunHistory
from orchestrator.report.run_page import page
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing, workflow

EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \u2028\u2029\u202e\"'&"
VOID = {"meta", "link", "br"}
VISIBLE = ("\\u2028", "\\u2029", "\\u202e")


class Reader(HTMLParser):
    """Counts the tags, notes their attributes, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.said = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def history(plan: Workflow, caller: ScriptedCaller, **inputs: Any) -> RunHistory:
    async def executed() -> RunHistory:
        run = Run(plan, caller, RunSettings(run_id="run-1"), inputs=inputs)
        return RunHistory(await run.execute(), plan, run.inputs)

    return anyio.run(executed, **INSTANT)  # else a slow machine adds waits


def plan_of(word: str) -> Workflow:
    tasks = [
        {"id": "a", "tool": "fake:a", "arguments": {"said": word}},
        {"id": "b", "tool": "fake:b", "arguments": {"of": "$OUTPUT[a].said"}},
        {"id": "c", "tool": "fake:c", "depends_on": ["b"]},
        {"id": "d", "tool": "fake:d", "when": "`false`"},
    ]
    inputs = {"given": {"type": "string"}}
    return Workflow.load({"name": word, "description": word, "inputs": inputs, "tasks": tasks})


def read(word: str) -> tuple[Reader, str]:
    caller = ScriptedCaller({"b": [(0, failing(word))]})
    found = history(plan_of(word), caller, given=word)
    failure = found.result.tasks["b"]
    error = TaskError("tool_error", word, retryable=False, details={"words": word})
    tasks = {**found.result.tasks, "b": _with(failure, Failure(error))}
    text = page(RunHistory(_with(found.result, tasks), found.workflow, found.inputs))
    return Reader(text), text


def _with(whole: Any, part: Any) -> Any:
    from dataclasses import replace

    return replace(whole, **{"tasks" if isinstance(part, dict) else "outcome": part})


def test_what_others_wrote_adds_no_tag_no_attribute_and_no_comment() -> None:
    (plain, _), (evil, text) = read("word"), read(EVIL)
    assert evil.tags == plain.tags
    assert evil.open == evil.comments == []
    assert evil.attributes.keys() == plain.attributes.keys()
    assert "alert(1)</script>" not in text
    assert "script" not in evil.tags
    assert not any(letter in text for letter in "\u2028\u2029\u202e")
    assert all(shown in evil.said for shown in VISIBLE)


def test_the_file_loads_nothing_and_brings_its_own_policy() -> None:
    reader, text = read("word")
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    digest = b64encode(sha256(style[0].encode()).digest()).decode()
    policy = reader.attributes["content"][0]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert not {"src", "style", "onclick", "action"} & reader.attributes.keys()
    assert reader.attributes["href"] == ["data:,"]
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_failed_run_says_what_to_send_to_a_colleague() -> None:
    said = re.sub(r"\s+", " ", read("it broke")[0].said)
    assert 'Task "b" (fake:b) failed first' in said
    assert "Skipped because of it: c." in said
    assert "it broke" in said
    assert 'It was called with:{ "of": "it broke" }' in said
    assert "orchestrator retry run-1" in said
    assert "its condition is false" in said
    found = history(workflow("a"), ScriptedCaller({"a": [(0, failing())]}))
    assert "orchestrator retry" not in page(found, kept=False)
    limited = workflow("a", on_error="fail_fast")
    assert "The run ended early" in page(history(limited, ScriptedCaller({"a": [(0, failing())]})))


@pytest.mark.parametrize("kept", [True, False])
def test_a_paused_run_says_what_it_waits_for_and_who_goes_on(*, kept: bool) -> None:
    asks: list[dict[str, Any]] = [
        {"id": "b", "ask": {"message": EVIL}},
        {"id": "c", "tool": "fake:t", "for_each": [1, 2], "approve": True},
    ]
    plan = workflow("a", *asks)

    async def execute() -> Any:
        caller = ScriptedCaller({"a": [(0.0, failing())]})
        return await Run(plan, caller, RunSettings(run_id="r7")).execute()

    result = anyio.run(execute, **INSTANT)
    assert result.status == "paused"
    said = Reader(page(RunHistory(result, plan, {}), kept=kept)).said
    assert "What it waits for" in said
    assert all(character in said for character in VISIBLE)
    commands = ["answer r7 b VALUE", "answer r7 c --item 1 yes", "orchestrator resume r7"]
    assert [command in said for command in commands] == [kept] * 3
    submitted = Reader(page(RunHistory(result, plan, {}), kept=kept, by_worker=True)).said
    assert ("Then a worker goes on with it." in submitted) == kept
    assert "orchestrator resume" not in submitted
    assert "orchestrator retry" not in said


def test_a_large_run_stays_a_small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(60)]
    found = history(workflow(*names), ScriptedCaller({name: [(0, "x" * 900)] for name in names}))
    for name, value in (("MAX_VALUE", 500), ("MAX_VALUES", 10_000)):
        monkeypatch.setattr(run_page, name, value)
    text = page(found)
    assert "x" * 501 not in text
    assert text.count("(left out)") == 41
    monkeypatch.setattr(run_pictures, "MAX_DRAWN", 59)
    monkeypatch.setattr(run_pictures, "MAX_ROWS", 50)
    text = page(found)
    assert 'class="graph"' not in text
    assert text.count('class="bar') == 50


def test_a_run_in_which_nothing_began_has_a_page() -> None:
    found = history(workflow({"id": "a", "tool": "fake:a", "when": "`false`"}), ScriptedCaller())
    reader = Reader(page(found))
    assert reader.open == []
    assert "Timeline" not in reader.said
    assert "1 skipped" in reader.said


def test_edges_of_a_kind_are_one_element_and_their_tips() -> None:
    plan = workflow("a", "b: a", "c: a", "d: b", schedule="dataflow")
    found = history(plan, ScriptedCaller({"b": [(0.05, 1)], "d": [(0.05, 1)]}))
    picture = run_pictures.graph(found)
    assert found.path == ["a", "b", "d"]
    edges = re.findall(r'<path class="([a-z ]+)" d="([^"]+)"', picture)
    assert [(kind, line.count("M")) for kind, line in edges] == [
        ("edge", 1),
        ("tip", 1),
        ("edge path", 2),
        ("tip path", 2),
    ]


def test_long_names_are_cut_in_pictures_and_whole_in_their_titles() -> None:
    name = "a-long-name." * 10
    found = history(workflow({"id": name, "tool": "fake:a"}), ScriptedCaller())
    picture = run_pictures.graph(found)
    assert f"<title>{name}\n" in picture
    assert "..." in picture
