"""Singular paths: every spelling of RFC 9535 is followed, everything else is an error."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.documents.jsonpath import (
    PathSyntaxError,
    PlaceMissingError,
    describe,
    follow,
    format_path,
    parse_path,
)

CASES = File(__file__).parents[3] / "shared" / "cases" / "paths"
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def places(draw: st.DrawFn) -> tuple[Any, tuple[str | int, ...], Any]:
    """A JSON value, a path into it, and what plain indexing finds there."""
    value = draw(values)
    here, path = value, []
    while isinstance(here, dict | list) and here and draw(st.integers(0, 4)):
        step: Any
        if isinstance(here, dict):
            step = draw(st.sampled_from(sorted(here)))
        else:
            step = draw(st.integers(-len(here), len(here) - 1))
        path.append(step)
        here = here[step]
    return value, tuple(path), here


@st.composite
def spellings(draw: st.DrawFn, path: tuple[str | int, ...]) -> str:
    """One of the ways in which RFC 9535 lets a path be written."""
    return "".join(draw(_segment(step)) for step in path)


@st.composite
def _segment(draw: st.DrawFn, step: str | int) -> str:
    before, after = (draw(st.text(" \t\n\r", max_size=2)) for _ in range(2))
    if isinstance(step, int):
        return f"[{before}{step}{after}]"
    if draw(st.booleans()) and format_path((step,)).startswith("."):
        return f".{step}"
    quote = draw(st.sampled_from("'\""))
    return f"[{before}{quote}{''.join(draw(_spelled(c, quote)) for c in step)}{quote}{after}]"


@st.composite
def _spelled(draw: st.DrawFn, character: str, quote: str) -> str:
    units = character.encode("utf-16-be").hex()
    escaped = "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
    short = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "/": "\\/"}
    ways = [escaped, escaped.replace("\\U", "\\u").upper().replace("\\U", "\\u")]
    if character in "\\" + quote:
        ways.append("\\" + character)
    elif character in short:
        ways.append(short[character])
    elif character >= " ":
        ways.append(character)
    return draw(st.sampled_from(ways))


@given(st.data())
def test_every_spelling_of_a_path_finds_what_plain_indexing_finds(data: st.DataObject) -> None:
    value, path, there = data.draw(places())
    text = data.draw(spellings(path))
    parsed, end = parse_path(text)
    assert (parsed, end) == (path, len(text))
    assert follow(value, parsed) is there


@given(st.lists(names | st.integers(-(2**53) + 1, 2**53 - 1), max_size=6).map(tuple))
def test_a_formatted_path_parses_to_itself(path: tuple[str | int, ...]) -> None:
    text = format_path(path)
    assert parse_path(text) == (path, len(text))


def test_a_path_is_formatted_in_its_shortest_spelling() -> None:
    path = ("items", 0, "odd key", 'a"b\\', "line\n", "ü", -1)
    assert format_path(path) == r""".items[0]["odd key"]["a\"b\\"]["line\n"].ü[-1]"""


@given(st.text("[].'\"\\u0019adé -*?:\ud800\x00", max_size=20))
def test_any_text_is_a_path_or_a_syntax_error(text: str) -> None:
    with contextlib.suppress(PathSyntaxError):
        path, end = parse_path(text)
        assert 0 <= end <= len(text)
        assert parse_path(text[:end])[0] == path


@pytest.mark.parametrize(
    ("text", "path", "rest"),
    [
        ("", (), ""),
        (".a.b", ("a", "b"), ""),
        (".a. Next sentence", ("a",), ". Next sentence"),
        (".a.", ("a",), "."),
        (".a...", ("a",), "..."),
        (".a..5", ("a",), "..5"),
        (".a-b", ("a",), "-b"),
        (".größe_2x", ("größe_2x",), ""),
        (".☺", ("☺",), ""),
        ("[0][-1]", (0, -1), ""),
        ("[ 0 ]", (0,), ""),
        ("['a b'][\"c.d\"]", ("a b", "c.d"), ""),
        (r"['\'\\\/\b\f\n\r\t']", ("'\\/\b\f\n\r\t",), ""),
        (r'["\u0041\ud83d\ude00"]', ("A😀",), ""),
        ("['']", ("",), ""),
        ("[9007199254740991]", (2**53 - 1,), ""),
        (".a [1]", ("a",), " [1]"),
        (".a.*", ("a",), ".*"),
    ],
)
def test_a_path_is_as_long_as_possible(text: str, path: tuple[str | int, ...], rest: str) -> None:
    assert parse_path(text) == (path, len(text) - len(rest))
    assert parse_path("xx" + text, 2) == (path, 2 + len(text) - len(rest))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "expected an index such as [0]"),
        ("[]", "expected an index such as [0]"),
        ("[a]", "expected an index such as [0]"),
        ("[*]", "wildcards, slices and filters"),
        ("[?a]", "wildcards, slices and filters"),
        ("[1:2]", "wildcards, slices and filters"),
        ("[0,1]", "wildcards, slices and filters"),
        ("[-0]", "expected an index such as [0]"),
        ("[01]", 'expected "]" after "[0"'),
        ("[1", 'expected "]" after "[1"'),
        ("[1.0]", 'expected "]" after'),
        ("['a'", 'expected "]" after'),
        ("['a", "unclosed '"),
        ('["a', 'unclosed "'),
        ('["a\nb"]', r'unescaped character "\n"'),
        ("['\ud800']", r'unescaped character "\ud800"'),
        (r"['\"']", "unknown escape"),
        (r'["\'"]', "unknown escape"),
        (r"['\x41']", "unknown escape"),
        ("['\\", "unknown escape"),
        (r"['\u004']", "four hexadecimal digits"),
        (r"['\ud800']", "lone surrogate in a name"),
        (r"['\ud800x']", "lone surrogate in a name"),
        (r"['\ud800\u0041']", "lone surrogate in a name"),
        (r"['\ude00\ud83d']", "lone surrogate in a name"),
        ("[9007199254740992]", "is out of range (limit 2^53 - 1)"),
        ("[-9007199254740992]", "is out of range (limit 2^53 - 1)"),
        (f"[{'9' * 5000}]", "is out of range (limit 2^53 - 1)"),
        (".a..b", 'unexpected "..": a path names one place'),
        (".a..[0]", 'unexpected "..": a path names one place'),
        (".items.0", "write an index as [0]"),
    ],
)
def test_a_malformed_path_is_an_error(text: str, message: str) -> None:
    with pytest.raises(PathSyntaxError, match=re.escape(message)):
        parse_path(text)


@pytest.mark.parametrize(
    ("value", "path", "found", "keys", "message"),
    [
        ({"a": {"b": 1}}, ("a", "c"), 1, ["b"], '.a has no property "c" (it has: b)'),
        ({"a": [1]}, ("a", 1), 1, None, ".a has no index 1 (length 1)"),
        ({"a": [1]}, ("a", -2), 1, None, ".a has no index -2 (length 1)"),
        (
            {"a": [1]},
            ("a", "length"),
            1,
            None,
            '.a has no property "length" (it is array of 1 item)',
        ),
        ({"0": 1}, (0,), 0, ["0"], " has no index 0 (it is object with property 0)"),
        ("text", (0,), 0, None, ' has no index 0 (it is string "text")'),
        ({}, ("a",), 0, [], ' has no property "a" (it is empty object)'),
        (None, ("a",), 0, None, ' has no property "a" (it is null)'),
    ],
)
def test_a_missing_place_is_an_error_that_describes_what_is_there(
    value: Any, path: tuple[str | int, ...], found: int, keys: list[str] | None, message: str
) -> None:
    with pytest.raises(PlaceMissingError) as caught:
        follow(value, path)
    assert (caught.value.found, caught.value.keys) == (found, keys)
    assert caught.value.message("$OUTPUT[a]") == f"$OUTPUT[a]{message}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "empty object"),
        ({"b": 1, "a": 2}, "object with properties a, b"),
        ({"x" * 50: 1}, f"object with property {'x' * 37}..."),
        ({f"k{i:02}": 0 for i in range(14)}, "and 2 more"),
        ({"a\u200b\n": 1}, r"object with property a\u200b\u000a"),
        ("\x7f\ud800\t", r'string "\u007f\ud800\t"'),
        ([], "empty array"),
        ([1, 2], "array of 2 items"),
        ("hi", 'string "hi"'),
        ("x" * 50, f'string "{"x" * 37}..."'),
        (None, "null"),
        (True, "boolean true"),
        (False, "boolean false"),
        (1.5, "number 1.5"),
        (-3, "integer -3"),
        ((1,), "Python tuple"),
    ],
)
def test_a_value_is_described_in_a_few_words(value: Any, words: str) -> None:
    assert words in describe(value)


def test_an_integer_of_more_digits_than_python_prints_is_described_by_its_size() -> None:
    assert describe(10**5000) == "integer of 16,610 bits"


def rows(name: str) -> list[dict[str, Any]]:
    if not CASES.is_dir():
        pytest.skip(f"the shared cases are not at {CASES}")
    return [json.loads(line) for line in (CASES / name).read_text().splitlines()]


def test_the_valid_paths_of_the_compliance_suite_are_followed() -> None:
    for case in rows("valid.jsonl"):
        text = case["jsonpath"][1:]
        path, end = parse_path(text)
        assert end == len(text), case["name"]
        if case.get("expect") == "missing":
            with pytest.raises(PlaceMissingError):
                follow(case["document"], path)
        else:
            assert follow(case["document"], path) == case["expect_value"], case["name"]


def test_the_malformed_paths_of_the_compliance_suite_are_refused() -> None:
    for case in rows("invalid.jsonl"):
        with pytest.raises(PathSyntaxError):
            parse_path(case["path"])
