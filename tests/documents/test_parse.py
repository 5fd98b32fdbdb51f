"""JSON and YAML files: nothing is dropped, and every result is JSON."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.documents.jsonc import without_comments
from orchestrator.documents.parse import (
    DocumentError,
    NotJsonError,
    finite,
    is_yaml,
    parse_json,
    read_document,
)
from orchestrator.documents.yaml_document import parse_yaml
from orchestrator.errors import ConfigError, WorkflowError
from tests.documents.test_jsonpath import values


@given(values)
def test_json_is_read_back_unchanged(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1)) == value


printable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc:#-", max_size=4), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(printable)
def test_json_parses_as_yaml_with_the_same_value(value: Any) -> None:
    assert parse_yaml(json.dumps(value)) == value


@given(st.text("{}[],:\"'\\ \nabu0d8-1.eNI&*!|>#?%@`\t", max_size=24))
def test_any_text_is_a_document_or_a_document_error(text: str) -> None:
    for parse in (parse_json, parse_yaml):
        with contextlib.suppress(DocumentError):
            json.dumps(parse(text), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid JSON: empty document (line 1, column 1)"),
        (
            "{'a': 1}",
            "invalid JSON: Expecting property name enclosed in double quotes (line 1, column 2)",
        ),
        ('{\n  "a": 01}', "invalid JSON: Expecting ',' delimiter (line 2, column 9)"),
        ('{"a": 1, "b": 2, "a": 3}', 'duplicate property "a"'),
        ('[{"a": {"b": 1, "b": 1}}]', 'duplicate property "b"'),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "number 1e999 is too large"),
        ("9" * 5000, "more than 4,300 digits"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":\n"\\ud800"}', "lone surrogate \\ud800 (line 2, column 2)"),
        ('"\\uDE00\\ud83d"', "lone surrogate \\ude00"),
    ],
)
def test_json_that_would_lose_information_is_refused(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_json(text)
    assert message in str(caught.value)
    assert isinstance(caught.value, NotJsonError) == str(caught.value).startswith("invalid JSON")


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "😀"
    assert parse_json('"\\\\ud800"') == "\\ud800"
    assert parse_json('"\\u00e9 \\ud83d\\ude00"') == "é 😀"


def test_duplicate_properties_are_found_in_one_pass() -> None:
    members = [f'"k{index}": 0' for index in range(50_000)]
    with pytest.raises(DocumentError, match='duplicate property "k49999"'):
        parse_json("{" + ",".join([*members, members[-1]]) + "}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", "yes"),
        ("a: no", "no"),
        ("a: on", "on"),
        ("a: Off", "Off"),
        ("a: TRUE", True),
        ("a: true", True),
        ("a: false", False),
        ("a: True", True),
        ("a: False", False),
        ("a: Null", None),
        ("a: NULL", None),
        ("a: nULL", "nULL"),
        ("a: tRue", "tRue"),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: 5", 5),
        ("a: -5", -5),
        ("a: 1.5e3", 1500.0),
        ("a: 1e5", 100000.0),
        ("a: 007", "007"),
        ("a: 0o17", 15),
        ("a: 0o8", "0o8"),
        ("a: 0x1F", 31),
        ("a: 0xG", "0xG"),
        ("a: -0", 0),
        ("a: 0b1", "0b1"),
        ("a: 1_000", "1_000"),
        ("a: +1", "+1"),
        ("a: .5", 0.5),
        ("a: -.5e1", -5.0),
        ("a: .", "."),
        ("a: 5.", 5.0),
        ("a: 12:30:45", "12:30:45"),
        ("a: 2001-01-01", "2001-01-01"),
        ("a: '.nan'", ".nan"),
        ("a: 1٣", "1٣"),
        ("a: '5'", "5"),
        ("a: !!str 5", "5"),
        ("a: !!int 5", 5),
        ("a: <<", "<<"),
        ("a: =", "="),
        ("a: $OUTPUT[x].y", "$OUTPUT[x].y"),
        ('a: "\\ud83d\\ude00"', "😀"),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("x: &x [1]\na: *x", [1]),
        ("a: {<<: {b: 1}}", {"b": 1}),
        ("x: &x {b: 1, c: 2}\na: {<<: *x, b: 3}", {"b": 3, "c": 2}),
        ("x: &x {b: 1, c: 2}\na: {b: 3, <<: *x}", {"b": 3, "c": 2}),
        ("x: &x {b: 1}\ny: &y {b: 2, c: 2}\na: {<<: [*x, *y]}", {"b": 1, "c": 2}),
        ("x: &x {b: 1}\ny: &y {<<: *x, c: 2}\na: {<<: *y, d: 3}", {"b": 1, "c": 2, "d": 3}),
        ("x: &x {b: 1}\na: {c: {<<: *x}, d: [{<<: *x}]}", {"c": {"b": 1}, "d": [{"b": 1}]}),
        ('a: {"<<": {b: 1}}', {"<<": {"b": 1}}),
    ],
)
def test_yaml_is_read_as_json_would_be(text: str, value: Any) -> None:
    found = parse_yaml(text)["a"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_yaml_document_is_null() -> None:
    assert parse_yaml("# nothing\n") is None


LAUGHS = "\n".join(
    ["- &a0 [x,x]"] + [f"- &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


MERGES = "\n".join(
    ["- &a0 {x: 1}"] + [f"- &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", 'duplicate property "a" (line 3, column 1)'),
        ("1: x", "expected string as property name, got 1; put it in quotes (line 1, column 1)"),
        ("true: x", "expected string as property name, got true; put it in quotes"),
        ("~: x", "expected string as property name, got ~"),
        ("? [a]\n: b", "expected string as property name"),
        ("a: &x [*x]", "an alias refers to a value that contains it"),
        ("a: *x", "undefined alias"),
        (LAUGHS, "aliases expand to more than 5,000,000 values"),
        (
            "\na: !!python/object:os.system x",
            "tag:yaml.org,2002:python/object:os.system is not a JSON type (line 2, column 4)",
        ),
        ("a: !secret x", "!secret is not a JSON type"),
        ("a: !!binary aGk=", "is not a JSON type"),
        ("a: !!timestamp 2001-01-01", "is not a JSON type"),
        ("a: !!set {b}", "is not a JSON type"),
        ("a: !!int 0b1", '"0b1" is not a JSON int'),
        ("a: !!float .inf", ".inf is not JSON"),
        ("a: -.INF", "-.INF is not JSON (line 1, column 4)"),
        ("a: [.nan]", ".nan is not JSON (line 1, column 5)"),
        ("a: {<<: 5}", 'expected an object to merge after "<<" (line 1, column 9)'),
        ("a: {<<: [{b: 1}, x]}", 'expected an object to merge after "<<" (line 1, column 18)'),
        ("a: &x {<<: *x}", "an alias refers to a value that contains it"),
        (MERGES, "aliases expand to more than 5,000,000 values"),
        ("a: !!null x", '"x" is not a JSON null'),
        ("a: !!bool maybe", '"maybe" is not a JSON bool'),
        ("a: !!map x", "expected a mapping node"),
        ("a: 1e999", "number 1e999 is too large"),
        (f"a: {'9' * 5000}", "too large"),
        ('a: "\\UFFFFFFFF"', "too large"),
        ('a: "\\ud800"', "lone surrogate in a string"),
        ("a: [1", "line 1, column"),
        ("a:\n\tb: 1", "line 2, column 1"),
        ("a: 1\n---\nb: 2", "another document"),
        ("\x01", "unacceptable character"),
        ("[" * 5000, "nested too deep"),
    ],
)
def test_yaml_that_is_not_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_beyond_a_double_is_an_error() -> None:
    assert finite("1e308") == 1e308
    with pytest.raises(DocumentError, match="-1e999 is too large"):
        finite("-1e999")


def test_a_file_is_yaml_if_its_name_says_so(tmp_path: Path) -> None:
    assert is_yaml(Path("a.YML"))
    assert not is_yaml(Path("a.json"))
    (tmp_path / "a.yaml").write_text("a: yes")
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "yes"}')
    assert read_document(tmp_path / "a.yaml") == read_document(tmp_path / "a.json") == {"a": "yes"}


def message_of(path: Path, error: type[WorkflowError] = WorkflowError) -> tuple[str, str]:
    with pytest.raises(error) as caught:
        read_document(path, error)
    (problem,) = caught.value.problems
    assert caught.value.source == str(path)
    return problem.code, problem.message


def hint_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_document(path, ConfigError)
    (problem,) = caught.value.problems
    return problem.hint


def test_a_missing_file_is_an_error_that_lists_nearby_files(tmp_path: Path) -> None:
    code, message = message_of(tmp_path / "plan.json")
    assert (code, message) == ("unreadable_file", "cannot be read: No such file or directory")
    for name in ("plam.json", "other.yaml", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert hint_of(tmp_path / "plan.json") == f'files in "{tmp_path}": plam.json'
    assert hint_of(tmp_path / "zzz") == f'files in "{tmp_path}": other.yaml, plam.json'
    assert hint_of(tmp_path / "no" / "plan.json") == f'no such directory: "{tmp_path / "no"}"'


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    assert message_of(tmp_path) == ("unreadable_file", "cannot be read: Is a directory")
    assert message_of(tmp_path / "a\0b")[0] == "unreadable_file"
    (tmp_path / "utf16.json").write_bytes("{}".encode("utf-16"))
    assert message_of(tmp_path / "utf16.json")[1] == "is not UTF-8: byte 0 is 0xff"
    (tmp_path / "bad.json").write_text("{")
    code, message = message_of(tmp_path / "bad.json")
    assert code == "malformed_document"
    assert message.startswith("invalid JSON: Expecting property name")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty document"),
        (" \n", "empty document"),
        ("[1, ]", 'trailing comma before "]"'),
        ('{"a": [1],\n}', 'trailing comma before "}"'),
        ("[1,, 2]", "Expecting value"),
        ("[1, 2", "Expecting ',' delimiter"),
    ],
)
def test_the_reason_why_json_is_malformed_is_plain(text: str, why: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_json(text)
    assert caught.value.reason == f"invalid JSON: {why}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "a": 01}', (2, 9)),
        ('{"a": {"x": 1, "b": "x"},\n "b": {"x": "a"}, "a": [3]}', (2, 19)),
        ('[{"a": ["a", {"a": 1}], "\\u0061": 1}]', (1, 25)),
        ('["NaN",\n NaN, 1e999]', (2, 2)),
        ('["1e999", 1e308, 1e999]', (1, 18)),
        ('["a", -1, ' + "9" * 5000 + "]", (1, 11)),
        ('{"a":\n"x\\ud800"}', (2, 3)),
        ("[" * 100_000, None),
    ],
)
def test_an_error_in_json_has_a_line_and_a_column(
    tmp_path: Path, text: str, place: tuple[int, int] | None
) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(WorkflowError) as caught:
        read_document(tmp_path / "a.json")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (place or (None, None))
    assert "line" not in problem.message
    shown = f"{tmp_path / 'a.json'}:{place[0]}:{place[1]}: " if place else "  nested"
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 3", (4, 3)),
        ("a: [1", (1, 4)),
        ("a:\n  b: !secret x", (2, 6)),
        ("a: 1\n7: x", (2, 1)),
        ("a: [1, !!int 0b1]", (1, 8)),
        ("[" * 5000, None),
    ],
)
def test_an_error_in_yaml_has_a_line_and_a_column(text: str, place: tuple[int, int] | None) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text)
    assert (caught.value.line, caught.value.column) == (place or (None, None))


@pytest.mark.parametrize(
    ("text", "reason", "place", "hint"),
    [
        ("a: {m: $OUTPUT[b]}", 'unquoted text with "["', (1, 15), "whole text in quotes"),
        ("a: {m: ${b.x}}", 'unquoted text with "{"', (1, 9), "whole text in quotes"),
        ("a: [x, b[0]]", 'unquoted text with "["', (1, 9), "whole text in quotes"),
        ("a: [1, 2", '"[" is not closed', (1, 4), ""),
        ("a: {x: 1", '"{" is not closed', (1, 4), ""),
        ("a: {x: 'y' z}", 'expected "," or "}"', (1, 12), "whole text in quotes"),
        ("a: b: c", 'unquoted text with ": "', (1, 5), "whole text in quotes"),
        ("- id: a\n   tool: x", "wrong indentation: the line goes on", (2, 8), "same column"),
        ("- id:a\n  tool: x", "wrong indentation", (2, 7), 'a blank after "id:"'),
        ("a:\n   b: 1\n  c: 2", "wrong indentation: no other line", (3, 3), "same column"),
        ("a:\n  - b\n  c: 1", "a property among the items", (3, 3), "same column"),
        ("a:\n  b: 1\n  - c", "an item of a list among the properties", (3, 3), "same column"),
        ("a:\n\tb: 1", "a tab cannot indent a line", (2, 1), "use blanks"),
        ('a: "x', "the quote is not closed", (1, 4), ""),
        ('a: "C:\\d"', 'unknown escape "\\d"', (1, 8), "starts an escape"),
        ("a: %d", 'text cannot begin with "%"', (1, 4), "whole text in quotes"),
        ("a: @x", 'text cannot begin with "@"', (1, 4), "whole text in quotes"),
        ("a: ]", 'text cannot begin with "]"', (1, 4), "whole text in quotes"),
        ("a: *.txt", "text cannot begin with * or &", (1, 4), "whole text in quotes"),
        ("a: *x", 'undefined alias "x"', (1, 4), "quoted"),
        ('a: "x" y', "text follows text in quotes", (1, 8), "whole text in quotes"),
        ("a: > x", "| and > begin text", (1, 4), "whole text in quotes"),
        ("a: 1\nb\nc: 2", 'expected "NAME: value"', (2, 1), ""),
        ("a: - b", 'a list cannot begin after ":"', (1, 4), "begin a line"),
        ("a: 1\n---\nb: 2", "another document begins here", (2, 1), "keep one"),
    ],
)
def test_what_is_wrong_with_yaml_is_told_in_words_of_the_file(
    text: str, reason: str, place: tuple[int, int], hint: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text)
    assert caught.value.reason.startswith("invalid YAML: ")
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.column) == place
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{\n  // why\n  "a": 1}', "JSON has no comments"),
        ('{"a": 1 /* why */}', "JSON has no comments"),
        ('{"a": 1, # why\n "b": 2}', "JSON has no comments"),
        ("{'a': 1}", "double quotes"),
        ('{"a": True}', "write true, false or null"),
        ('{"a": None}', "write true, false or null"),
        ('{"a": "C:\\dir"}', "write it twice"),
        ('{"a": 1,}', ""),
    ],
)
def test_what_json_does_not_have_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(NotJsonError) as caught:
        parse_json(text)
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


@given(st.text('{}[],:"/*\\ \nab1', max_size=24))
def test_a_text_without_comments_has_every_place_where_it_was(text: str) -> None:
    left = without_comments(text)
    assert len(left) == len(text)
    assert all(a == b or b == " " for a, b in zip(text, left, strict=True))
    with contextlib.suppress(DocumentError):
        assert parse_json(left) == parse_json(text)


def test_comments_and_trailing_commas_can_be_left_out() -> None:
    text = """{ // one
      "a": "// no /* comment */, ]", /* two
      lines */ "b": [1, 2, // three
      ], }"""
    assert parse_json(without_comments(text)) == {"a": "// no /* comment */, ]", "b": [1, 2]}
