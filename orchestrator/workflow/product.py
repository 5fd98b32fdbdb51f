"""What a `for_each` goes over besides one list: the product of several, or a part of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.expressions.templates import Literal, Template


@dataclass(frozen=True, slots=True)
class Product:
    """The lists by name; of their combinations, the last name varies fastest."""

    lists: Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class Slice(Literal):
    """Some items of a list, from the one with the number `first` on."""

    first: int
