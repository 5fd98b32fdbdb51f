"""The functions of an expression: those of the `jmespath` library, and ours beside them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from jmespath import exceptions, functions

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import alternatives, counted, quoted
from orchestrator.expressions import arithmetic
from orchestrator.expressions.arithmetic import ArithmeticRangeError, Number
from orchestrator.expressions.lexer import ExpressionSyntaxError

_Function = TypeVar("_Function", bound=Callable[..., Any])
_CHARACTERS_PER_STEP = 50  # where a text is parsed, or changed letter by letter


class FunctionError(exceptions.JMESPathError):
    """A function got a value that it does not take.

    `current_value` is that value, if its type is wrong. With None a dry run goes on: what has no
    result for the values that it makes up may have one for those of the tools.
    """

    def __init__(self, message: str, current_value: Any = None) -> None:
        self.current_value = current_value
        super().__init__(message)


class Budget(Protocol):
    """What an evaluation may still use."""

    def reserve(self, values: int, characters: int = 0) -> None:
        """Raise before so much is made."""

    def spend(self, steps: int) -> None: ...

    def root(self, name: str) -> Any:
        """A part of the run's document."""


def _takes(*parameters: str) -> Callable[[_Function], _Function]:
    """The types of parameters, such as `string|null`; `?` marks an optional one, `*` any number."""

    def mark(function: _Function) -> _Function:
        function.signature = tuple(  # type: ignore[attr-defined]  # the library reads it
            {
                "types": [] if each.startswith("any") else each.rstrip("?*").split("|"),
                "optional": each.endswith("?"),
                "variadic": each.endswith("*"),
            }
            for each in parameters
        )
        return function

    return mark


class Functions(functions.Functions):
    """What a function name means; arguments are checked, and sizes before anything is made."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def _validate_arguments(
        self, args: Sequence[Any], signature: Sequence[Any], function_name: str
    ) -> None:
        # Their number is checked when the expression is compiled.
        for number, argument in enumerate(args, 1):
            types = signature[min(number, len(signature)) - 1]["types"]
            if types and (wrong := list(itertools.islice(_not_of(types, argument), 1))):
                place = f"parameter {number} of " if len(args) > 1 else ""
                raise _refused(f"{place}{function_name}()", types, argument, wrong[0])

    # JSON

    @_takes("string|array|object")
    def _func_from_json(self, text: Any) -> Any:
        if not isinstance(text, str):  # a text that is one was parsed when it came
            return text
        self._budget.reserve(text.count(",") + 1)
        self._budget.spend(len(text) // _CHARACTERS_PER_STEP)
        try:
            return parse_json(text)
        except DocumentError as error:
            message = f"from_json() expects JSON, got {describe(text)}"
            raise FunctionError(f"{message}: {str(error).removeprefix('invalid JSON: ')}") from None

    @_takes("any")
    def _func_to_json(self, value: Any) -> str:
        made = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return self._text(made)

    # Text

    @_takes("string")
    def _func_lower(self, text: str) -> str:
        return self._text(text.lower())

    @_takes("string")
    def _func_upper(self, text: str) -> str:
        return self._text(text.upper())

    @_takes("string", "string?")
    def _func_trim(self, text: str, characters: str | None = None) -> str:
        return text.strip(characters)

    @_takes("string", "string?", "integer?")
    def _func_split(self, text: str, by: str | None = None, most: Number = math.inf) -> list[str]:
        pieces = _count("split", most)
        if by is None:
            self._budget.reserve(len(text) // 2 + 1)
            return text.split()
        if by:
            found = text.count(by)
            self._budget.reserve((found if pieces < 0 else min(found, pieces)) + 1)
            return text.split(by, pieces)
        self._budget.reserve(len(text) if pieces < 0 else min(len(text), pieces + 1))
        if pieces < 0 or pieces >= len(text):
            return list(text)
        return [*text[:pieces], text[pieces:]]

    @_takes("string", "string", "string", "integer?")
    def _func_replace(self, text: str, old: str, new: str, most: Number = math.inf) -> str:
        times, found = _count("replace", most), text.count(old)
        found = found if times < 0 else min(found, times)
        self._budget.reserve(0, len(text) + found * (len(new) - len(old)))
        self._budget.spend(len(text) // _CHARACTERS_PER_STEP)
        return text.replace(old, new, times)

    def _text(self, made: str) -> str:
        self._budget.reserve(0, len(made))
        self._budget.spend(len(made) // _CHARACTERS_PER_STEP)
        return made

    # Arrays

    @_takes("array*")
    def _func_zip(self, *arrays: list[Any]) -> list[list[Any]]:
        self._budget.reserve(min(map(len, arrays)) * (len(arrays) + 1))
        return [list(items) for items in zip(*arrays, strict=False)]

    @_takes("array*")
    def _func_product(self, *arrays: list[Any]) -> list[list[Any]]:
        self._budget.reserve(math.prod(map(len, arrays)) * (len(arrays) + 1))
        return [list(items) for items in itertools.product(*arrays)]

    @_takes("integer", "integer?", "integer?")
    def _func_range(self, start: Number, stop: Number | None = None, step: Number = 1) -> list[int]:
        first, last = (0, int(start)) if stop is None else (int(start), int(stop))
        if step == 0:
            raise FunctionError("the step of range() cannot be 0")
        # Counted without len(), which has an upper bound of its own.
        self._budget.reserve(max(0, -((first - last) // int(step))))
        return list(range(first, last, int(step)))

    @_takes("array", "integer?")
    def _func_enumerate(self, array: list[Any], start: Number = 0) -> list[list[Any]]:
        self._budget.reserve(3 * len(array))
        return [[index, item] for index, item in enumerate(array, int(start))]

    @_takes("string|array", "integer|null", "integer|null?", "integer|null?")
    def _func_slice(
        self, value: Any, start: Number | None, stop: Number | None = None, step: Any = None
    ) -> Any:
        if step == 0:
            raise FunctionError("the step of slice() cannot be 0")
        return value[slice(*(None if each is None else int(each) for each in (start, stop, step)))]

    @_takes("array", "integer")
    def _func_at(self, array: list[Any], index: Number) -> Any:
        place = int(index)
        return array[place] if -len(array) <= place < len(array) else None

    @_takes("array")
    def _func_count_null(self, array: list[Any]) -> int:
        return sum(item is None for item in array)

    # Numbers

    @_takes("number", "number*")
    def _func_add(self, *numbers: Number) -> Number:
        return _computed("add", arithmetic.add, *numbers)

    @_takes("number", "number")
    def _func_subtract(self, first: Number, second: Number) -> Number:
        return _computed("subtract", arithmetic.subtract, first, second)

    @_takes("number", "number*")
    def _func_multiply(self, *numbers: Number) -> Number:
        return _computed("multiply", arithmetic.multiply, *numbers)

    @_takes("number", "number")
    def _func_divide(self, first: Number, second: Number) -> Number:
        return _computed("divide", arithmetic.divide, first, second)

    @_takes("number", "number")
    def _func_mod(self, first: Number, second: Number) -> Number:
        return _computed("mod", arithmetic.mod, first, second)

    @_takes("number", "integer?")
    def _func_round(self, number: Number, places: Number = 0) -> Number:
        return _computed("round", arithmetic.rounded, number, int(places))

    # The run

    @_takes()
    def _func_now_iso(self) -> Any:
        return (self._budget.root("RUN") or {}).get("started_at")


# Names from other languages that are more like a wrong function than like the one that is meant.
_CALLED_HERE = {
    **dict.fromkeys(("substr", "substring"), "slice"),
    **dict.fromkeys(("count", "len", "size"), "length"),
    **dict.fromkeys(("concat", "format"), "join"),
    **dict.fromkeys(("coalesce", "default"), "not_null"),
    **dict.fromkeys(("get", "nth"), "at"),
    "int": "to_number",
    "str": "to_string",
    "strip": "trim",
    "now": "now_iso",
    "plus": "add",
    "sub": "subtract",
    "times": "multiply",
    "div": "divide",
}
SIGNATURES = {name: known["signature"] for name, known in Functions.FUNCTION_TABLE.items()}


def check_count(name: str, count: int) -> None:
    """Raise an ExpressionSyntaxError for an unknown function, or a wrong number of arguments."""
    if (signature := SIGNATURES.get(name)) is None:
        known = f" (known functions: {', '.join(sorted(SIGNATURES))})"
        meant = _CALLED_HERE.get(name.casefold(), name)
        instead = did_you_mean(meant, [meant] if meant in SIGNATURES else SIGNATURES) or known
        raise ExpressionSyntaxError(f"unknown function {quoted(name)}{instead}")
    least = sum(not parameter.get("optional") for parameter in signature)
    variadic = bool(signature) and signature[-1].get("variadic", False)
    if count >= least and (variadic or count <= len(signature)):
        return
    wanted = f"{'at least ' if variadic else ''}{counted(least, 'argument')}"
    if least < len(signature):
        wanted = f"{least} to {counted(len(signature), 'argument')}"
    raise ExpressionSyntaxError(f"{name}() takes {wanted}, got {count}")


def _not_of(types: Sequence[str], argument: Any) -> Iterator[Any]:
    """The argument if it is of none of the types, such as `array-number`; else its wrong items."""
    kind = _kind(argument)
    if kind == "number" and "integer" in types and (type(argument) is int or argument % 1 == 0):
        return
    items = [each.partition("-")[2] for each in types if each.partition("-")[0] == kind]
    if not items:
        yield argument
    elif all(items) and argument:
        first = _kind(argument[0])  # all items are of one type
        yield from (item for item in argument if first not in items or _kind(item) != first)


def _kind(value: Any) -> str:
    """The type as the library names it: integers are numbers, and booleans are none."""
    return functions.TYPES_MAP.get(type(value).__name__, "unknown")


def _refused(place: str, types: Sequence[str], argument: Any, wrong: Any) -> FunctionError:
    wanted = alternatives(each.replace("-", " of ") for each in types)
    given = describe(argument) if wrong is argument else f"array with {describe(wrong)}"
    hint = ""
    if "number" in types and isinstance(argument, str):
        hint = "; to_number() converts a string, join('', [...]) puts strings together"
    return FunctionError(f"{place} expects {wanted}, got {given}{hint}", wrong)


def _count(name: str, most: Number) -> int:
    """How often a text is cut or changed at most; -1 without a limit, as Python has it."""
    if most < 0:
        raise FunctionError(f"the count of {name}() cannot be negative, got {most}")
    return -1 if most == math.inf else int(most)


def _computed(name: str, compute: Callable[..., Number], *numbers: Number) -> Number:
    try:
        return compute(*numbers)
    except ArithmeticRangeError as fault:
        shown = ", ".join(describe(number).partition(" ")[2] for number in numbers)
        raise FunctionError(f"{name}({shown}) {fault}") from None
