"""Outputs that may be absent: of tasks that were skipped or have failed."""

from __future__ import annotations

from collections.abc import Container

from orchestrator.check.environment import Environment
from orchestrator.check.mismatch import Mismatch, Mismatches
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import quoted
from orchestrator.expressions.scope import Reference


def lacking(
    reference: Reference,
    path: Path,
    environment: Environment,
    skippable: Container[str],
    has_output: Container[str],
) -> Mismatches:
    """What is wrong with a reference to an output that a task need not have.

    Args:
        reference: The reference, and `path` its place in the value.
        environment: Where it stands.
        skippable: The tasks that may be skipped although nothing failed.
        has_output: The tasks that have an output whatever happens.
    """
    name, text, task = reference.name, reference.text, environment.task
    if task is None and name in skippable and not reference.or_null:
        message = f"{text}: task {quoted(str(name))} may be skipped, so it may have no output"
        hint = f"${{OUTPUT[{name}]}} is null then"
        yield Mismatch(path, "maybe_absent", "warning", message, text, hint=hint)
    may_lack = environment.may_lack and reference.root == "OUTPUT" and not reference.or_null
    if task is None or name is None or not may_lack or name in has_output:
        return
    run_if = f"run_if is {task.policies.run_if}"
    hint = f"write ${{OUTPUT[{name}]}} to get null instead of an error"
    if name in environment.absent:
        why = f"has always failed when this task runs ({run_if}), so it has no output"
        message = f"{text}: task {quoted(name)} {why}"
        yield Mismatch(path, "never_an_output", "error", message, text, hint=hint)
    else:
        why = f"may have no output ({run_if}), and then this task fails"
        message = f"{text}: task {quoted(name)} {why}"
        yield Mismatch(path, "maybe_absent", "warning", message, text, hint=hint)
