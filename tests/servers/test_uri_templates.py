"""URI templates: what they become, and what URIs they may stand for."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.servers.uri_templates import expanded, fits_any, variables_of


@pytest.mark.parametrize(
    ("template", "values", "uri"),
    [
        ("book://{key}", {"key": "emma"}, "book://emma"),
        ("book://{key}", {"key": "a b/c"}, "book://a%20b%2Fc"),
        ("file:///{+path}", {"path": "a/b.md"}, "file:///a/b.md"),
        ("x://{n}{?page,size}", {"n": 7, "page": 2}, "x://7?page=2"),
        ("x://all{/part*}", {"part": ["a", "b"]}, "x://all/a/b"),
        ("x://plain", {}, "x://plain"),
    ],
)
def test_a_template_is_a_uri_with_its_values(
    template: str, values: dict[str, Any], uri: str
) -> None:
    assert expanded(template, values) == uri


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("book://{key}", {}, 'needs a value of "key"'),
        ("book://{key}", {"kay": "x"}, r'has no variable "kay" \(it has: "key"\)'),
        ("book://emma", {"key": "x"}, r'has no variable "key" \(it has: none\)'),
        ("book://{key", {"key": "x"}, "is no URI template: "),
    ],
)
def test_what_does_not_fit_says_what_would(
    template: str, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        expanded(template, values)


def test_the_variables_are_those_of_the_template() -> None:
    assert variables_of("x://{a}/{+b}{?c,d}") == ["a", "b", "c", "d"]
    assert variables_of("x://{a") == variables_of("x://a") == []


def test_a_uri_fits_where_a_template_may_stand_for_it() -> None:
    templates = ["book://{key}", "file:///{+path}"]
    assert fits_any("book://emma", templates)
    assert fits_any("file:///a/b/c", templates)
    assert not fits_any("book://emma/1", templates)
    assert not fits_any("bock://emma", templates)
    assert fits_any("bock://emma", ["x://{a"])  # what it stands for is not known
    # In linear time: a pattern that backtracks would take for ever.
    hostile = "x://" + "".join(f"{{{letter}}}-" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert not fits_any(f"x://{'-' * 50_000}!", [hostile])
