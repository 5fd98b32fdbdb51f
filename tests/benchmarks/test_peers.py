"""`python -m benchmarks peers`: its arithmetic, and what becomes of a peer that fails.

Nothing here is installed. Two real peers run, whose packages the tests have anyway: the
orchestrator, and `asyncio.gather` on the bare SDK.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from mcp import Client

from benchmarks import peers
from benchmarks.peer_programs import conversation
from benchmarks.peer_programs.conversation import Call, Plan, WrongResultError
from benchmarks.peer_programs.orchestrator_runs import document
from benchmarks.peers import environments, jobs, programs, rounds
from benchmarks.peers.catalog import OURS, PEERS
from benchmarks.peers.environments import Environments, InstallError
from benchmarks.peers.jobs import JOBS, Job
from benchmarks.peers.programs import PeerFailedError, Program
from benchmarks.peers.rounds import Report, Request
from mock_servers import keyvalue, news, numbers, text, weather
from orchestrator import Workflow
from tests.chaos import processes

FIVE = JOBS["five"]
GATHER = PEERS["gather, by layers"]
HERE = Environments(None)


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_a_job_is_a_valid_workflow_whose_layers_are_its_generations(job: Job) -> None:
    plan = Workflow.load(document(job.name, job.calls)).plan
    assert sorted(plan.servers) == sorted(job.servers)
    by_hand = [sorted(call.id for call in layer) for layer in conversation.layers(job.calls)]
    assert by_hand == [sorted(tasks) for tasks in plan.generations]


def test_the_layered_job_favours_neither_layers_nor_dataflow() -> None:
    def gain(seed: int) -> float:
        graph = jobs.uneven_layers(seed)
        return 1 - graph.critical_path_ms / jobs.by_layers_ms(graph)

    typical = median(gain(seed) for seed in range(301))
    assert gain(jobs.SEED) == pytest.approx(typical, abs=0.001)
    assert jobs.uneven_layers() == jobs.LAYERS


@pytest.mark.anyio
async def test_the_five_servers_give_what_is_expected_of_them() -> None:
    servers = {
        "weather": weather.server,
        "news": news.server,
        "numbers": numbers.server,
        "text": text.server,
        "keyvalue": keyvalue.make_server(),
    }
    given = {}
    for call in JOBS["cold"].calls:
        async with Client(servers[call.server]) as client:
            given[call.id] = (await client.call_tool(call.tool, call.arguments)).structured_content
    conversation.check(JOBS["cold"].calls, given)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    command = rounds.program(sys.executable, GATHER, [FIVE, JOBS["diamond"]], tmp_path)
    plan = Plan.read(Path(command[-1]))
    assert plan.way == "by layers"
    assert plan.servers["delay"]["command"] == sys.executable
    assert {name: tuple(calls) for name, calls in plan.jobs.items()} == {
        "five": FIVE.calls,
        "diamond": JOBS["diamond"].calls,
    }


def test_results_are_checked_for_their_number_and_their_values() -> None:
    good = {call.id: call.expected for call in FIVE.calls}
    conversation.check(FIVE.calls, good)
    with pytest.raises(WrongResultError, match="5 calls, 4 results"):
        conversation.check(FIVE.calls, dict(list(good.items())[1:]))
    with pytest.raises(WrongResultError, match="branch1 gave None"):
        conversation.check(FIVE.calls, {**good, "branch1": None})


def test_calls_by_hand_wait_for_their_needs() -> None:
    diamond, ended = JOBS["diamond"].calls, list[str]()

    async def call_tool(call: Call) -> str:
        assert set(call.needs) <= set(ended)
        await asyncio.sleep(0)
        ended.append(call.id)
        return call.id

    expected = {call.id: call.id for call in diamond}
    for way in (conversation.by_layers, conversation.task_futures):
        ended.clear()
        assert asyncio.run(way(diamond, call_tool)) == expected


def test_each_peer_has_a_program_and_exact_versions() -> None:
    folder = Path(conversation.__file__).parent
    for peer in PEERS.values():
        assert (folder / f"{peer.program}.py").exists()
        assert peer.packages
        assert all("==" in part for part in peer.requirements if not part.startswith(("-", "/")))
        assert peer.most_rounds.keys() <= JOBS.keys()
    assert len({peer.path for peer in PEERS.values()}) == len(PEERS)


def side(name: str, ran: list[str], *fail_at: int) -> Callable[[], float]:
    def run() -> float:
        ran.append(name)
        if ran.count(name) in fail_at:
            raise PeerFailedError("it broke")
        return float(ran.count(name))

    return run


def test_peers_take_turns_and_every_second_round_in_the_opposite_order() -> None:
    ran: list[str] = []
    sides = {name: side(name, ran) for name in "abc"}
    samples, failed = rounds.take_turns(sides, 2, {"a": 2, "b": 2, "c": 1})
    assert "".join(ran) == "ba" + "abc" + "ba"
    assert samples == {"a": {0: 2.0, 1: 3.0}, "b": {0: 2.0, 1: 3.0}, "c": {0: 1.0}}
    assert failed == {}


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_a_peer_that_fails_is_left_out_and_the_others_go_on(fail_at: int) -> None:
    ran: list[str] = []
    sides = {"a": side("a", ran, fail_at), "b": side("b", ran)}
    samples, failed = rounds.take_turns(sides, 3, {"a": 3, "b": 3})
    assert failed == {"a": "it broke"}
    assert {name: len(found) for name, found in samples.items()} == {"b": 3}
    assert ran.count("a") == fail_at


def test_a_ratio_is_made_of_the_rounds_that_both_have() -> None:
    mine, ours = {0: 200.0, 2: 90.0}, {0: 100.0, 1: 1.0, 2: 30.0}
    assert rounds.measurement(FIVE, GATHER.name, mine, ours).ratios == {OURS: [2.0, 3.0]}
    assert rounds.measurement(FIVE, OURS, ours, ours).ratios == {}
    assert rounds.measurement(FIVE, GATHER.name, mine, {}).ratios == {}


# Programs.


def script(program: str) -> list[str]:
    return [sys.executable, "-c", program]


READY = "import sys; print('{}', flush=True); sys.stdin.readline(); "
BROKEN = {
    "garbage": (READY + "print('hello')", "it said 'hello\\n', which is no JSON object"),
    "an error": (READY + """print('{"error": "WrongResultError: no"}')""", "WrongResultError: no"),
    "an end": (READY + "sys.exit('so tired')", "it ended: so tired"),
    "silence": (READY + "sys.exit()", "it ended: without a word"),
    "no start": ("raise RuntimeError('no servers')", "it ended: RuntimeError: no servers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_peer_that_breaks_says_how_in_one_line(name: str) -> None:
    program, expected = BROKEN[name]
    with pytest.raises(PeerFailedError) as caught:
        ask(program)
    assert str(caught.value) == expected


def ask(program: str) -> None:
    started = Program(script(program), os.environ)
    try:
        started.do(FIVE)
    finally:
        started.close()


@pytest.mark.skipif(not processes.AVAILABLE, reason="processes are found in /proc")
def test_a_peer_that_says_nothing_is_killed_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = f"started-by-a-peer-{os.getpid()}"
    sleeper = f"[sys.executable, '-c', 'import time; time.sleep(60)', '{mark}']"
    program = f"import subprocess, sys, time; subprocess.Popen({sleeper}); {READY} time.sleep(60)"
    started = Program(script(program), os.environ)
    assert processes.marked(mark)
    monkeypatch.setattr(programs, "LIMIT_S", 0.05)
    with pytest.raises(PeerFailedError, match="it ended"):
        started.do(FIVE)
    started.close()
    while processes.marked(mark):
        pass


def test_a_peer_that_does_not_exit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "CLOSE_LIMIT_S", 0.05)
    Program(script(READY + "import time; time.sleep(60)"), os.environ).close()


def small(expected: dict[str, object]) -> Job:
    call = Call("size", "text", "words", {"text": "two words"}, (), expected)
    return Job("small", "one call", (call,), cold=True)


VALUES = {"values": {"size": {"words": 2, "more": 1}}}
DOCUMENT = {"tasks": {"size": {"output": {"words": 2}}}}


@pytest.mark.parametrize("printed", [VALUES, DOCUMENT])
def test_a_cold_start_is_timed_and_its_result_is_checked(printed: object) -> None:
    command = script(f"print('''{json.dumps(printed)}''')")
    assert programs.cold(command, os.environ, small({"words": 2})) > 0
    with pytest.raises(PeerFailedError, match="size gave"):
        programs.cold(command, os.environ, small({"words": 3}))


def test_a_cold_start_that_fails_or_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerFailedError, match="exit code 1: no luck"):
        programs.cold(script("raise SystemExit('no luck')"), os.environ, FIVE)
    monkeypatch.setattr(programs, "LIMIT_S", 0.05)
    with pytest.raises(PeerFailedError, match=r"it did not end in 0\.05 s"):
        programs.cold(script("import time; time.sleep(60)"), os.environ, FIVE)


@pytest.mark.slow
def test_the_command_measures_two_real_peers_warm_and_cold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = replace(FIVE, name="right", calls=FIVE.calls[:1])
    wrong = replace(FIVE, name="wrong", calls=(replace(FIVE.calls[0], expected={"slept_ms": 0}),))
    measured = {"right": right, "wrong": wrong, "small": small({"words": 2})}
    monkeypatch.setattr(jobs, "JOBS", measured)
    broken = replace(
        PEERS["mcp-agent"], program="no_such_program", requirements=GATHER.requirements
    )
    monkeypatch.setitem(PEERS, "mcp-agent", broken)
    saved = tmp_path / "numbers.json"
    asked = ["--environments", "none", "--rounds", "1", "--json", str(saved)]
    for name in (OURS, GATHER.name, "mcp-agent"):
        asked += ["--only", name]
    assert peers.main(asked) == 1
    found = json.loads(saved.read_text(encoding="utf-8"))
    both = [(job, peer) for job in ("right", "small") for peer in (OURS, GATHER.name)]
    assert [(each["scenario"], each["variant"]) for each in found["measurements"]] == both
    reasons = {(each["workload"], each["peer"]): each["reason"] for each in found["failures"]}
    assert "branch1 gave {'slept_ms': 100" in reasons["wrong", OURS]
    assert "branch1 gave {'slept_ms': 100" in reasons["wrong", GATHER.name]
    assert {job for job, peer in reasons if peer == "mcp-agent"} == set(measured)
    assert "no_such_program" in capsys.readouterr().out


# Environments.


def test_what_a_command_printed_last_is_why_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InstallError, match=r"^ERROR: no such distribution$"):
        environments.run(script("import sys; print('x'); sys.exit('ERROR: no such distribution')"))
    with pytest.raises(InstallError, match="exit code 3"):
        environments.run(script("import sys; sys.exit(3)"))
    monkeypatch.setattr(environments, "LIMIT_S", 0.05)
    with pytest.raises(InstallError, match="not installed after"):
        environments.run(script("import time; time.sleep(60)"))


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(command: list[str]) -> None:
        ran.append(command[-1])
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(environments, "run", run)
    made = Environments(tmp_path)
    python = made.python(GATHER)
    assert python == made.python(PEERS["gather, task futures"])
    assert Path(python).is_relative_to(tmp_path)
    assert ran[1:] == ["mcp==2.3.0"]
    assert made.python(replace(GATHER, requirements=("mcp==2.4.0",))) != python
    assert ran[3:] == ["mcp==2.4.0"]


def test_an_install_that_fails_costs_only_its_own_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(_: list[str]) -> None:
        raise InstallError("no network")

    monkeypatch.setattr(environments, "run", run)
    request = Request([GATHER], [FIVE], 1, 1, Environments(tmp_path))
    report = rounds.measure(request, lambda _: None)
    assert report.failures == {("five", GATHER.name): "not installed: no network"}


def test_without_environments_only_what_is_installed_here_can_run() -> None:
    assert HERE.python(GATHER) == sys.executable
    with pytest.raises(InstallError, match="no-such-thing is not installed here"):
        HERE.python(replace(GATHER, requirements=("no-such-thing==1",)))


def test_the_options_say_what_is_measured_and_how_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Request] = []

    def measure(request: Request, _: Callable[[str], None]) -> Report:
        asked.append(request)
        return Report()

    monkeypatch.setattr(rounds, "measure", measure)
    assert peers.main([]) == 0
    assert peers.main(["--quick", "--workload", "cold", "--environments", str(tmp_path)]) == 0
    assert peers.main(["--rounds", "7", "--only", OURS]) == 0
    assert [(each.warm_rounds, each.cold_rounds) for each in asked] == [(20, 5), (3, 1), (7, 7)]
    assert [len(each.peers) for each in asked] == [len(PEERS), len(PEERS), 1]
    assert [[job.name for job in each.jobs] for each in asked[:2]] == [list(JOBS), ["cold"]]
    assert asked[1].environments.folder == tmp_path


@pytest.mark.parametrize("wrong", [["--only", "nobody"], ["--workload", "x"], ["--rounds", "0"]])
def test_what_cannot_be_measured_is_a_usage_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        peers.main(wrong)
    assert left.value.code == 2
