"""Evaluates the tree of an expression, within bounds of its steps and of what it makes.

An expression runs in the event loop, where nothing interrupts it: `[@, @] | [@, @] | ...` doubles
its value with each pipe.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Protocol

from jmespath import visitor

from orchestrator.expressions.functions import Functions
from orchestrator.expressions.lexer import marked_root, names_an_id
from orchestrator.expressions.scope import WRAPPED_AS, SlowExpressionError

MAX_STEPS = 2_000_000  # each takes about half a microsecond
MAX_VALUES = 10_000_000  # in a value that an expression makes, each as often as it occurs
MAX_TEXT = 100_000_000  # characters in it
# What C code handles in one step.
_VALUES_PER_STEP = 8
_CHARACTERS_PER_STEP = 1000
# These read all of their arguments.
_BY_CONTENT = frozenset({"contains", "join", "to_json", "to_string"})
_EQUALITY = frozenset({"eq", "ne"})


# After so many steps an expression goes on in a thread.
QUICK_STEPS = 1000
_HOLDERS = (list, dict)  # quicker than `list | dict` for millions of values


class BudgetError(Exception):
    """An expression takes too many steps, or makes too large a value."""


def check_size(values: int, characters: int = 0) -> None:
    """Raise a `BudgetError` if a value is too large to be made."""
    if values > MAX_VALUES:
        raise BudgetError(f"makes more than {MAX_VALUES:,} values")
    if characters > MAX_TEXT:
        raise BudgetError(f"makes more than {MAX_TEXT:,} characters")


class Document(Protocol):
    """What an expression is evaluated over, such as a `Scope`."""

    def get(self, name: str, /) -> Any: ...


class Interpreter(visitor.TreeInterpreter):
    """The library's, for which a marked name is a root of the document wherever it stands."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self._functions = Functions(self)
        self._document = document
        self._steps, self._until = 0, QUICK_STEPS
        self._quick = getattr(document, "quick", False)
        self._wrapped = getattr(document, "wrapped", {})
        self._sizes: dict[int, tuple[Any, int]] = {}  # with the value, so that no other has its id

    def evaluate(self, tree: Any) -> Any:
        """The value of a whole expression, once; raises a `BudgetError`."""
        try:
            value = self.visit(tree, self._document)
            if tree["type"] != "field" and isinstance(value, list | dict):
                self._size(value)
            return value
        finally:
            # Its functions and methods refer to it: only the collector would free what it has made.
            vars(self).clear()

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_field(self, node: Any, value: Any) -> Any:
        if (root := marked_root(node["value"])) is not None:
            by_id = root == "ERROR" and names_an_id(node["value"])
            return self._document.get("ERROR[" if by_id else root)
        found = super().visit_field(node, value)
        if found is None and node["value"] == WRAPPED_AS and id(value) in self._wrapped:
            has_own = isinstance(value, dict) and WRAPPED_AS in value
            return None if has_own else value
        return found

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.spend(len(base) // _VALUES_PER_STEP)  # before they are looked at
        values = sum(len(each) if isinstance(each, list) else 1 for each in base)
        check_size(values)
        self.spend(max(0, values - len(base)) // _VALUES_PER_STEP)
        return list(
            chain.from_iterable(each if isinstance(each, list) else (each,) for each in base)
        )

    def visit_multi_select_list(self, node: Any, value: Any) -> Any:
        made = super().visit_multi_select_list(node, value)
        return made if made is None else self._checked(made, made)

    def visit_multi_select_dict(self, node: Any, value: Any) -> Any:
        made = super().visit_multi_select_dict(node, value)
        return made if made is None else self._checked(made, made.values())

    def visit_comparator(self, node: Any, value: Any) -> Any:
        if node["value"] not in _EQUALITY:
            return super().visit_comparator(node, value)
        left, right = (self.visit(child, value) for child in node["children"])
        if isinstance(left, list | dict) and isinstance(right, list | dict):
            self.spend(min(self._size(left), self._size(right)) // _VALUES_PER_STEP)
        return self.COMPARATOR_FUNC[node["value"]](left, right)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name = node["value"]
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            if isinstance(argument, str):
                self.spend(len(argument) // _CHARACTERS_PER_STEP)
            elif isinstance(argument, list | dict):
                number = self._size(argument) if name in _BY_CONTENT else len(argument)
                self.spend(number // _VALUES_PER_STEP)
        if name == "join" and isinstance(arguments[0], str) and isinstance(arguments[1], list):
            check_size(0, len(arguments[0]) * len(arguments[1]))
        return self._functions.call_function(name, arguments)

    def spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > self._until:
            self._go_on()

    def _go_on(self) -> None:
        if self._quick:
            raise SlowExpressionError
        if self._steps > MAX_STEPS:
            raise BudgetError(f"takes more than {MAX_STEPS:,} steps")
        self._until = MAX_STEPS

    def reserve(self, values: int, characters: int = 0) -> None:
        check_size(values, characters)
        self.spend(values // _VALUES_PER_STEP)

    def root(self, name: str) -> Any:
        return self._document.get(name)

    def _checked(self, made: Any, parts: Any) -> Any:
        if any(isinstance(part, _HOLDERS) for part in parts):
            self._size(made)
        return made

    def _size(self, value: Any) -> int:
        """How many values there are in a value, each as often as it occurs."""
        if (known := self._sizes.get(id(value))) is not None:
            return known[1]
        size = characters = 0
        level = {id(value): (value, 1)}
        while level:
            self.spend(len(level))
            below: dict[int, tuple[Any, int]] = {}
            for holder, times in level.values():
                size += times * len(holder)
                for part in holder.values() if isinstance(holder, dict) else holder:
                    if isinstance(part, str):
                        characters += times * len(part)
                    elif isinstance(part, _HOLDERS):
                        before = below.get(id(part), (part, 0))[1]
                        below[id(part)] = part, before + times
                check_size(size, characters)
            level = below
        self._sizes[id(value)] = value, size
        self.spend(size // _VALUES_PER_STEP)
        return size
