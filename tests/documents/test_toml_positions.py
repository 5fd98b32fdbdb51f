"""Places in TOML: of keys, headers and values, however they are written."""

from __future__ import annotations

import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.documents.positions import Node
from orchestrator.documents.toml_positions import toml_tree

DOCUMENT = r'''# a comment with [brackets] and "quotes
a.b = 1
[servers.x] # c
command = "py # \" no comment"
args = ["a", 'b', """x"y""""", 2020-01-01 10:00:00,
 # comment ]
 {k = 1.5, "q.\u0041" = [[1],[2]]}, """""" ,
]
env = { A = "b" , C.d = 3 }
[servers."y z"]
'k.l' = 0x1F # c
[[trusted]]
w = 1
[[trusted]]
w = """
several
lines"""
[trusted.z]
v = true
[servers.x.tools."fetch*"]
rate = "1/s"
'''


def values(node: Node, text: str, data: Any) -> Any:
    """The document again, from the places of its values."""
    if isinstance(data, dict):
        return {step: values(child, text, data[step]) for step, child in node.children.items()}
    if isinstance(data, list):
        assert list(node.children) == [str(index) for index in range(len(data))]
        return [values(node.children[str(n)], text, item) for n, item in enumerate(data)]
    return tomllib.loads(f"value = {text[slice(*node.span)]}")["value"]


def test_every_value_is_found_where_it_is() -> None:
    data = tomllib.loads(DOCUMENT)
    root = toml_tree(DOCUMENT)
    assert values(root, DOCUMENT, data) == data


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (["servers", "x"], "x", "servers.x"),
        (["servers", "x", "env", "C", "d"], "d", "3"),
        (["servers", "x", "env"], "env", '{ A = "b" , C.d = 3 }'),
        (["servers", "y z"], '"y z"', 'servers."y z"'),
        (["servers", "y z", "k.l"], "'k.l'", "0x1F"),
        (["servers", "x", "tools", "fetch*"], '"fetch*"', 'servers.x.tools."fetch*"'),
        (["trusted", "1", "z", "v"], "v", "true"),
        (["a", "b"], "b", "1"),
    ],
)
def test_a_property_has_the_places_of_its_name_and_its_value(
    path: list[str], name: str, value: str
) -> None:
    node = toml_tree(DOCUMENT)
    for step in path:
        node = node.children[step]
    assert node.name is not None
    assert (DOCUMENT[slice(*node.name)], DOCUMENT[slice(*node.span)]) == (name, value)


keys = st.text("ab-_. \"'é", min_size=1, max_size=4)
scalars = st.integers() | st.booleans() | st.text("ab\"'\\#[]{},= \n\té", max_size=6)
trees = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def written(value: Any) -> str:
    """A value as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
            return '"' + "".join(escapes.get(character, character) for character in value) + '"'
        case list():
            return "[" + ", ".join(map(written, value)) + "]"
    return "{" + ", ".join(f"{written(k)} = {written(v)}" for k, v in value.items()) + "}"


@given(trees, trees)
def test_any_document_is_found_again(top: dict[str, Any], table: dict[str, Any]) -> None:
    lines = [f"{written(key)} = {written(value)}" for key, value in top.items()]
    if "t" not in top:
        lines += ["[t.'u v']", *(f"{written(key)}={written(item)}" for key, item in table.items())]
    text = "\n".join(lines)
    data = tomllib.loads(text)
    assert values(toml_tree(text), text, data) == data


@given(st.text("ab.=[]{}\"'\\#, \n1", max_size=24))
def test_any_text_has_places_or_is_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        root = toml_tree(text)
        assert values(root, text, data := tomllib.loads(text)) == data
