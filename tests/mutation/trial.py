"""Many mistakes, each put into a workflow, run, checked and judged.

The rule of this file: it connects the parts. Chance decides by the seed alone; time is virtual, so
that what the mock servers wait costs nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from orchestrator import Orchestrator, WorkflowError
from orchestrator.errors import Problem
from tests.mutation import harmless, names, shapes, values, writing
from tests.mutation.judging import (
    FAULTS,
    Judged,
    errors_of,
    judge,
    judge_mend,
    mend,
    news,
    nowhere,
)
from tests.mutation.mistakes import Kind, Make, Mistake
from tests.mutation.oracle import Outcome, observe
from tests.mutation.originals import PLANS, Original, originals
from tests.mutation.sites import Document
from tests.mutation.worlds import World
from tests.virtual_asyncio import VirtualLoop

MAKES: dict[Kind, tuple[Make, ...]] = {
    "wrong id": names.IDS,
    "wrong tool": names.TOOLS,
    "argument name": names.ARGUMENTS,
    "type": values.TYPES,
    "path": values.PATHS,
    "cycle": shapes.CYCLES,
    "missing task": shapes.MISSING,
    "bad expression": writing.EXPRESSIONS,
    "malformed reference": writing.SPELLINGS,
    "no mistake": harmless.HARMLESS,
}
# How often the examples are taken, which say more than recorded plans: expressions, inputs, lists.
EXAMPLES_SHARE = 0.25
TRIES = 40

Check = Callable[[World, Document], Awaitable[list[Problem]]]
Made = tuple[Original, Kind, Make, Mistake]


@dataclass(repr=False)  # asyncio would write it out, all of it
class Trial:
    """What a trial came to.

    Attributes:
        seed: What chance began with.
        findings: What the checker found in each original that it found something in.
        originals: How many workflows there are; each is taken with open and with closed schemas.
        judged: Each mistake, and what became of it.
    """

    seed: int
    originals: int = 0
    findings: list[tuple[Original, Problem]] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    @property
    def errors(self) -> list[tuple[Original, Problem]]:
        """The findings in originals that say that they will fail: false alarms."""
        return [(each, finding) for each, finding in self.findings if errors_of([finding])]

    @property
    def lost(self) -> list[tuple[Original, Problem]]:
        """The findings, in originals and mistakes, that stand nowhere in the file."""
        made = [
            (each, finding) for each, finding in self.findings if nowhere(each.document, [finding])
        ]
        return made + [(each.original, finding) for each in self.judged for finding in each.lost]

    @property
    def faults(self) -> list[Judged]:
        """The mistakes of which the checker said the wrong thing."""
        return [judged for judged in self.judged if judged.verdict in FAULTS]

    @property
    def holds(self) -> bool:
        """Whether the checker has said nothing wrong and left nothing out."""
        return not (self.faults or self.errors or self.lost)


def run(count: int, seed: int, plans: Path = PLANS) -> Trial:
    """Make so many mistakes, on an event loop of its own whose time is virtual."""
    options = {"loop_factory": VirtualLoop}
    return anyio.run(trial, count, seed, plans, backend="asyncio", backend_options=options)


async def trial(count: int, seed: int, plans: Path = PLANS) -> Trial:
    """Make so many mistakes.

    Args:
        count: How many.
        seed: What chance begins with: the same seed, the same mistakes.
        plans: The folder of recorded plans; it may be missing.
    """
    found = await originals(plans)
    made = Trial(seed, len(found) // 2)
    async with _checkers(found) as check:
        known: dict[int, tuple[list[Problem], Outcome]] = {}
        for original in found:
            findings = await check(original.world, original.document)
            made.findings += [(original, finding) for finding in findings]
            known[id(original)] = findings, await observe(original.document, original)
        for original, kind, make, mistake in mistakes(found, count, random.Random(seed)):
            findings, fails = known[id(original)]
            outcome = await observe(mistake.document, original, mistake.in_expressions)
            outcome.failures = [each for each in outcome.failures if each not in fails.failures]
            new = news(await check(original.world, mistake.document), findings)
            verdict = judge(mistake, outcome, new)
            mended = mend(mistake.document, new)
            left = news(await check(original.world, mended), findings) if mended else ()
            mends = judge_mend(original.document, mended, left)
            name = make.__name__.replace("_", " ")
            made.judged.append(Judged(original, kind, name, mistake, outcome, new, verdict, mends))
    return made


@asynccontextmanager
async def _checkers(found: Sequence[Original]) -> AsyncIterator[Check]:
    """What checks a workflow as `orchestrator validate` does, against servers with its tools."""
    worlds = {original.world.name: original.world for original in found}
    async with AsyncExitStack() as stack:
        asked = {
            name: await stack.enter_async_context(Orchestrator(world.servers()))
            for name, world in worlds.items()
        }

        async def check(world: World, document: Document) -> list[Problem]:
            try:
                return await asked[world.name].findings(document)
            except WorkflowError as error:
                return list(error.problems)

        yield check


def mistakes(found: Sequence[Original], count: int, chance: random.Random) -> Iterator[Made]:
    """So many mistakes, no two the same, of each sort about as many; fewer if there are no more."""
    examples = [original for original in found if original.world.name.startswith("examples")]
    recorded = [original for original in found if original not in examples]
    sorts = [(kind, make) for kind, makes in MAKES.items() for make in makes]
    seen: set[str] = set()
    while sorts and len(seen) < count:
        for sort in list(sorts):
            made = _new(sort, examples, recorded, chance, seen)
            if made is None:
                sorts.remove(sort)
            elif len(seen) <= count:
                yield made


def _new(
    sort: tuple[Kind, Make],
    examples: Sequence[Original],
    recorded: Sequence[Original],
    chance: random.Random,
    seen: set[str],
) -> Made | None:
    """A mistake of a sort that was not seen yet, or None if none is found in some tries."""
    kind, make = sort
    for _ in range(TRIES):
        of_examples = not recorded or chance.random() < EXAMPLES_SHARE
        original = chance.choice(examples if of_examples else recorded)
        mistake = make(original, chance)
        if mistake is None or mistake.document == original.document:
            continue
        key = f"{original.world.name} {json.dumps(mistake.document)}"
        if key not in seen:
            seen.add(key)
            return original, kind, make, mistake
    return None
