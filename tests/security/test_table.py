"""Each row of the threat model names tests, and those exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = re.compile(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def rows() -> list[str]:
    lines = (ROOT / "SECURITY.md").read_text("utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    return [line for line in tables if not line.startswith(("|---", "| who |", "| input |"))]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


def test_there_are_both_tables() -> None:
    assert len(rows()) > 50


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[:60])
def test_a_row_names_tests_that_exist(row: str) -> None:
    named = TEST.findall(row)
    assert named, "the row names no test"
    for file, test in named:
        assert test in functions_of(file), f"there is no tests/{file}::{test}"
