"""The templates of a workflow, as far as they could be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.documents.jsonpath import Path
from orchestrator.expressions.templates import EMPTY, Template
from orchestrator.workflow.product import Product

if TYPE_CHECKING:
    from orchestrator.workflow.graph import Graph

# The template of arguments, and the paths in it where a reference stands alone.
ArgumentTemplate = tuple[Template, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class CompiledFallback:
    """The templates of a fallback, of which one is used."""

    value: Template = EMPTY
    arguments: ArgumentTemplate = (EMPTY, ())


@dataclass(slots=True)
class CompiledTask:
    """The templates of one task."""

    arguments: ArgumentTemplate = (EMPTY, ())
    when: Template | None = None
    for_each: Template | Product | None = None
    locks: list[tuple[Template, bool]] = field(default_factory=list)  # and whether it is per item
    fallback: CompiledFallback = CompiledFallback()
    item_when: Template | None = None
    item_fallback: CompiledFallback = CompiledFallback()
    until: Template | None = None
    collect: Template | None = None
    approve: Template | None = None


@dataclass(slots=True)
class CompiledWorkflow:
    """The templates and the graph of a workflow, as far as they could be made."""

    tasks: dict[str, CompiledTask] = field(default_factory=dict)
    # By task, the ids that it waits for, and whether more than its fallback needs them.
    dependencies: dict[str, dict[str, bool]] = field(default_factory=dict)
    output: Template | None = None
    graph: Graph | None = None
