"""The workflows that the user's pages show are right and do what the pages say."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters

from mock_servers import keyvalue, news, numbers, weather
from mock_servers import text as texts
from orchestrator import Orchestrator, RunResult, Workflow
from orchestrator.cli.arguments import build_parser

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("getting-started.md", "patterns.md", "migrating.md")


def shown(page: str) -> list[dict[str, Any]]:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [document for document in map(json.loads, blocks) if "tasks" in document]


def orchestrator() -> Orchestrator:
    modules = (weather, news, numbers, texts)
    servers = {module.server.name: module.server for module in modules}
    library = StdioServerParameters(command=sys.executable, args=["-m", "mock_servers.library"])
    return Orchestrator({**servers, "keyvalue": keyvalue.make_server(), "library": library})


async def run(page: str, name: str) -> RunResult:
    (workflow,) = (each for each in shown(page) if each.get("name") == name)
    with anyio.fail_after(60):
        async with orchestrator() as running:
            return await running.run(workflow)


@pytest.mark.anyio
@pytest.mark.parametrize("page", PAGES)
async def test_every_workflow_of_a_page_passes_the_check_without_a_warning(page: str) -> None:
    workflows = shown(page)
    assert workflows
    with anyio.fail_after(60):
        async with orchestrator() as checking:
            for workflow in workflows:
                found = await checking.findings(Workflow.load(workflow))
                assert [problem for problem in found if problem.severity != "note"] == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "task", "output"),
    [
        ("poll", "wait", {"key": "job", "value": "done"}),
        ("pages", "all", [1, 2, 3]),
        ("product", "report", {"searches": 4, "left_out": 1}),
        (
            "each-item",
            "report",
            {"weather": ["overcast", "unknown (tool_error)"], "missing": ["Atlantis"]},
        ),
        ("first-that-works", "found", None),
        ("directory", "files", ["a.md", "b.md"]),
        ("fan-out", "", None),
        ("steps-for-each", "city", None),
        ("diamond", "", None),
        ("one-at-a-time", "", None),
    ],
)
async def test_a_pattern_succeeds(name: str, task: str, output: Any) -> None:
    result = await run("patterns.md", name)
    assert result.status == "success"
    if output is not None:
        assert result[task].output == output


@pytest.mark.anyio
async def test_the_first_source_that_works_is_used() -> None:
    result = await run("patterns.md", "first-that-works")
    assert result.output["city"] == "Oslo"
    assert (result["best"].recovered, result["last"].attempts) == (True, 1)


@pytest.mark.anyio
async def test_the_cleanup_of_a_pipeline_runs_after_a_failure() -> None:
    result = await run("patterns.md", "pipeline-with-cleanup")
    statuses = {task: settled.status for task, settled in result.tasks.items()}
    assert statuses == {
        "reserve": "success",
        "work": "error",
        "publish": "skipped",
        "release": "success",
    }


@pytest.mark.anyio
async def test_a_partial_failure_is_reported_with_what_there_is() -> None:
    result = await run("patterns.md", "partial-failure")
    assert (result.status, result["report"].status) == ("partial", "success")
    assert result["report"].output.endswith("Atlantis: unknown")


@pytest.mark.anyio
async def test_resources_are_read_for_each_item() -> None:
    result = await run("patterns.md", "resources")
    assert result.status == "success"
    assert result.output == {"years": [1815, 1922], "ask": "Review Emma in a friendly tone."}


@pytest.mark.anyio
async def test_links_are_followed_where_the_workflow_says_so() -> None:
    result = await run("patterns.md", "links")
    assert result.status == "success"
    assert result.output == [{"title": "Ulysses", "year": 1922}]


@pytest.mark.anyio
async def test_json_text_is_parsed_where_it_is_read() -> None:
    result = await run("patterns.md", "json-text")
    assert result.status == "success"
    assert [word["word"] for word in result["keywords"].output] == ["trains", "oslo"]
    assert len(result["news"].output) == len(result["weather"].output) == 2


@pytest.mark.anyio
async def test_two_lists_are_paired_by_functions() -> None:
    result = await run("patterns.md", "pairs")
    assert result.status == "success"
    assert len(result["each_with_each"].output) == 6
    assert [stored["key"] for stored in result["item_by_item"].output] == ["Paris", "Oslo"]


@pytest.mark.anyio
async def test_text_is_cut_and_put_together_by_functions() -> None:
    result = await run("patterns.md", "text-with-functions")
    assert result.status == "success"
    first, *lines = result.output["report"].splitlines()
    assert first == f"As of {result.started_at[:10]}:"
    assert [line.split()[:2] for line in lines] == [["1", "PARIS"], ["2", "OSLO"], ["3", "ROME"]]
    assert isinstance(result.output["average"], float)


def test_every_option_that_a_page_names_exists() -> None:
    commands = build_parser()._subparsers
    assert commands is not None
    choices = commands._group_actions[0].choices
    assert choices is not None
    options = {
        option
        for parser in dict(choices).values()
        for action in parser._actions
        for option in action.option_strings
    }
    for page in DOCS.glob("*.md"):
        for line in re.findall(
            r"orchestrator (?:run|validate|plan|lock)\b[^`\n]*", page.read_text()
        ):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line))
            assert named <= options, f"{page.name}: {line}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in (*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")):
        for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
            if "://" not in link:
                target = page.parent / link if link else page
                assert target.exists(), f"{page.name}: {link}"
                if anchor:
                    assert anchor in anchors(target), f"{page.name}: {link}#{anchor}"
