"""What ten tool calls cost a model, in tokens: one by one, side by side, and as one plan.

`python -m benchmarks.tokens` makes the calls on the mock servers, writes the messages that a model
would read and write, and counts them. It needs a tokenizer: `pip install bpe-openai`, which has its
vocabulary in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from orchestrator import Orchestrator
from orchestrator.documents.encode import to_json
from orchestrator.serve.answers import ServedTool
from orchestrator.serve.toolset import Toolset

ENCODING = "o200k_base"
CITIES = ("Paris", "Oslo", "Rome", "Lima", "Cairo")
TASK = "What is the weather in Paris, Oslo, Rome, Lima and Cairo, and the top story of each?"
PLAN: dict[str, Any] = {
    "tasks": [
        {
            "id": "weather",
            "tool": "weather:forecast",
            "for_each": list(CITIES),
            "arguments": {"city": "$ITEM"},
        },
        {
            "id": "news",
            "tool": "news:search",
            "for_each": list(CITIES),
            "arguments": {"query": "$ITEM", "limit": 3},
        },
    ],
    "output": {
        "weather": "${OUTPUT[weather][].{city: city, c: temperature_c, sky: conditions}}",
        "stories": "${OUTPUT[news][].items[0].title}",
    },
}
Count = Callable[[str], int]


@dataclass
class Turn:
    """What a model writes in one turn, and what it reads before the next."""

    calls: list[tuple[str, Any]]
    results: list[Any] = field(default_factory=list)

    def written(self) -> str:
        """The calls, as a model writes them."""
        return to_json([{"name": name, "arguments": given} for name, given in self.calls])

    def read(self) -> str:
        """The results, as it reads them."""
        return "\n".join(map(to_json, self.results))


@dataclass(frozen=True)
class Cost:
    """Tokens of a conversation.

    Attributes:
        turns: How often the model was asked; the last time it answers.
        definitions: Of the tools, in each prompt.
        read: Over all turns: each reads the tools and all that was before.
        written: The calls.
    """

    turns: int
    definitions: int
    read: int
    written: int


def cost_of(tools: Iterable[ServedTool], turns: Sequence[Turn], count: Count) -> Cost:
    """What a conversation costs with these tools; the final answer is the same in all of them."""
    shown = [
        {"name": t.name, "description": t.description, "parameters": t.input_schema} for t in tools
    ]
    definitions = count(to_json(shown))
    prompt = definitions + count(TASK)
    read, written = prompt, 0
    for turn in turns:
        calls = count(turn.written())
        written += calls
        prompt += calls + count(turn.read())
        read += prompt
    return Cost(len(turns) + 1, definitions, read, written)


async def _called(toolset: Toolset, groups: list[list[tuple[str, Any]]]) -> list[Turn]:
    turns = []
    for calls in groups:
        answers = [await toolset.call(name, given) for name, given in calls]
        for answer in answers:
            assert not answer.is_error, answer.document
        turns.append(Turn(calls, [answer.document for answer in answers]))
    return turns


async def measured(config: Path, count: Count) -> dict[str, Cost]:
    """The costs of the ways to make ten calls, by their names."""
    async with Orchestrator.from_config(config) as engine:
        single, planned = Toolset(engine, single_tools=True), Toolset(engine)
        own = {tool.name for tool in await planned.tools()}
        of_servers = [tool for tool in await single.tools() if tool.name not in own]
        of_engine = await planned.tools()
        calls: list[tuple[str, Any]] = [("weather__forecast", {"city": city}) for city in CITIES]
        calls += [("news__search", {"query": city, "limit": 3}) for city in CITIES]
        alone = await _called(single, [[call] for call in calls])
        beside = await _called(single, [calls])
        search = ("find_tools", {"query": "weather forecast, news search", "limit": 3})
        plan = ("parallel_execute", PLAN)
        found = await _called(planned, [[search], [plan]])
        known = await _called(planned, [[plan]])
    few = [tool for tool in of_engine if tool.name in ("parallel_execute", "find_tools")]
    return {
        f"one by one, {len(of_servers)} tools of servers": cost_of(of_servers, alone, count),
        "side by side in one turn, the same tools": cost_of(of_servers, beside, count),
        f"one plan, all {len(of_engine)} tools of the engine": cost_of(of_engine, found, count),
        "one plan, `parallel_execute` and `find_tools`": cost_of(few, found, count),
        "the same, without a search first": cost_of(few, known, count),
    }


def table(costs: dict[str, Cost]) -> str:
    """The costs as Markdown."""
    lines = [
        "| ten calls | turns | tools | read in all | written |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, each in costs.items():
        row = (name, each.turns, each.definitions, each.read, each.written)
        lines.append("| " + " | ".join(f"{v:,}" if isinstance(v, int) else v for v in row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    import bpe_openai

    encoding = bpe_openai.get_encoding(ENCODING)
    config = Path(__file__).parent.parent / "servers.toml"
    costs = anyio.run(measured, config, lambda text: len(encoding.encode(text)))
    print(f"tokens of {ENCODING}, counted by bpe-openai\n\n{table(costs)}")


if __name__ == "__main__":
    main()
