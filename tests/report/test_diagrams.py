"""A plan as Mermaid, DOT, SVG and JSON."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

from orchestrator.report.diagrams import dot, mermaid, plan_document
from orchestrator.report.forecast import forecast
from orchestrator.report.layout import BETWEEN_BOXES, Layout, lay_out
from orchestrator.report.svg import svg
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.workflow.model import Workflow
from tests.fakes import workflow

SVG = "{http://www.w3.org/2000/svg}"
TOOLS = {
    "s:read": Tool("s", "read", {}, read_only=True, open_world=True),
    "s:write": Tool("s", "write", {}, read_only=False, destructive=False),
    "s:drop": Tool("s", "drop", {}, read_only=False, destructive=True),
    "s:odd": Tool("s", "odd", {}),
}


def marked() -> Workflow:
    return workflow(
        {"id": "a", "tool": "s:read"},
        {"id": "b", "tool": "s:write", "depends_on": ["a"], "for_each": [1, 2, 3]},
        {
            "id": "c",
            "tool": "s:drop",
            "depends_on": ["b"],
            "locks": ["x", {"name": "gpu", "count": 2}],
        },
        {"id": "d", "tool": "s:odd", "depends_on": ["a"], "fallback": {"tool": "s:odd"}},
        {"id": "e", "tool": "s:write", "depends_on": ["d"], "fallback": {"tool": "s:gone"}},
        {"id": "f", "tool": "s:gone", "when": "OUTPUT[a].x"},
        name="marked",
    )


def drawn(plan: Workflow, tools: dict[str, Tool] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(svg(forecast(plan, tools)))


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def laid_out(plan: Workflow) -> Layout:
    widths = dict.fromkeys(plan.plan.tasks, 100.0)
    return lay_out(plan.plan.graph, plan.plan.generations, widths, 40.0)


def test_diagrams_quote_names_for_their_languages() -> None:
    tool = 's:say "<hi>" & \\bye'
    plan = workflow(
        {"id": "a", "tool": tool}, {"id": "b", "tool": tool, "depends_on": ["a"]}, name='the "plan"'
    )
    text = mermaid(forecast(plan))
    assert '["a<br/>s:say #quot;#lt;hi#gt;#quot; #amp; \\bye"]' in text
    assert "    t0 ==> t1" in text
    assert 'subgraph g1["generation 1"]' in text
    assert "classDef" not in text
    text = dot(forecast(plan))
    assert text.startswith('digraph "the \\"plan\\"" {')
    assert r'"a" [label="a\ns:say \"<hi>\" & \\bye", penwidth=3];' in text


def test_mermaid_marks_the_critical_path_effects_and_lists() -> None:
    text = mermaid(forecast(marked(), TOOLS))
    assert '    t1[["b x 3<br/>s:write"]]' in text
    assert "    t0 ==> t1\n" in text
    assert "    t0 --> t3\n" in text
    assert text.endswith("    class t2 destructive\n    class t3 maybe\n    class t0 open")


def test_dot_marks_the_same() -> None:
    text = dot(forecast(marked(), TOOLS))
    assert '"a" [label="a\\ns:read", color="#1f5fbf", penwidth=3];' in text
    assert '"b" [label="b x 3\\ns:write", peripheries=2, penwidth=3];' in text
    assert '"c" [label="c\\ns:drop", fillcolor="#fbdedb", penwidth=3];' in text
    assert '"d" [label="d\\ns:odd", fillcolor="#fbeee6"];' in text
    assert '"a" -> "b" [penwidth=3];' in text
    assert '"a" -> "d";' in text


def test_a_picture_is_valid_xml_for_any_names() -> None:
    tool = 's:<tool> & "quotes" \x07 \ufffe ' + "x" * 60
    plan = workflow(
        {"id": "a", "tool": tool}, {"id": "b", "tool": "s:天気予報" * 9}, name="<name> & ]]>"
    )
    picture = drawn(plan)
    assert texts(picture)[0] == "<name> & ]]>"
    title = next(iter(picture.iter(f"{SVG}g"))).find(f"{SVG}g/{SVG}title")
    assert title is not None
    assert title.text is not None
    assert tool.replace("\x07", "\\u0007").replace("\ufffe", "\\ufffe") in title.text
    assert 's:<tool> & "quotes" \\u0007 ...' in texts(picture)
    assert any(text.endswith("...") and text.startswith("s:天気予報") for text in texts(picture))


def test_a_picture_shows_effects_lists_the_critical_path_and_a_legend_of_these() -> None:
    picture = drawn(marked(), TOOLS)
    assert [text for text in texts(picture) if text[1:2] == "x"] == ["bx 3", "fx 0-1"]
    kinds = [box.get("class") for box in picture.iter(f"{SVG}rect")]
    assert kinds.count("box reads path") == 1
    assert kinds.count("box writes") == 4  # two behind the list, another, and that of the legend
    assert kinds.count("box destroys path") == 1
    edges = [edge.get("class") for edge in picture.iter(f"{SVG}path")]
    assert edges.count("tip path") == 2
    assert edges.count("tip") == 3
    assert texts(picture)[-8:] == [
        "read-only",
        "writes",
        "destructive",
        "possibly destructive",
        "unknown tool",
        "one call per item",
        "open-world",
        "critical path",
    ]
    assert len(list(picture.iter(f"{SVG}circle"))) == 2
    titles = {title.text for title in picture.iter(f"{SVG}title")}
    assert "c\ns:drop\neffects: destructive\ncalls: 1\ndepends on: b\nlocks: x, gpu (2)" in titles
    unknown = texts(drawn(workflow("a")))
    assert unknown[-2:] == ["unknown tool", "critical path"]


def test_a_picture_of_many_tasks_has_boxes_of_one_line() -> None:
    picture = drawn(workflow(*[f"t{number}" for number in range(50)]))
    assert "fake:t1" not in texts(picture)
    assert "t1" in texts(picture)


def test_the_columns_are_the_generations_and_boxes_never_overlap() -> None:
    chance = random.Random(7)
    tasks = [
        f"t{number}: "
        + " ".join({f"t{chance.randrange(number)}" for _ in range(2)} if number else [])
        for number in range(80)
    ]
    plan = workflow(*tasks)
    layout = laid_out(plan)
    lefts = [{layout.boxes[task].x for task in names} for names in plan.plan.generations]
    assert all(len(column) == 1 for column in lefts)
    assert [min(column) for column in lefts] == sorted(min(column) for column in lefts)
    for names in plan.plan.generations:
        tops = sorted(layout.boxes[task].y for task in names)
        assert all(lower - upper >= 40 + BETWEEN_BOXES - 1e-6 for upper, lower in pairwise(tops))
    assert min(box.y for box in layout.boxes.values()) >= 0
    for needed, task, points in layout.edges:
        start, end = layout.boxes[needed], layout.boxes[task]
        assert points[0] == (start.x + start.width, start.middle)
        assert points[-1] == (end.x, end.middle)
        assert len(points) % 2 == 0


def test_edges_that_pass_a_column_go_between_its_boxes() -> None:
    layout = laid_out(workflow("a", "b: a", "c: b", "d: a c"))
    (points,) = (points for needed, task, points in layout.edges if (needed, task) == ("a", "d"))
    assert len(points) == 6
    for name, (_, y) in zip("bc", points[1::2], strict=False):
        box = layout.boxes[name]
        assert not box.y < y < box.y + box.height


def test_crossings_in_the_order_of_the_file_are_removed() -> None:
    layout = laid_out(workflow("a", "b", "c", "x: c", "y: b", "z: a"))
    order = sorted("xyz", key=lambda task: layout.boxes[task].y)
    start = sorted("abc", key=lambda task: layout.boxes[task].y)
    pairs = dict(zip("xyz", "cba", strict=True))
    assert [pairs[task] for task in order] == start


def test_with_very_many_lanes_edges_are_straight(monkeypatch: Any) -> None:
    monkeypatch.setattr("orchestrator.report.layout.MAX_LANES", 0)
    monkeypatch.setattr("orchestrator.report.layout.MAX_SWEPT", 0)
    layout = laid_out(workflow("a", "b: a", "c: a b"))
    assert {len(points) for _, _, points in layout.edges} == {2}


def test_the_document_has_the_whole_forecast() -> None:
    servers = {"s": Server(command="x", rate="1/s")}
    document = plan_document(forecast(marked(), TOOLS, servers, {}, {"a": 0.5}))
    assert document["critical_path"] == {"tasks": ["a", "b", "c"], "length": 2.5, "unit": "s"}
    assert document["calls"] == {"least": 7, "most": 8, "why": "", "ceiling": 10}
    assert document["expected"]["measured_tasks"] == 1
    assert document["starts"] == [{"server": "s", "when": "at once", "generation": 0}]
    assert document["tools"]["s:drop"] == {
        "known": True,
        "read_only": False,
        "destructive": True,
        "idempotent": None,
        "open_world": None,
        "idempotency_argument": None,
        "tasks": ["c"],
    }
    assert document["tools"]["s:gone"]["tasks"] == ["e", "f"]
    assert document["tasks"]["c"] == {
        "description": "",
        "tool": "s:drop",
        "depends_on": ["b"],
        "generation": 2,
        "critical": True,
        "calls": {"least": 1, "most": 1, "why": ""},
        "for_each": False,
        "fallback": None,
        "expected_s": 0.5,
        "cache_s": None,
        "inner": None,
    }
    without = plan_document(forecast(workflow("a")))
    assert without["critical_path"]["unit"] == "tasks"
    assert without["expected"] is None
