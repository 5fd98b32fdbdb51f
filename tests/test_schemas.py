"""JSON Schemas of tools, as servers send them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.schemas import Validator

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_a_value_that_fits_has_no_mismatch() -> None:
    assert Validator(CITY).fits({"city": "Oslo"})
    assert list(Validator(True).mismatches([1])) == []


def test_each_mismatch_says_where_and_which_keyword() -> None:
    found = list(Validator(CITY).mismatches({"city": 5}))
    assert [(m.path, m.keyword, m.expected) for m in found] == [(("city",), "type", "string")]
    assert found[0].message == "5 is not of type 'string'"
    assert [m.keyword for m in Validator(CITY).mismatches({})] == ["required"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "https://example.com/elsewhere.json"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "string", "pattern": "(unclosed"},
        {"type": "string", "pattern": "\\p{L}"},
        {"$ref": "#"},
    ],
)
def test_a_schema_that_cannot_be_used_says_nothing_about_any_value(schema: Any) -> None:
    validator = Validator(schema)
    assert validator.fits("text")
    assert validator.unusable
    assert validator.fits("text")


def test_the_dialect_is_the_one_that_the_schema_names() -> None:
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True}
    assert not Validator(older | {"minimum": 3}).fits(3)
    assert Validator({"exclusiveMinimum": True, "minimum": 3}).unusable
    assert not Validator({"exclusiveMinimum": 3}).fits(3)
