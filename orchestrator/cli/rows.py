"""Tables of the command line; nothing of what may be in them, so that a list of it is instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from orchestrator.documents.text import name_of

NO_TERMINAL = 160  # columns, where no terminal sets a width
# The columns that hold numbers.
_COUNTS = ("gen", "time", "attempts", "calls", "start", "tools")
NUMBERS = (*_COUNTS, "ended", "succeeded", "P50", "P95", "total")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of texts on stdout; the last column takes the room that is left."""
    table = new_table(*columns)
    table.columns[0].no_wrap = True
    table.columns[-1].ratio = 1
    for row in rows:
        table.add_row(*cells(row))
    new_console().print(table)


def cells(row: Sequence[str]) -> Iterator[Text]:
    """The cells of a row; servers write these: a terminal must not obey them."""
    return (Text(name_of(text)) for text in row)


def new_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = NO_TERMINAL
    return console


def new_table(*headings: str) -> Table:
    """A table with these headings."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        is_number = heading in NUMBERS
        justify: JustifyMethod = "right" if is_number else "left"
        table.add_column(heading, justify=justify, no_wrap=is_number, overflow="fold")
    return table
