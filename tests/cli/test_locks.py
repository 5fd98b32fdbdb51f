"""`orchestrator locks`, with a pool and without one."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from orchestrator.calls.grants import LOCK, Claim
from orchestrator.cli import locks as command
from orchestrator.cli import main
from orchestrator.daemon.place import Place
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold
from tests.daemon.pools import faulty, until, warm


@pytest.fixture(autouse=True)
def state(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Directories of this test alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_without_a_pool_it_says_where_locks_are_and_how_to_share_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["locks"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "no lock is held that this command can see",
        command.NO_POOL.format("servers.toml"),
    ]
    assert main(["locks", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["pool"], document["locks"]) == (None, [])


def test_a_pool_that_has_ended_counts_as_none(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "warm_place", lambda _: Place(runtime, "gone"))
    assert main(["locks"]) == 0
    err = capsys.readouterr().err
    assert "the warm pool is not there any more" in err
    assert command.NO_POOL.format("servers.toml") in err


def test_locks_of_the_machine_are_shown_without_a_pool(capsys: pytest.CaptureFixture[str]) -> None:
    claim = Claim(Hold(f"{LOCK}gpu", number=1), 2, "r1", "render[3]")
    held = anyio.run(Machine().grant, claim, lambda: None)
    assert main(["locks"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split()[:3] == ["lock", "shared", "by"]
    assert " ".join(out[3].split()).startswith("gpu this machine held 1 of 2")
    assert out[3].split()[-3:] == [str(os.getpid()), "r1", "render[3]"]
    held.release()


@pytest.mark.anyio
async def test_a_pool_tells_who_holds_what_and_who_waits_in_which_order(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with warm(runtime, faulty()) as kept, kept.pool() as one, kept.pool() as two:
        monkeypatch.setattr(command, "warm_place", lambda _: kept.place)
        for pool in (one, two):
            pool.locks._resources = {"gpu": 2}
        await one.locks.acquire(Hold("gpu", number=2), who="a", task="render[3]", run="r1")
        await one.locks.acquire(Hold("x", shared=True), who="a", task="render[3]", run="r1")
        async with anyio.create_task_group() as group:
            for number in (1, 2):
                hold = Hold("gpu", number=number)
                wait = partial(two.locks.acquire, hold, who=number, task=f"b{number}", run="r2")
                group.start_soon(wait)
                await until(lambda n=number: waiting(kept) == n)  # type: ignore[misc]
            assert await anyio.to_thread.run_sync(main, ["locks", "--json"]) == 0
            document = json.loads(capsys.readouterr().out)
            assert await anyio.to_thread.run_sync(main, ["locks"]) == 0
            rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
            group.cancel_scope.cancel()
        await until(lambda: not waiting(kept))
        asked = await command._asked(kept.place)
        assert asked is not None
        assert [lock["name"] for lock in asked["locks"]] == ["gpu", "x"]
        for name in ("gpu", "x"):
            one.locks.release(name, who="a")
    gpu, shared = document["locks"]
    assert document["pool"] == {"process": os.getpid()}
    assert (gpu["name"], gpu["capacity"], gpu["scope"]) == ("gpu", 2, "pool")
    (holder,) = gpu["holders"]
    assert holder.keys() == {"run", "task", "amount", "process", "for_s", "since"}
    told = holder["run"], holder["task"], holder["amount"], holder["process"]
    assert told == ("r1", "render[3]", 2, os.getpid())
    assert [(each["task"], each["amount"]) for each in gpu["waiting"]] == [("b1", 1), ("b2", 2)]
    assert [each["amount"] for each in shared["holders"]] == ["shared"]
    assert [(row[-1], "waits" in row) for row in rows if row] == [
        ("render[3]", False),
        ("b1", True),
        ("b2", True),
        ("render[3]", False),
    ]


def waiting(kept: Any) -> int:
    return sum(len(lock["waiting"]) for lock in kept.host.locks.state())


def test_where_there_are_no_named_pipes_nothing_is_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "mkfifo")
    assert command._of_machine() == []
