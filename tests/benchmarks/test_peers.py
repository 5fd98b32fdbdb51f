"""`python -m benchmarks peers`: its workloads, rounds and options.

Nothing here is installed. Two real peers run, whose packages the tests have anyway: the
orchestrator, and `asyncio.gather` on the bare SDK.
"""

from __future__ import annotations

import asyncio
import json
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
from benchmarks.peers import jobs, rounds
from benchmarks.peers.catalog import OURS, PEERS
from benchmarks.peers.jobs import JOBS, Job
from benchmarks.peers.programs import PeerFailedError
from benchmarks.peers.rounds import Report, Request
from mock_servers import keyvalue, news, numbers, text, weather
from mock_servers.digests import digest
from orchestrator import Workflow

FIVE = JOBS["five"]
GATHER = PEERS["gather, by layers"]


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


@pytest.mark.slow
def test_the_command_measures_two_real_peers_warm_and_cold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for = {"ms": 100, "label": "branch1"}
    given = {"slept_ms": 100, "label": "branch1", "digest": digest("branch1", [])}
    call = Call("branch1", "bare", "delay", asked_for, (), given)
    right = Job("right", "one call", (call,))
    wrong = replace(right, name="wrong", calls=(replace(call, expected={"slept_ms": 0}),))
    measured = {"right": right, "wrong": wrong, "small": replace(right, name="small", cold=True)}
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
