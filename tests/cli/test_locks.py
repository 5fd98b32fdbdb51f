"""`orchestrator locks`, with a pool and without one."""

from __future__ import annotations

import json
import os
import platform
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from orchestrator.calls.grants import LOCK, Claim
from orchestrator.cli import locks as command
from orchestrator.cli import main
from orchestrator.daemon.place import Place
from orchestrator.journal.location import Address, store_of
from orchestrator.sharing.cluster import Cluster
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold
from tests.daemon.pools import faulty, until, warm
from tests.journals import ask


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


def test_with_locks_that_processes_share_it_does_not_say_how_to_share_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = tmp_path / "servers.toml"
    servers.write_text('[servers.s]\ncommand = "true"\n[locks.gpu]\nscope = "host"\n')
    assert main(["locks", "--servers", str(servers)]) == 0
    assert capsys.readouterr().err == "no lock is held that this command can see\n"


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


def held_in(database: Address) -> tuple[Cluster, Claim]:
    """What holds a lock of the journal, and the claim of it."""
    cluster = store_of(database).granter()
    assert isinstance(cluster, Cluster)
    return cluster, Claim(Hold(f"{LOCK}gpu", number=1), 2, "r1", "render[3]")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_locks_of_the_journal_are_shown_with_their_machines_and_workers(
    database: Address, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, claim = held_in(database)
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    assert await anyio.to_thread.run_sync(main, ["locks"]) == 0  # there may be no journal yet
    monkeypatch.delenv("ORCHESTRATOR_JOURNAL")
    held = await cluster.grant(claim, lambda: None)
    owner = f"process {os.getpid()} on {platform.node()}"
    row = "insert into carrier(run, process, owner, began, beat) values(?, 1, ?, 0, 0)"
    ask(database, row, "worker abc", owner)
    capsys.readouterr()
    words = ["locks", "--database", database.url, "--json"]
    assert await anyio.to_thread.run_sync(main, words) == 0
    (lock,) = json.loads(capsys.readouterr().out)["locks"]
    assert (lock["name"], lock["scope"], lock["capacity"]) == ("gpu", "cluster", 2)
    (holder,) = lock["holders"]
    told = holder["process"], holder["host"], holder["worker"]
    assert told == (os.getpid(), platform.node(), "abc")
    assert {"run", "task", "amount", "since", "for_s"} <= holder.keys()
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    assert await anyio.to_thread.run_sync(main, ["locks"]) == 0
    out = capsys.readouterr().out
    assert f"{os.getpid()} on {platform.node()} (worker abc)" in out
    assert "all with the journal" in out
    held.release()
    cluster.close()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_locks_are_watched_until_an_interrupt(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim(Hold(f"{LOCK}gpu", number=1), 2, "r1", "render[3]")
    machine, looks = Machine(), list[Any]()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)

    def sleep(_: float) -> None:
        match len(looks):
            case 0:
                looks.append(anyio.run(machine.grant, claim, lambda: None))
            case 1:
                looks.append(None)
            case 2:
                looks[0].release()
                looks.append(None)
            case _:
                raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.watch.time", SimpleNamespace(sleep=sleep))
    assert main(["locks", "--watch"]) == 0
    out = capsys.readouterr().out
    about = f"{os.getpid()}  r1  render[3]"
    if is_terminal:
        assert "render[3]" in out
        return
    assert out.splitlines() == [
        f"gpu  this machine  held  1 of 2  {about}",
        f"gpu  this machine  free  {about}",
    ]
    looks.clear()
    assert main(["locks", "--watch", "--json"]) == 0
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "lock": "gpu",
        "scope": "host",
        "state": "held",
        "process": str(os.getpid()),
        "run": "r1",
        "task": "render[3]",
        "amount": 1,
    }
    assert (last["state"], last["amount"]) == ("free", None)


def test_a_servers_file_that_is_wrong_hides_no_locks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "servers.toml").write_text("journal = [")
    monkeypatch.chdir(tmp_path)
    assert main(["locks"]) == 0
    assert "no lock is held" in capsys.readouterr().err
    assert main(["locks", "--database", "mysql://x"]) == 2


def test_a_database_that_is_named_and_has_no_journal_is_a_mistake(
    database: Address, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = database.url.replace("/postgres?", "/template1?")
    assert main(["locks", "--database", other]) == 1
    assert "locks of all workers are unknown: there is no journal in" in capsys.readouterr().err
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", other)
    assert main(["locks"]) == 0
    assert "there is no journal" not in capsys.readouterr().err


def test_without_the_database_the_locks_of_this_machine_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim(Hold(f"{LOCK}gpu", number=1), 2, "r1", "render[3]")
    held = anyio.run(Machine().grant, claim, lambda: None)
    words = ["locks", "--database", "postgresql://nobody@127.0.0.1:9/none"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "render[3]" in out
    assert "warm pool" not in err
    assert "orchestrator: the locks of all workers are unknown: the journal" in err
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [lock["name"] for lock in document["locks"]] == ["gpu"]
    assert "no server answers" in document["unknown"]["cluster"]
    seen = command.Seen(None, document["locks"], "away")
    assert command._table(seen).caption == "the locks of all workers are unknown now: away"
    held.release()
    kept: dict[tuple[str, ...], str]
    kept = {("cluster", "x", "1", "r", "t"): "held", ("host", "y", "1", "r", "t"): "held"}
    now = command._tell(command.Seen(None, [], "away"), kept, is_json=False)
    assert now == {("cluster", "x", "1", "r", "t"): "held"}
    assert capsys.readouterr().out.split()[0] == "y"

    def watched(_: Any, tell: Any, **__: Any) -> int:
        tell()
        tell()
        return 0

    monkeypatch.setattr(command, "watch", watched)
    assert main([*words, "--watch"]) == 0
    assert capsys.readouterr().err.count("are unknown now") == 1
