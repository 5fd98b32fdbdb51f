"""The mutation test at any size: `python -m tests.mutation --count 8000 --seed 7`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from tests.mutation import trial
from tests.mutation.worlds import PLANS

MAX_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts and what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description="Change workflows, run each, and compare what fails with what the checker "
        "found. Exit code 1: a visible failure was not reported in its place, or another was.",
    )
    parser.add_argument("--count", type=int, default=2500, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--plans", type=Path, default=PLANS, metavar="DIR", help="recorded plans, if there are any"
    )
    options = parser.parse_args(arguments)
    made = trial.run(options.count, options.seed, options.plans)
    print(f"{len(made.judged):,} mutants of {made.originals:,} workflows, seed {made.seed}\n")
    print(made.table())
    faults = list(made.faults())
    print(f"\n{len(faults)} faults", *islice(faults, MAX_SHOWN), sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
