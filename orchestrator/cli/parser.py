"""The parser of the command line, and the types of its values.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose error names the choice that a wrong one is a misspelling of."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = list(map(str, action.choices))
        meant = _meant(str(value), known) or f" (expected {', '.join(known)})"
        name = next(iter(action.option_strings), str(action.metavar or action.dest))
        raise argparse.ArgumentError(None, f'unknown {name.lower()} "{value}"{meant}')


class CommandParser(Parser):
    """A command: options and arguments in any order, and errors with the usage of the command."""

    _is_inside = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What begins so is a value, `-5s` as well as `-5`: its type says what is wrong with it.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    # argparse gives all of `NAME=VALUE ...` to the first place where one could be: a value after an
    # option would be unknown.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What argparse does, but nothing may be left."""
        if self._is_inside:
            return super().parse_known_args(args, namespace)
        self._is_inside = True
        try:
            known, left = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inside = False
        if left:
            self._refuse(left)
        return known, left

    def _refuse(self, left: Sequence[str]) -> NoReturn:
        unknown = [word for word in left if word.startswith("-")]
        if not unknown:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        options = [name for action in self._actions for name in action.option_strings]
        meant = _meant(unknown[0].partition("=")[0], options)
        self.error(f'unknown option "{unknown[0]}"{meant}')


def _meant(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, 1)
    return f'. Did you mean "{near[0]}"?' if near else ""


class Version(argparse.Action):
    """Prints the version."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        # `importlib.metadata` takes longer to import than the rest of `--help`.
        from importlib.metadata import version

        print(f"orchestrator {version('mcp-orchestrator')}")
        parser.exit()


def path(text: str) -> Path:
    """A file to read; `-` is stdin."""
    from orchestrator.documents.files import STDIN

    return STDIN if text == "-" else Path(text)


def pair(text: str) -> tuple[str, str]:
    """A name and its value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'expected NAME=VALUE, got "{text}"')
    return name, value


def pair_or_object(text: str) -> tuple[str, str]:
    """A name and its value; or no name, and a JSON object, `@FILE` or `-`."""
    return ("", text) if text == "-" or text.startswith(("{", "@")) else pair(text)


def count(text: str) -> int:
    """An integer of at least 0."""
    return _at_least(0, text)


def positive(text: str) -> int:
    """An integer of at least 1."""
    return _at_least(1, text)


def _at_least(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f'expected an integer of at least {least}, got "{text}"')
    return int(text)


def seconds(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f'expected a number of seconds above 0, got "{text}"')
    return number


def minutes(text: str) -> float:
    """A number above 0."""
    try:
        return seconds(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(str(error).replace("seconds", "minutes", 1)) from None


def delay(text: str) -> float:
    """So long from now as `10m`; seconds since 1970."""
    from time import time

    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    try:
        return time() + seconds(text[:-1]) * units[text[-1:]]
    except (KeyError, argparse.ArgumentTypeError):
        message = f'expected a time such as 30s, 10m, 12h or 7d, got "{text}"'
        raise argparse.ArgumentTypeError(message) from None


def at(text: str) -> float:
    """A moment to come, or the next time that a clock shows this; seconds since 1970."""
    from datetime import datetime, time, timedelta

    try:
        if text[2:3] == ":":
            clock = time.fromisoformat(text)
            now = datetime.now(clock.tzinfo)
            found = datetime.combine(now.date(), clock)  # in the zone that it names, if any
            return (found if found > now else found + timedelta(days=1)).timestamp()
        moment = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        forms = "2026-01-31T03:00 or 03:00, either also with an offset such as +02:00 or Z"
        message = f'expected a time such as {forms}, got "{text}"'
        raise argparse.ArgumentTypeError(message) from None
    if moment <= datetime.now().timestamp():
        expected = f'expected a time to come, got "{text}", which has passed'
        raise argparse.ArgumentTypeError(f"{expected}; without it the run begins at once")
    return moment


def place(text: str) -> str:
    """A file or a URL; an empty text is most likely a variable that is not set."""
    if not text.strip():
        message = "expected a file or a URL, got an empty text: is a variable of your shell unset?"
        raise argparse.ArgumentTypeError(message)
    return text


def name(text: str) -> str:
    """A name; an empty text is most likely a variable that is not set."""
    if not text.strip():
        message = "expected a name, got an empty text: is a variable of your shell unset?"
        raise argparse.ArgumentTypeError(message)
    return text


def label(text: str) -> str:
    """A label of a worker."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a label, got an empty one")
    return text


def integer(text: str) -> int:
    """An integer."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected an integer, got "{text}"') from None


def moment(text: str) -> float:
    """A date, or so long ago as `7d`, `12h`, `30m`; seconds since 1970."""
    from datetime import datetime
    from time import time

    units = {"d": 86_400.0, "h": 3600.0, "m": 60.0}
    try:
        if text[-1:] in units:
            return time() - seconds(text[:-1]) * units[text[-1]]
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, argparse.ArgumentTypeError):
        message = f'expected a date such as 2026-01-31, or a time such as 7d or 12h, got "{text}"'
        raise argparse.ArgumentTypeError(message) from None


def file(what: str, *, read: bool = False) -> dict[str, Any]:
    """An option for a file; one that is read may be stdin."""
    return {"type": path if read else Path, "metavar": "FILE", "help": what}


def flag(what: str) -> dict[str, Any]:
    """An option without a value."""
    return {"action": "store_true", "help": what}
