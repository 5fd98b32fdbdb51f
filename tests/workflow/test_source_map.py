"""The line and column of a problem in its file, in JSON and in YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.documents import positions as spans
from orchestrator.documents.pointer import pointer, replace_op, steps
from orchestrator.documents.positions import LineIndex, Span, json_tree, lookup, within, yaml_tree
from orchestrator.errors import Code, Problem, WorkflowError
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import with_written_names, written
from orchestrator.workflow.source_map import LineSpan, Source, located

JSON = """{
  "tasks": [
    {"id": "a", "tool": "s:t", "args": {"x/y~": [1, {"é": "one $OUTPUT[b].n"}], "天気": null}},
    {
      "id": "b",\t"tool": "s:t", "argumets": {}
    }
  ]
}
"""
YAML = """\
# a plan
tasks:
  - id: a
    tool: s:t
    args:
      "x/y~": [1, {é: 'one $OUTPUT[b].n'}]
      text: |
        first
        then $OUTPUT[b].n
      天気:
  - {id: b, tool: 's:t'}
again: &it {deep: [1]}
more: *it
"""


def place(
    text: str, path: str, code: Code = "wrong_value", piece: str = "", *, yaml: bool = False
) -> tuple[int, int, str]:
    """The line and column of a problem there, and what is underlined."""
    source = Source(text, yaml_tree if yaml else json_tree)
    found = source.place(Problem(code, "", path, text=piece))
    assert found is not None
    start = found.column - 1
    return found.line, found.column, source.line(found.line)[start : start + found.length]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tasks/0/tool", (3, 25, '"s:t"')),
        ("/tasks/0/args/x~1y~0/0", (3, 50, "1")),
        ("/tasks/0/args/x~1y~0/1/é", (3, 59, '"one $OUTPUT[b].n"')),
        ("/tasks/0/args/天気", (3, 87, "null")),
        ("/tasks/0", (3, 12, '"a"')),  # a task as a whole is shown at its id
        ("/tasks/1", (5, 13, '"b"')),
        ("/tasks/1/tool", (5, 26, '"s:t"')),
        ("/tasks/1/nothing", (4, 5, "{")),
        ("/tasks/1/id/x/y", (5, 13, '"b"')),
        ("/tasks/7/id", (2, 12, "[")),
        ("/tasks", (2, 12, "[")),
        ("/nothing", (1, 1, "{")),
    ],
)
def test_a_place_in_json_is_found(path: str, expected: tuple[int, int, str]) -> None:
    assert place(JSON, path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tasks/0/tool", (4, 11, "s:t")),
        ("/tasks/0/args/x~1y~0/0", (6, 16, "1")),
        ("/tasks/0/args/x~1y~0/1/é", (6, 23, "'one $OUTPUT[b].n'")),
        ("/tasks/0/args/text", (7, 13, "|")),
        ("/tasks/0/args/天気", (10, 10, "")),
        ("/tasks/0/nothing", (3, 5, "id: a")),
        ("/tasks/1/nothing", (11, 5, "{")),
        ("/tasks/1", (11, 10, "b")),
        ("/more/deep/0", (12, 20, "1")),
        ("/nothing", (2, 1, "tasks:")),
    ],
)
def test_a_place_in_yaml_is_found(path: str, expected: tuple[int, int, str]) -> None:
    assert place(YAML, path, yaml=True) == expected


def test_a_wrong_property_name_is_underlined_itself() -> None:
    assert place(JSON, "/tasks/1/argumets", "unknown_field") == (5, 33, '"argumets"')
    assert place(JSON, "/tasks/0/args/天気", "missing_input") == (3, 81, '"天気"')
    assert place(YAML, "/tasks/0/args", "doubled_field", yaml=True) == (5, 5, "args")
    assert place(JSON, "/tasks/1/1", "unknown_field") == (4, 5, "{")


def test_a_reference_in_a_longer_string_is_underlined_alone() -> None:
    for text, row in ((JSON, (3, 64)), (YAML, (6, 28))):
        found = place(text, "/tasks/0/args/x~1y~0/1/é", piece="$OUTPUT[b]", yaml=text is YAML)
        assert found == (*row, "$OUTPUT[b]")
    found = place(YAML, "/tasks/0/args/text", piece="$OUTPUT[b]", yaml=True)
    assert found == (9, 14, "$OUTPUT[b]")


@pytest.mark.parametrize(
    ("raw", "piece", "shown"),
    [
        (r'"a\n$OUTPUT[\"b\"] c"', '$OUTPUT["b"]', r"$OUTPUT[\"b\"]"),
        (r'"\u00e9 $OUTPUT[\u0062].\u00e9 c"', "$OUTPUT[b].é", r"$OUTPUT[\u0062].\u00e9"),
        (r'"\ud83d\ude00\\ $OUTPUT[b]."', "$OUTPUT[b]", "$OUTPUT[b]"),
        (r'"\ud83d\ude00 \/$X"', "😀 /$", r"\ud83d\ude00 \/$"),
        (r'"nothing \" here"', "$OUTPUT[b]", r'"nothing \" here"'),
        ('"plain"', "$OUTPUT[b]", '"plain"'),
        ("17", "$OUTPUT[b]", "17"),
    ],
)
def test_a_piece_is_found_despite_json_escapes(raw: str, piece: str, shown: str) -> None:
    assert place(f'{{"tasks": {raw}}}', "/tasks", piece=piece)[2] == shown


def test_escapes_that_only_yaml_has_are_skipped() -> None:
    assert within(r'"\x41 \" $A"', Span(0, 12), '" $A') == Span(6, 11)


def test_a_piece_can_be_in_a_property_name() -> None:
    text = '{"output": {"a $OUTPUT[b]": 1}}'
    path = pointer("output", "a $OUTPUT[b]")
    assert place(text, path, piece="$OUTPUT[b]") == (1, 16, "$OUTPUT[b]")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("ab/~ é", max_size=3), inner),
    max_leaves=12,
)  # fmt: skip


def everything_in(value: Any, *path: str | int) -> Iterator[tuple[str, Any]]:
    """Each value in a value, with its pointer."""
    yield pointer(*path), value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from everything_in(member, *path, name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from everything_in(item, *path, index)


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_text_at_the_place_of_a_value_is_that_value(
    value: Any, indent: Any, escaped: bool
) -> None:
    text = "\n " + json.dumps(value, indent=indent, ensure_ascii=escaped)
    root = json_tree(text)
    for path, inner in everything_in(value):
        node, found = lookup(root, steps(path))
        assert found
        assert json.loads(text[node.span.start : node.span.end]) == inner
        if node.name is not None:
            assert json.loads(text[node.name.start : node.name.end]) == steps(path)[-1]


@given(values)
def test_json_values_have_the_same_places_when_read_as_yaml(value: Any) -> None:
    text = json.dumps(value)
    json_root, yaml_root = json_tree(text), yaml_tree(text)
    assert yaml_root is not None
    for path, _ in everything_in(value):
        node, found = lookup(yaml_root, steps(path))
        assert found
        assert node.span == lookup(json_root, steps(path))[0].span


def test_a_container_is_scanned_once_and_only_when_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scanned: list[int] = []
    scan = spans._json_children

    def noting(text: str, start: int) -> Any:
        scanned.append(start)
        return scan(text, start)

    monkeypatch.setattr(spans, "_json_children", noting)
    tasks = [{"id": f"t{n}", "tool": "s:t", "arguments": {"x": [n]}} for n in range(10_000)]
    source = Source(json.dumps({"tasks": tasks}))
    for number in range(0, 10_000, 50):
        problem = Problem("wrong_value", "", f"/tasks/{number}/arguments/x/0")
        assert source.place(problem) is not None
        assert source.place(problem) is not None
    assert len(scanned) == 2 + 200 * 3


@pytest.mark.untraced
def test_a_deeply_nested_value_has_a_place(tmp_path: Path) -> None:
    text = '{"tasks": [' + "[" * 50_000 + "]" * 50_000 + '], "x": 1}'
    assert place(text, "/x") == (1, 100_020, "1")
    assert place(text, "/tasks/0") == (1, 12, "[" * 50_000 + "]" * 50_000)
    deep = tmp_path / "deep.yaml"
    deep.write_text("tasks: " + "[" * 3000 + "]" * 3000)
    problem = Problem("wrong_value", "", "/tasks")
    [found] = located([problem], deep)  # how deep the scanner goes depends on the stack below it
    assert replace(found, line=None, column=None) == problem


def test_lines_are_those_of_an_editor() -> None:
    lines = LineIndex("a\n\nbc\n")
    assert [lines.place(offset) for offset in range(6)] == [
        (1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (3, 3),
    ]  # fmt: skip
    assert [lines.line(number) for number in range(1, 6)] == ["a", "", "bc", "", ""]
    assert [lines.end(offset) for offset in (0, 1, 2, 3, 6)] == [1, 1, 2, 5, 6]
    assert [lines.offset(*at) for at in ((1, 1), (3, 2), (9, 1))] == [0, 4, 6]


def test_problems_come_in_the_order_of_the_file_and_those_without_a_place_last(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(JSON)
    problems = [
        Problem("server_unavailable", "whole"),
        Problem("unknown_field", "name", "/tasks/1/argumets"),
        Problem("missing_field", "missing", "/tasks/1/x"),
        Problem("wrong_value", "placed", "/tasks", line=3, column=1),
        Problem("wrong_value", "first", "/tasks/0/tool"),
    ]
    found = located(problems, path)
    assert [(problem.message, problem.line, problem.column) for problem in found] == [
        ("placed", 3, 1),
        ("first", 3, 25),
        ("missing", 4, 5),
        ("name", 5, 33),
        ("whole", None, None),
    ]


def test_canonical_names_become_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(JSON)
    operation = replace_op("/tasks/0/arguments/天気", "x")
    problem = Problem("wrong_value", "", "/tasks/0/arguments/天気", replacement=(operation,))
    (found,) = located([problem], path)
    assert (found.path, found.line, found.column) == ("/tasks/0/args/天気", 3, 87)
    assert found.replacement == (replace_op("/tasks/0/args/天気", "x"),)
    assert located([found], path) == [found]
    elsewhere = Problem("wrong_value", "", "/tasks/9/arguments/x")
    assert located([elsewhere], path)[0].path == "/tasks/9/arguments/x"


def test_a_written_path_stays_as_it_is() -> None:
    names = {"": ["maxConcurrent", "tasks"], "tasks/0": ["args", "params", "id"]}

    def names_of(where: Any) -> list[str]:
        return names["/".join(where)]

    for given_path, expected in {
        "/max_concurrency": "/maxConcurrent",
        "/tasks/0/arguments/x~1y": "/tasks/0/args/x~1y",
        "/tasks/0/args/x": "/tasks/0/args/x",
        "/tasks/0/params": "/tasks/0/params",
        "/tasks/0": "/tasks/0",
        "": "",
    }.items():
        assert written(given_path, names_of) == expected
        assert written(expected, names_of) == expected
        assert with_written_names(Problem("cycle", "", given_path), names_of).path == expected


def test_a_missing_broken_or_empty_file_has_no_places(tmp_path: Path) -> None:
    problem = Problem("wrong_value", "", "/tasks/0")
    assert located([problem], tmp_path / "gone.json") == [problem]
    assert located([], tmp_path / "gone.json") == []
    for name, text in (
        ("broken.json", '{"tasks": ['),
        ("broken.yaml", "tasks: ["),
        ("empty.yaml", ""),
    ):
        (tmp_path / name).write_text(text)
        assert located([problem], tmp_path / name) == [problem]
    (tmp_path / "utf16.json").write_bytes("{}".encode("utf-16"))
    assert located([problem], tmp_path / "utf16.json") == [problem]
    with pytest.raises(ValueError, match="unclosed container"):
        spans._end_of_deep("[[", 0)


def test_a_malformed_document_is_underlined_where_it_breaks() -> None:
    source = Source('{"a": 1,\n "a": [tru]}')
    for (line, column), length in {(2, 2): 3, (2, 8): 3, (9, 1): 1}.items():
        problem = Problem("malformed_document", "", line=line, column=column)
        assert source.place(problem) == LineSpan(min(line, 2), column if line < 9 else 13, length)
    assert source.place(Problem("malformed_document", "")) is None


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_a_workflow_that_is_loaded_from_a_file_has_lines(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + JSON.replace("\n", "\r\n").replace("\t", " ").encode())
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == ("unknown_field", 5, 33)
    assert f'\n  {path}:5:33: task "b", /tasks/1/argumets: unknown field' in str(caught.value)


def test_a_workflow_knows_its_file(tmp_path: Path) -> None:
    data = {"tasks": [{"id": "a", "tool": "s:t"}]}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    assert Workflow.load(path).source == path
    assert Workflow.load(data).source is None
