"""Values in parts: folded where they are deep, in pages where they are long."""

from __future__ import annotations

from typing import Any

from orchestrator.ui.values import DEPTH, LETTERS, NODES, PAGE, part_at


def whole(part: dict[str, Any], value: Any, place: str = "") -> Any:
    """The value again, fetched part by part as the page does it."""
    match part["t"]:
        case "string":
            text = part["v"]
            while len(text) < part["n"]:
                more = part_at(value, place, len(text))
                assert more is not None
                text += more["v"]
            return text
        case "object" | "array":
            members: list[Any] = []
            while len(members) < part["n"]:
                more = part if not members and "e" in part else part_at(value, place, len(members))
                assert more is not None
                members += more["e"]
            if part["t"] == "object":
                return {key: whole(each, value, f"{place}/{key}") for key, each in members}
            return [whole(each, value, f"{place}/{n}") for n, each in enumerate(members)]
    return part["v"]


def count(part: dict[str, Any]) -> int:
    inside = part.get("e", ())
    return 1 + sum(count(each[1] if part["t"] == "object" else each) for each in inside)


def test_a_small_value_comes_whole() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {}}
    assert part_at(value) == {
        "t": "object",
        "n": 2,
        "e": [
            [
                "a",
                {
                    "t": "array",
                    "n": 5,
                    "e": [
                        {"t": "number", "v": "1"},
                        {"t": "number", "v": "2.5"},
                        {"t": "null", "v": "null"},
                        {"t": "boolean", "v": "true"},
                        {"t": "string", "n": 1, "v": "x"},
                    ],
                },
            ],
            ["b", {"t": "object", "n": 0, "e": []}],
        ],
    }


def test_numbers_are_text_so_that_no_digit_is_lost() -> None:
    assert part_at(2**63 + 1) == {"t": "number", "v": "9223372036854775809"}
    assert part_at(float("nan")) == {"t": "number", "v": "NaN"}


def test_a_value_of_any_size_comes_in_parts_and_is_the_same() -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = {"in": deep}
    value = {
        "many": [f"{n}" for n in range(5 * PAGE + 7)],
        "long": "abc" * LETTERS,
        "deep": deep,
        "wide": [[f"{n}" for n in range(30)] for _ in range(NODES)],
    }
    part = part_at(value)
    assert part is not None
    assert count(part) < NODES + 2 * PAGE
    assert whole(part, value) == value


def test_what_is_deep_is_folded() -> None:
    value: Any = 1
    for _ in range(DEPTH + 3):
        value = [value]
    part = part_at(value)
    for _ in range(DEPTH):
        assert part is not None
        (part,) = part["e"]
    assert part == {"t": "array", "n": 1}


def test_a_place_that_is_not_there_gives_nothing() -> None:
    for place in ("/b", "/a/1", "/a/x", "/a/0/0", "/a/0/0/0"):
        assert part_at({"a": ["b"]}, place) is None
