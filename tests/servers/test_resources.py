"""What a servers' file says of the locks of tasks, and workflows that want more than there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.errors import ConfigError, WorkflowError
from orchestrator.preflight import tool_problems
from orchestrator.servers.config import Server, ServerTable, locking_of
from orchestrator.servers.config_file import load_config
from orchestrator.servers.pool import ServerPool
from tests.fakes import workflow

SERVERS = '\n[servers.a]\ncommand = "a"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "servers.toml"
    path.write_text(text + SERVERS)
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    return [(problem.path, problem.sentence) for problem in raised.value.problems]


def test_a_servers_file_says_how_many_there_are(tmp_path: Path) -> None:
    made = load_config(written(tmp_path, "[resources]\ngpu = 2\n"))
    assert made.locking.resources == {"gpu": 2}
    assert ServerTable.like(made, made).locking == made.locking
    assert locking_of({}).resources == {}
    assert ServerPool(made).locks._resources == {"gpu": 2}


def test_mistakes_in_it_are_told_with_what_was_meant(tmp_path: Path) -> None:
    text = "[resources]\ngpu = 0\ntpu = -1\nbig = 1000000\nmany = 1.5\n[resorces]\nx = 1\n"
    assert problems(written(tmp_path, text)) == [
        ("/resources/gpu", "expected at least 1, got 0"),
        ("/resources/tpu", "expected at least 1, got -1"),
        ("/resources/big", "expected at most 100000, got 1000000"),
        ("/resources/many", "expected integer, got number 1.5"),
        ("/resorces", 'unknown table "resorces". Did you mean "resources"?'),
    ]


def task(*locks: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "t", "tool": "a:t", "arguments": {}, "locks": list(locks), **fields}


def found(*locks: Any, **fields: Any) -> list[tuple[str, str, str]]:
    servers = ServerTable({"a": Server(name="a", command="a")})
    servers.locking = servers.locking.model_copy(update={"resources": {"gpu": 2, "tpu": 1}})
    plan = workflow(task(*locks, **fields), inputs={"n": {"default": "gpu"}})
    return [(p.path, p.sentence, p.hint) for p in tool_problems(plan, servers, {})]


def test_what_is_wanted_has_to_be_there() -> None:
    assert found({"name": "gpu", "count": 2}, {"name": "tpu", "count": 1}, "gpu", "other") == []
    assert found({"name": "gpu", "count": 3}) == [
        (
            "/tasks/0/locks/0/count",
            'expected a count of at most 2 for "gpu", got 3',
            "the servers' file has, below [resources]: gpu = 2",
        )
    ]
    assert found("gpu", {"name": "gpuu", "count": 2}) == [
        (
            "/tasks/0/locks/1/count",
            'there is 1 of lock "gpuu", got a count of 2. Did you mean "gpu"?',
            "write into the servers' file, below [resources]: gpuu = 2",
        )
    ]
    assert found({"name": "gpu", "mode": "shared"}, {"name": "tpu", "mode": "shared"}) == [
        (
            "/tasks/0/locks/0/mode",
            'lock "gpu" is a resource of 2, which is counted and not shared',
            'write "count": 1',
        )
    ]
    # What only the run tells is an error there, and so it is of servers that are not known.
    assert found({"name": "$INPUT.n", "count": 9}) == []
    assert list(tool_problems(workflow(task({"name": "x", "count": 9})), {}, {})) == []


def test_so_it_has_to_be_inside() -> None:
    inner = {"tasks": [task({"name": "gpu", "count": 3})]}
    outer = {"id": "o", "workflow": inner}
    servers = ServerTable({"a": Server(name="a", command="a")})
    (problem,) = tool_problems(workflow(outer), servers, {})
    assert (problem.task, problem.path) == ("o/t", "/tasks/0/workflow/tasks/0/locks/0/count")


@pytest.mark.anyio
async def test_nothing_is_started_for_a_plan_that_would_wait_forever() -> None:
    async with Orchestrator({"a": Server(name="a", command="no-such-program")}) as orchestrator:
        with pytest.raises(WorkflowError, match="there is 1 of lock"):
            await orchestrator.run({"tasks": [task({"name": "gpu", "count": 2})]})


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ({"name": "x", "count": 0}, "locks/0/count: expected at least 1, got 0"),
        ({"name": "x", "count": -2}, "locks/0/count: expected at least 1, got -2"),
        ({"name": "x", "count": 10**9}, "expected at most 100000, got 1000000000"),
        ({"name": "x", "count": "1"}, 'locks/0/count: expected integer, got string "1"'),
        ({"name": "x", "count": 1, "mode": "shared"}, 'a count or the mode "shared", not both'),
        ({"name": "x", "cont": 1}, 'unknown field "cont". Did you mean "count"?'),
    ],
)
def test_a_count_is_a_number_of_what_there_can_be(lock: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        workflow(task(lock))
    assert message in str(raised.value)
