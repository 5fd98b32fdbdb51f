"""What workers carry in the chaos test of them."""

from __future__ import annotations

from typing import Any


def _call(task: str, tool: str, key: str, ms: int, **more: Any) -> dict[str, Any]:
    limits = {name: more.pop(name) for name in ("mb",) if name in more}
    arguments = {"key": f"$INPUT.n-{key}", "ms": ms, **limits}
    return {"id": task, "tool": f"ledger:{tool}", "arguments": arguments, **more}


def workflow(ms: int) -> dict[str, Any]:
    """A workflow whose calls take so many milliseconds; the keys of its calls are told apart."""
    items = list(range(6))
    return {
        "name": "load",
        "inputs": {"n": {"type": "integer"}},
        "max_concurrency": 3,
        "tasks": [
            _call("first", "write", "first", ms),
            _call("each", "write", "each-$INDEX", ms, for_each=items, depends_on=["first"]),
            _call("looks", "read", "looks-$INDEX", ms, for_each=items),
            _call("polled", "poll", "polled", ms,
                  repeat={"until": "LAST.done", "every_s": 0.1, "max_times": 9}),
            _call("big", "big", "big", ms, mb=4, depends_on=["first"]),
            _call("last", "write", "last", ms, depends_on=["each", "looks", "polled", "big"]),
        ],
        "finally": [_call("clean", "write", "clean", ms)],
        "output": {
            "first": "$OUTPUT[first].key",
            "each": "${OUTPUT.each[*].key}",
            "looks": "${OUTPUT.looks[*].key}",
            "polled": "$OUTPUT[polled].done",
            "big": "$OUTPUT[big].key",
            "last": "$OUTPUT[last].key",
        },
    }  # fmt: skip


def expected(n: int) -> dict[str, Any]:
    """The output of a run that nothing disturbs."""
    said: dict[str, Any] = {name: f"{n}-{name}" for name in ("first", "big", "last")}
    said |= {name: [f"{n}-{name}-{item}" for item in range(6)] for name in ("each", "looks")}
    return said | {"polled": True}
