"""Chaos tests at their full size: `python -m tests.chaos kills`, `python -m tests.chaos faults`."""

from __future__ import annotations

import sys

from tests.chaos import answers, crowd, faults, kills, openings, resumes, syncs, workers, writers

COMMANDS = {
    "answers": answers.main,
    "crowd": crowd.main,
    "faults": faults.main,
    "kills": kills.main,
    "openings": openings.main,
    "resumes": resumes.main,
    "syncs": syncs.main,
    "workers": workers.main,
    "writers": writers.main,
}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names; return its exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m tests.chaos {{{','.join(COMMANDS)}}} [options]", file=sys.stderr)
        return 2
    return COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
