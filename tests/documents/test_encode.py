"""Documents as JSON text, whole and piece by piece."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from orchestrator.documents import encode
from orchestrator.documents.encode import folded_json, json_parts, shown_json, to_json

pytestmark = pytest.mark.untraced

SCALARS = [1, 1.5, None, True, "", "a\nb" * 30, "é", float("nan")]


def value(chance: random.Random, depth: int = 0) -> Any:
    kind, count = chance.randint(0, 7), chance.randint(0, 4)
    if depth > 7 or kind < 2:
        return chance.choice(SCALARS)
    parts = [value(chance, depth + 1) for _ in range(count)]
    names = (chance.choice(["a", "b", 'é"', "c\n"]) for _ in parts)
    return dict(zip(names, parts, strict=False)) if kind < 5 else parts


@pytest.mark.parametrize("indent", [None, 2])
def test_the_parts_of_a_document_are_its_text(
    monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    monkeypatch.setattr(encode, "_PART", 5)
    chance = random.Random(2026)
    for _ in range(200):
        document = value(chance)
        assert "".join(json_parts(document, to_json, indent)) == to_json(document, indent)


@pytest.mark.parametrize(
    "document",
    [
        ["x" * 100_000] * 50,
        {"tasks": {f"t{n}": {"output": "x" * 100_000} for n in range(50)}},
        {"tasks": {"t": {"output": [{"text": ["x" * 1000] * 100}] * 50}}},
        {"output": [[n] for n in range(60_000)]},
    ],
)
def test_no_part_of_a_large_document_is_large(document: Any) -> None:
    parts = [len(part) for part in json_parts(document, shown_json, 2)]
    assert sum(parts) > 1_000_000
    assert max(parts) < 1_200_000


def test_the_text_that_people_see_has_no_hidden_character_in_it() -> None:
    assert shown_json(["\x7f", "a"]) == '["\\u007f", "a"]'
    assert shown_json(["\x1b\x00"]) == '["\\u001b\\u0000"]'


def test_a_folded_document_is_the_same_value_on_lines_that_fit() -> None:
    chance = random.Random(2026)
    for _ in range(300):
        made = value(chance)
        assert json.loads(folded_json(made, 40)) == json.loads(to_json(made))
    assert folded_json({"a": [1, 2], "b": {}}, 40) == '{"a": [1, 2], "b": {}}'
    assert folded_json({"a": [1, 2], "b": ["x" * 12, "y"]}, 20) == (
        '{\n  "a": [1, 2],\n  "b": [\n    "xxxxxxxxxxxx",\n    "y"\n  ]\n}'
    )
