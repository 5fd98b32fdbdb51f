"""Templates that know their own value: what stands in a file, and by hand what it comes to.

The rule of this file: nothing is parsed and nothing of the package is used, so that a mistake of
the package cannot hide in what is expected of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Path = tuple[str | int, ...]


class UnresolvedError(Exception):
    """A reference leads nowhere, or an expression fails."""


@dataclass(frozen=True)
class View:
    """What a template can see: of the tasks that have settled, of its item, of its own failure.

    Attributes:
        items: The entries of `$ITEMS`.
        last: The answer of the turn before; null before the first.
        schedule: By which a workflow inside is run; templates cannot read it.
    """

    outputs: Mapping[str, Any]
    statuses: Mapping[str, str]
    kinds: Mapping[str, str]
    items: Mapping[str, Any]
    item: Any = None
    index: int | None = None
    failure: str | None = None
    last: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "generations"

    def at(self, index: int, item: Any) -> View:
        """The view of one item."""
        return replace(self, index=index, item=item)

    def after(self, failure: str) -> View:
        """The view of a fallback."""
        return replace(self, failure=failure)

    def told(self, answer: Any) -> View:
        """The view after a turn of `repeat`."""
        return replace(self, last=answer)


@dataclass(frozen=True)
class Term:
    """A template.

    Attributes:
        text: As it stands in the file.
        value: What it comes to.
        needs: The tasks that it names.
        of_item: Whether it names the item.
    """

    text: Any
    value: Callable[[View], Any] = field(repr=False)
    needs: frozenset[str] = frozenset()
    of_item: bool = False


def literal(value: Any) -> Term:
    return Term(value, lambda _: value)


def output(task: str, *path: str | int) -> Term:
    """`$OUTPUT[a].n`: an error if it is not there."""
    return Term(f"$OUTPUT[{task}]{_written(path)}", _output(task, path), frozenset({task}))


def text_around(task: str, *path: str | int) -> Term:
    """`it is $OUTPUT[a].n!`: text as it is, anything else as JSON."""
    value = _output(task, path)
    written = f"it is $OUTPUT[{task}]{_written(path)}!"
    return Term(written, lambda view: f"it is {_as_text(value(view))}!", frozenset({task}))


def braced(task: str, *path: str | int) -> Term:
    """`${OUTPUT[a].n}`: null without an output, and an error if the output has no such place."""
    value = _output(task, path)
    written = f"${{OUTPUT[{task}]{_written(path)}}}"
    return Term(
        written, lambda view: value(view) if task in view.outputs else None, frozenset({task})
    )


def or_none(task: str, name: str) -> Term:
    """`${not_null(OUTPUT[a].n, 'none')}`: never an error."""
    return Term(
        f"${{not_null(OUTPUT[{task}].{name}, 'none')}}",
        lambda view: _or(_member(view.outputs.get(task), name), "none"),
        frozenset({task}),
    )


def length(task: str, name: str) -> Term:
    """`${length(OUTPUT[a].n)}`: an error of everything that has no length."""

    def value(view: View) -> int:
        found = _member(view.outputs.get(task), name)
        if not isinstance(found, list | str | dict):
            raise UnresolvedError(f"length of {found!r}")
        return len(found)

    return Term(f"${{length(OUTPUT[{task}].{name})}}", value, frozenset({task}))


def status(task: str) -> Term:
    return Term(f"${{STATUS[{task}]}}", lambda view: view.statuses[task], frozenset({task}))


def kind_of(task: str) -> Term:
    """`$ERROR[a].kind`: an error if a did not fail."""

    def value(view: View) -> str:
        if task not in view.kinds:
            raise UnresolvedError(f"{task} has no error")
        return view.kinds[task]

    return Term(f"$ERROR[{task}].kind", value, frozenset({task}))


def kind_or_none(task: str) -> Term:
    return Term(
        f"${{not_null(ERROR[{task}].kind, 'none')}}",
        lambda view: view.kinds.get(task, "none"),
        frozenset({task}),
    )


def given(name: str, *path: str | int) -> Term:
    """`$INPUT.u`, inside of a workflow."""
    return Term(f"$INPUT.{name}{_written(path)}", lambda view: _follow(view.inputs[name], path))


def item(*path: str | int) -> Term:
    return Term(f"$ITEM{_written(path)}", lambda view: _follow(view.item, path))


def index() -> Term:
    return Term("$INDEX", lambda view: view.index)


def named_by_item(prefix: str) -> Term:
    return Term(f"{prefix}$ITEM", lambda view: prefix + _as_text(view.item), of_item=True)


def product(**lists: Term) -> Term:
    """An object of lists, as `for_each` has it: all combinations, the last name fastest."""

    def value(view: View) -> list[Any]:
        found: list[dict[str, Any]] = [{}]
        for name, term in lists.items():
            members = term.value(view)
            if not isinstance(members, list):
                raise UnresolvedError(f"{members!r} is no list")
            found = [{**each, name: member} for each in found for member in members]
        return found

    written = {name: term.text for name, term in lists.items()}
    return Term(written, value, frozenset().union(*(term.needs for term in lists.values())))


def item_is(wanted: int) -> Term:
    """A condition on the place of an item."""
    return Term(f"INDEX == `{wanted}`", lambda view: view.index == wanted)


def item_member(name: str) -> Term:
    return Term(f"ITEM.{name}", lambda view: _member(view.item, name))


def length_of_item() -> Term:
    """A condition that fails for everything that has no length."""

    def value(view: View) -> int:
        if not isinstance(view.item, list | str | dict):
            raise UnresolvedError(f"length of {view.item!r}")
        return len(view.item)

    return Term("length(ITEM)", value)


def last(*path: str | int) -> Term:
    """`$LAST.n`: null before the first answer and in null, an error where another has no `n`."""
    return Term(
        f"$LAST{_written(path)}",
        lambda view: None if view.last is None else _follow(view.last, path),
    )


def last_member(name: str) -> Term:
    """`LAST.n`, as in `until` and `collect`: null if it is not there."""
    return Term(f"LAST.{name}", lambda view: _member(view.last, name))


def last_length(name: str) -> Term:
    def value(view: View) -> int:
        found = _member(view.last, name)
        if not isinstance(found, list | str | dict):
            raise UnresolvedError(f"length of {found!r}")
        return len(found)

    return Term(f"length(LAST.{name})", value)


def items_of(task: str, name: str) -> Term:
    """`${ITEMS[a][*].n}`: a place in each entry; JMESPath leaves out what is null."""
    return Term(
        f"${{ITEMS[{task}][*].{name}}}",
        lambda view: [x[name] for x in view.items[task] if x[name] is not None],
        frozenset({task}),
    )


def kinds_of_items(task: str) -> Term:
    return Term(
        f"${{ITEMS[{task}][?status == 'error'].error.kind}}",
        lambda view: [x["error"]["kind"] for x in view.items[task] if x["status"] == "error"],
        frozenset({task}),
    )


def entry(task: str, place: int, name: str) -> Term:
    """`$ITEMS[a][0].n`: an error if there is no such item."""
    return Term(
        f"$ITEMS[{task}][{place}].{name}",
        lambda view: _follow(view.items[task], (place, name)),
        frozenset({task}),
    )


def own_failure() -> Term:
    """`$ERROR.kind`, as a fallback reads it."""
    return Term("$ERROR.kind", lambda view: view.failure)


def together(*terms: Term) -> Term:
    """A list of templates."""
    return Term(
        [term.text for term in terms],
        lambda view: [term.value(view) for term in terms],
        frozenset().union(*(term.needs for term in terms)),
    )


def bare(term: Term) -> Term:
    """An expression as `when` has it: without the braces."""
    return replace(term, text=term.text.removeprefix("${").removesuffix("}"))


def is_status(task: str, wanted: str) -> Term:
    return Term(
        f"STATUS[{task}] == '{wanted}'",
        lambda view: view.statuses[task] == wanted,
        frozenset({task}),
    )


def above(task: str, name: str, bound: float) -> Term:
    """A comparison; what is no number is not above anything."""

    def value(view: View) -> bool:
        found = _member(view.outputs.get(task), name)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return is_number and found > bound

    return Term(f"$OUTPUT[{task}].{name} > {bound}", value, frozenset({task}))


def member(task: str, name: str) -> Term:
    """A place as a condition, where it is null if it is not there."""
    return Term(
        f"OUTPUT[{task}].{name}",
        lambda view: _member(view.outputs.get(task), name),
        frozenset({task}),
    )


def is_true(value: Any) -> bool:
    """The truth of JMESPath: false, null and what is empty are false; 0 is true."""
    return not (value is None or value is False or value in ("", [], {}))


def _output(task: str, path: Path) -> Callable[[View], Any]:
    def value(view: View) -> Any:
        if task not in view.outputs:
            raise UnresolvedError(f"{task} has no output")
        return _follow(view.outputs[task], path)

    return value


def _follow(value: Any, path: Path) -> Any:
    for step in path:
        named = isinstance(step, str) and isinstance(value, dict) and step in value
        numbered = step in (0, -1) and isinstance(value, list) and value
        if not named and not numbered:
            raise UnresolvedError(f"no {step!r} in {value!r}")
        value = value[step]
    return value


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _written(path: Path) -> str:
    return "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)
