"""The options that all commands have."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(command: str, description: str, epilog: str, rounds: str) -> argparse.ArgumentParser:
    """A parser with the common options.

    Args:
        command: The name of the command after `python -m benchmarks`; empty for the main one.
        description: What the command does.
        epilog: Printed as it is after the options.
        rounds: The help text of `--rounds`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {command}".strip(),
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=rounds)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all numbers as JSON")
    return parser


def add_check_and_backend(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that measure this package alone."""
    add_check(parser)
    parser.add_argument(
        "--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s"
    )


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes a missed target an error."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if a target is missed by more than its margin",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
