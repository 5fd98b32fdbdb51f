"""Mistakes put into workflows, and whether the check of a plan finds them: a mutation test.

    originals  the workflows: the examples, and recorded plans where they are there
    worlds     their tools, with schemas, and what answers their calls in this process
    derived    schemas of the tools of recorded plans, from what was recorded
    sites      where a workflow says something, read as data
    mistakes   what a mistake is; the mistakes are in `names`, `values`, `shapes`, `writing`,
               and changes that are no mistakes in `harmless`
    oracle     runs a workflow for real, and checks arguments before each call
    sight      how far the schemas show that it fails, by `reading` them
    judging    what the run says, beside what the checker found
    trial      many mistakes, by a seed
    tables     the counts

The rule of this file: options, where the output goes, and the exit code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.mutation import tables, trial
from tests.mutation.originals import PLANS

COUNT, SEED = 2500, 1
MIN_WIDTH = 170

EXAMPLES = """\
examples:
  python -m tests.mutation                        2,500 changes
  python -m tests.mutation --seed 7 --count 20000
  python -m tests.mutation --json all.json        every single one

exit codes:
  0  everything that fails for a reason that the schemas show was reported in its place, and
     nothing else was reported as an error
  1  something was missed, misplaced, too mild or a false alarm; it is listed
  2  the usage is wrong
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description="Put mistakes into workflows, run each for real with a caller in this\n"
        "process, and compare what fails with what the check of the plan found before.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--seed", type=int, default=SEED, help="what chance begins with (%(default)s)")
    option("--count", type=_positive, default=COUNT, help="how many changes (%(default)s)")
    option(
        "--plans",
        type=Path,
        default=PLANS,
        metavar="DIR",
        help="recorded plans, files of JSON lines; where there are none, the examples alone",
    )
    option("--json", type=Path, metavar="FILE", help="save every change and what was said of it")
    option("--markdown", action="store_true", help="print Markdown for the documentation")
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    options = parser().parse_args(arguments)
    made = trial.run(options.count, options.seed, options.plans)
    if options.json:
        text = json.dumps(tables.document(made), indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.markdown:
        print(tables.markdown(made))
    else:
        _show(made)
    return 0 if made.holds else 1


def _show(made: trial.Trial) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, MIN_WIDTH))
    console.print(tables.heading(made), highlight=False, markup=False)
    console.print(tables.table(made))
    for line in tables.behind(made):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
