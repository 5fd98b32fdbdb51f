"""The product of lists that a `for_each` with several names goes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.expressions.templates import Template


@dataclass(frozen=True, slots=True)
class Product:
    """The lists by name; of their combinations, the last name varies fastest."""

    lists: Mapping[str, Template]
