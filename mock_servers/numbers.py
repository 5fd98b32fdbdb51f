"""Tools on numbers. Run it with `-m`: as a bare script it would hide the standard `numbers`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from statistics import fmean, median

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from mock_servers.serve import READ_ONLY, run

MAX_VALUES = 100_000
MAX_EXPONENT = 1000

METRES = {"mm": 0.001, "cm": 0.01, "m": 1, "km": 1000, "in": 0.0254, "ft": 0.3048, "mi": 1609.344}
"""Lengths in metres; inch, foot and mile as fixed by the international yard of 1959."""

KELVIN = {"C": (1.0, 273.15), "F": (5 / 9, 459.67 * 5 / 9), "K": (1.0, 0.0)}
"""Temperatures in kelvin: factor, then offset."""

OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

server = MCPServer("numbers", instructions="Arithmetic, statistics and units.", log_level="WARNING")


class Statistics(BaseModel):
    """A list of numbers in short."""

    count: int
    sum: float
    mean: float
    median: float
    min: float
    max: float


class Values(BaseModel):
    """A list of whole numbers."""

    values: list[int]


class Sum(BaseModel):
    """The sum of two numbers."""

    sum: float


class Quantity(BaseModel):
    """A number and its unit."""

    value: float
    unit: str


class Calculation(BaseModel):
    """The value of an expression, written as text."""

    result: str


@server.tool(annotations=READ_ONLY)
async def statistics(values: list[float]) -> Statistics:
    """Give count, sum, mean, median, minimum and maximum of a list of numbers."""
    if not values:
        raise ToolError("the list is empty: statistics need at least one number")
    return Statistics(
        count=len(values),
        sum=sum(values),
        mean=fmean(values),
        median=median(values),
        min=min(values),
        max=max(values),
    )


@server.tool(name="range", annotations=READ_ONLY)
async def whole_numbers(start: int, stop: int, step: int = 1) -> Values:
    """List the whole numbers from start up to, but without, stop."""
    if step == 0:
        raise ToolError("step is 0: the list would never end")
    found = range(start, stop, step)
    if len(found) > MAX_VALUES:
        raise ToolError(f"that would be {len(found)} numbers; the most is {MAX_VALUES}")
    return Values(values=list(found))


@server.tool(annotations=READ_ONLY)
async def add(a: float, b: float) -> Sum:
    """Add two numbers."""
    return Sum(sum=a + b)


@server.tool(annotations=READ_ONLY)
async def convert(value: float, from_unit: str, to_unit: str) -> Quantity:
    """Convert a length (mm, cm, m, km, in, ft, mi) or a temperature (C, F, K)."""
    if from_unit in METRES and to_unit in METRES:
        return Quantity(value=value * METRES[from_unit] / METRES[to_unit], unit=to_unit)
    if from_unit in KELVIN and to_unit in KELVIN:
        factor, offset = KELVIN[from_unit]
        to_factor, to_offset = KELVIN[to_unit]
        converted = (value * factor + offset - to_offset) / to_factor
        return Quantity(value=round(converted, 9), unit=to_unit)
    raise ToolError(
        f"cannot convert {from_unit!r} to {to_unit!r}: "
        f"take two of {', '.join(METRES)}, or two of {', '.join(KELVIN)}"
    )


@server.tool(annotations=READ_ONLY)
async def calculate(expression: str) -> Calculation:
    """Work out an expression such as `2 * (3 + 4)`; the result is a number written as text."""
    try:
        result = _value(ast.parse(expression.strip(), mode="eval").body)
        if isinstance(result, complex):
            raise ValueError("the result is not a real number")
        return Calculation(result=str(result))
    except (SyntaxError, ArithmeticError, ValueError, RecursionError) as error:
        raise ToolError(f"cannot calculate {expression!r}: {error}") from error


def _value(node: ast.expr) -> float:
    """Evaluate numbers and arithmetic operators; anything else is a `ValueError`."""
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            first, second = _value(left), _value(right)
            if isinstance(op, ast.Pow) and max(abs(first), abs(second)) > MAX_EXPONENT:
                raise ValueError(f"powers are limited to numbers up to {MAX_EXPONENT}")
            return OPERATORS[type(op)](first, second)
    raise ValueError(f"{ast.unparse(node)!r} is no number and no arithmetic")


if __name__ == "__main__":
    run(server)
