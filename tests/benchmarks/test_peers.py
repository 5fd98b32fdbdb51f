"""`python -m benchmarks peers`: its arithmetic, its report, and what becomes of a peer that fails.

Nothing here measures anything, and nothing is installed. Two real peers run, whose packages the
tests have anyway: the orchestrator, and `asyncio.gather` on the bare SDK.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import anyio
import pytest
from mcp import Client

from benchmarks import peers
from benchmarks.measure import Measurement
from benchmarks.peer_programs import conversation
from benchmarks.peer_programs.conversation import Call, Plan, WrongResultError
from benchmarks.peer_programs.orchestrator_runs import document
from benchmarks.peers import environments, jobs, rounds, tables, talks
from benchmarks.peers.catalogue import OURS, PEERS, Peer
from benchmarks.peers.environments import Environments, InstallError
from benchmarks.peers.jobs import JOBS, Job
from benchmarks.peers.rounds import Report, Request
from benchmarks.peers.talks import PeerFailedError, Sample
from mock_servers import keyvalue, news, numbers, text, weather
from orchestrator import Workflow
from tests.chaos import processes

pytestmark = pytest.mark.anyio

FIVE = JOBS["five"]
GATHER = PEERS["gather, by layers"]
REAL = [PEERS[OURS], GATHER]
HERE = Environments(None)
FACTS = {
    "date": "2026-01-02T03:04:05+00:00",
    "cores": 2,
    "system": "Linux x86_64",
    "python": "CPython 3.11.7",
    "packages": {"mcp": "2.3.0"},
    "load_average": [0.1, 0.2, 0.3],
}


@pytest.fixture
def anyio_backend() -> str:
    """The command runs on asyncio, as most of the peers do."""
    return "asyncio"


def measured(peer: Peer, *times_ms: float, job: Job = FIVE) -> Measurement:
    mine = {number: Sample(ms, ms / 10, 70.0) for number, ms in enumerate(times_ms)}
    ours = {number: Sample(100.0, 10.0, 80.0) for number in range(len(times_ms))}
    return rounds.measurement(job, peer, mine, ours)


def reported(*measurements: Measurement, failures: dict[str, str] | None = None) -> Report:
    failed = {(FIVE.name, name): reason for name, reason in (failures or {}).items()}
    names = [*(each.variant for each in measurements), *(failures or {})]
    return Report(
        FACTS,
        [PEERS[name] for name in PEERS if name in names],
        [FIVE],
        list(measurements),
        failed,
        {name: {"mcp": "2.3.0"} for name in names},
    )


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_a_job_is_a_valid_workflow_whose_calls_come_after_their_needs(job: Job) -> None:
    workflow = Workflow.load(document(job.name, job.calls))
    assert sorted(workflow.plan.servers) == sorted(job.servers)
    seen: set[str] = set()
    for call in job.calls:
        assert seen.issuperset(call.needs)
        seen.add(call.id)


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_the_layers_by_hand_are_the_generations_of_the_workflow(job: Job) -> None:
    generations = Workflow.load(document(job.name, job.calls)).plan.generations
    by_hand = [sorted(call.id for call in layer) for layer in conversation.layers(job.calls)]
    assert by_hand == [sorted(tasks) for tasks in generations]


def test_the_layered_job_is_ten_by_three_and_each_call_needs_two_above() -> None:
    layers = conversation.layers(JOBS["layers"].calls)
    assert [len(layer) for layer in layers] == [10, 10, 10]
    assert {len(call.needs) for layer in layers[1:] for call in layer} == {2}
    slowest = sum(max(call.arguments["ms"] for call in layer) for layer in layers)
    assert slowest == jobs.by_layers_ms(jobs.LAYERS) > jobs.LAYERS.critical_path_ms
    delays = [call.arguments["ms"] for call in JOBS["layers"].calls]
    assert jobs.MIN_DELAY_MS <= min(delays) < max(delays) <= jobs.MAX_DELAY_MS


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


def test_the_layered_job_favours_neither_layers_nor_a_flow_of_data() -> None:
    def gain(seed: int) -> float:
        graph = jobs.uneven_layers(seed)
        return 1 - graph.critical_path_ms / jobs.by_layers_ms(graph)

    typical = median(gain(seed) for seed in range(301))
    assert gain(jobs.SEED) == pytest.approx(typical, abs=0.001)
    assert jobs.uneven_layers() == jobs.LAYERS


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = rounds.write_plan(tmp_path, GATHER, [FIVE, JOBS["diamond"]])
    plan = Plan.read(path)
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
        conversation.check(FIVE.calls, good | {"branch1": None})


def test_the_peak_of_memory_is_that_of_this_process() -> None:
    assert 10 < conversation.peak_rss_mb() < 4000


def test_each_peer_has_a_program_and_exact_versions() -> None:
    folder = Path(conversation.__file__).parent
    for peer in PEERS.values():
        assert (folder / f"{peer.program}.py").exists()
        pinned = [part for part in peer.requirements if not part.startswith(("-", "/"))]
        assert pinned
        assert all("==" in part for part in pinned)
        assert peer.path.replace("-", "").isalnum()
        assert peer.most_rounds.keys() <= JOBS.keys()
    assert len({peer.path for peer in PEERS.values()}) == len(PEERS)


def side(name: str, ran: list[str], *fail_at: int) -> Callable[[], Awaitable[Sample]]:
    async def run() -> Sample:
        ran.append(name)
        if ran.count(name) in fail_at:
            raise PeerFailedError("it broke")
        return Sample(float(ran.count(name)), 1.0, 1.0)

    return run


async def test_peers_take_turns_and_every_second_round_in_the_opposite_order() -> None:
    ran: list[str] = []
    sides = {name: side(name, ran) for name in "abc"}
    samples, failed = await rounds.take_turns(sides, 2, {"a": 2, "b": 2, "c": 1})
    assert "".join(ran) == "ba" + "abc" + "ba"
    assert {name: sorted(found) for name, found in samples.items()} == {
        "a": [0, 1],
        "b": [0, 1],
        "c": [0],
    }
    assert samples["a"][0].ms == 2.0
    assert failed == {}


@pytest.mark.parametrize("fail_at", [1, 2, 3])
async def test_a_peer_that_fails_is_left_out_and_the_others_go_on(fail_at: int) -> None:
    ran: list[str] = []
    sides = {"a": side("a", ran, fail_at), "b": side("b", ran)}
    samples, failed = await rounds.take_turns(sides, 3, {"a": 3, "b": 3})
    assert failed == {"a": "it broke"}
    assert {name: len(found) for name, found in samples.items()} == {"b": 3}
    assert ran.count("a") == fail_at


def test_a_ratio_is_made_of_the_rounds_that_both_have() -> None:
    mine = {0: Sample(200.0, 4.0, 70.0), 2: Sample(90.0, 6.0, 75.0)}
    ours = {0: Sample(100.0, 1.0, 1.0), 1: Sample(1.0, 1.0, 1.0), 2: Sample(30.0, 1.0, 1.0)}
    made = rounds.measurement(FIVE, GATHER, mine, ours)
    assert made.ratios == {OURS: [2.0, 3.0]}
    assert made.values == {"cpu_ms": 5.0, "peak_rss_mb": 75.0}
    assert rounds.measurement(FIVE, PEERS[OURS], ours, ours).ratios == {}
    assert rounds.measurement(FIVE, GATHER, mine, {}).ratios == {}


def test_the_fastest_of_a_job_is_marked_and_who_failed_says_why_in_its_row() -> None:
    report = reported(
        measured(PEERS[OURS], 100.0, 102.0),
        measured(GATHER, 98.0, 100.0),
        failures={"mcp-agent": "not installed: no such distribution"},
    )
    rows = {name: (cells, remark) for name, cells, remark in tables.rows(report, FIVE)}
    assert rows[GATHER.name] == (["2", "99.0", "99.9", "0.99 (0.98..1.00)", "9.9", "70"], "fastest")
    assert rows[OURS][0][3] == ""
    assert rows[OURS][1] == ""
    assert rows["mcp-agent"] == ([""] * 6, "not installed: no such distribution")


def test_where_we_are_not_first_is_told_with_the_difference() -> None:
    ours, theirs = measured(PEERS[OURS], 100.0, 102.0), measured(GATHER, 98.0, 100.0)
    [line] = tables.behind(reported(ours, theirs))
    assert line.startswith("five: gather, by layers is first with 99.0 ms; orchestrator takes 101")
    assert "2.0 ms (2.0 %) more" in line
    assert list(tables.behind(reported(ours, measured(GATHER, 110.0, 110.0)))) == []
    assert list(tables.behind(reported(theirs))) == []
    assert list(tables.behind(reported())) == []


def test_the_documentation_gets_machine_versions_notes_and_numbers() -> None:
    printed = tables.markdown(
        reported(
            measured(PEERS[OURS], 101.0),
            measured(GATHER, 99.0),
            failures={"mcp-agent": "a | b"},
        )
    )
    assert "Measured on 2026-01-02: 2 cores" in printed
    assert f"| {GATHER.name} | mcp 2.3.0 | {GATHER.note} |" in printed
    assert f"| **{GATHER.name}** | 1 | 99.0 | 99.0 | 0.99 (0.99..0.99) | 9.9 | 70 |" in printed
    assert "| mcp-agent: a / b |" in printed
    assert "- five: gather, by layers is first" in printed


def script(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def test_a_peer_that_does_its_jobs_is_measured() -> None:
    program = "\n".join(
        (
            "import json, sys",
            "print('{\"ready\": true}', flush=True)",
            "for line in sys.stdin:",
            "    ms = len(json.loads(line)['do'])",
            "    print(json.dumps({'ms': ms, 'cpu_ms': 1, 'rss_mb': 2}), flush=True)",
        )
    )
    with anyio.fail_after(30):
        async with talks.opened(script(program), os.environ) as talk:
            assert [await talk.do(FIVE), await talk.do(JOBS["diamond"])] == [
                Sample(4.0, 1.0, 2.0),
                Sample(7.0, 1.0, 2.0),
            ]


READY = "import sys; print('{}', flush=True); sys.stdin.readline(); "

BROKEN = {
    "garbage": (READY + "print('hello')", "it said b'hello', which is no JSON object"),
    "a list": (READY + "print('[1]')", "no JSON object"),
    "an error": (READY + """print('{"error": "WrongResultError: no"}')""", "WrongResultError: no"),
    "no numbers": (READY + """print('{"ms": 1}')""", "no measurement"),
    "an end": (READY + "sys.exit('so tired')", "it has ended: so tired"),
    "silence": (READY + "sys.exit()", "it has ended: without a word"),
    "no start": ("raise RuntimeError('no servers')", "it has ended: RuntimeError: no servers"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_peer_that_breaks_says_how_in_one_line(name: str) -> None:
    program, expected = BROKEN[name]
    with anyio.fail_after(30), pytest.raises(PeerFailedError) as caught:
        async with talks.opened(script(program), os.environ) as talk:
            await talk.do(FIVE)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_peer_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "LIMIT_S", 0.05)
    sleeper = READY + "import time; time.sleep(60)"
    monkeypatch.setattr(talks, "LIMIT_S", 20.0)
    with anyio.fail_after(30):
        async with talks.opened(script(sleeper), os.environ) as talk:
            monkeypatch.setattr(talks, "LIMIT_S", 0.05)
            with pytest.raises(PeerFailedError, match="it said nothing"):
                await talk.do(FIVE)
            monkeypatch.setattr(talks, "LIMIT_S", 20.0)
            with pytest.raises(PeerFailedError, match="it has ended"):
                await talk.do(FIVE)


async def test_a_peer_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "CLOSE_LIMIT_S", 0.05)
    with anyio.fail_after(30):
        async with talks.opened(script(READY + "import time; time.sleep(60)"), os.environ):
            pass


@pytest.mark.skipif(not processes.AVAILABLE, reason="processes are found in /proc")
async def test_what_a_killed_peer_has_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "CLOSE_LIMIT_S", 0.05)
    mark = f"started-by-a-peer-{os.getpid()}"
    sleeper = f"[sys.executable, '-c', 'import time; time.sleep(60)', '{mark}']"
    program = f"import subprocess, sys, time; subprocess.Popen({sleeper}); {READY} time.sleep(60)"
    with anyio.fail_after(30):
        async with talks.opened(script(program), os.environ):
            assert processes.marked(mark)
        while processes.marked(mark):
            await anyio.sleep(0.01)


async def test_a_cold_start_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "LIMIT_S", 1)
    with anyio.fail_after(30), pytest.raises(PeerFailedError, match="exit code -9"):
        await talks.cold(script("import time; time.sleep(60)"), sys.executable, os.environ, SMALL)


def small(expected: dict[str, object]) -> Job:
    call = Call("size", "text", "words", {"text": "two words"}, (), expected)
    return Job("small", "one call", (call,), cold=True)


SMALL = small({"words": 2, "characters": 9, "reading_minutes": 1})


async def cold_run(job: Job, peers_: Sequence[Peer] = REAL) -> Report:
    with anyio.fail_after(120):
        return await rounds.measure(Request(peers_, [job], 1, 1, HERE), lambda _: None)


async def test_a_cold_start_is_the_command_or_the_program_and_its_results_are_checked() -> None:
    report = await cold_run(SMALL)
    assert report.failures == {}
    assert [each.variant for each in report.measurements] == [OURS, GATHER.name]
    for each in report.measurements:
        assert each.values["cpu_ms"] > 0
        assert each.values["peak_rss_mb"] > 10


async def test_a_wrong_result_of_a_cold_start_is_a_failure() -> None:
    report = await cold_run(small({"words": 3}))
    assert report.measurements == []
    assert "size gave {'words': 2" in report.failures["small", OURS]
    assert "size gave {'words': 2" in report.failures["small", GATHER.name]


async def test_a_wrong_result_of_a_warm_run_is_a_failure_of_that_peer_and_job_only() -> None:
    wrong = replace(FIVE, name="wrong", calls=(replace(FIVE.calls[0], expected={"slept_ms": 0}),))
    right = replace(FIVE, name="right", calls=FIVE.calls[:1])
    with anyio.fail_after(60):
        report = await rounds.measure(Request([GATHER], [wrong, right], 1, 1, HERE), lambda _: None)
    assert list(report.failures) == [("wrong", GATHER.name)]
    assert "branch1 gave {'slept_ms': 100" in report.failures["wrong", GATHER.name]
    assert [each.scenario for each in report.measurements] == ["right"]


async def test_a_program_that_cannot_start_leaves_the_others_their_numbers() -> None:
    broken = replace(GATHER, name="mcp-agent", program="no_such_program")
    job = replace(FIVE, name="one", calls=FIVE.calls[:1])
    with anyio.fail_after(60):
        report = await rounds.measure(
            Request([broken, GATHER], [job, SMALL], 1, 1, HERE), lambda _: None
        )
    assert "no_such_program" in report.failures["one", "mcp-agent"]
    assert "no_such_program" in report.failures["small", "mcp-agent"]
    assert {each.variant for each in report.measurements} == {GATHER.name}


def test_what_a_command_printed_last_is_why_it_failed() -> None:
    with pytest.raises(InstallError, match=r"^ERROR: no such distribution$"):
        environments.run(
            script("import sys; print('looking'); sys.exit('ERROR: no such distribution')")
        )
    with pytest.raises(InstallError, match="exit code 3"):
        environments.run(script("import sys; sys.exit(3)"))


def test_a_command_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "LIMIT_S", 0.05)
    with pytest.raises(InstallError, match="not installed after"):
        environments.run(script("import time; time.sleep(60)"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What would be run to make environments; making one makes its folder."""
    ran: list[list[str]] = []

    def run(command: list[str]) -> list[str]:
        ran.append(list(command))
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return []

    monkeypatch.setattr(environments, "run", run)
    return iter([ran])


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    tmp_path: Path, commands: Iterator[list[list[str]]]
) -> None:
    [ran] = commands
    made = Environments(tmp_path)
    python = made.python(GATHER)
    assert python == made.python(PEERS["gather, task futures"])
    assert Path(python).is_relative_to(tmp_path / "mcp")
    assert [command[-1] for command in ran] == [str(tmp_path / "mcp"), "mcp==2.3.0"]
    made.python(replace(GATHER, requirements=("mcp==2.4.0",)))
    assert [command[-1] for command in ran[2:]] == [str(tmp_path / "mcp"), "mcp==2.4.0"]


async def test_an_install_that_fails_costs_only_its_own_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(command: list[str]) -> list[str]:
        raise InstallError(f"ERROR: cannot run {command[-1]}")

    monkeypatch.setattr(environments, "run", run)
    told: list[str] = []
    request = Request([GATHER], [FIVE, SMALL], 1, 1, Environments(tmp_path))
    report = await rounds.measure(request, told.append)
    reason = f"not installed: ERROR: cannot run {tmp_path / 'mcp'}"
    assert report.failures == {("five", GATHER.name): reason, ("small", GATHER.name): reason}
    assert report.measurements == []


def test_without_environments_only_what_is_installed_here_can_run() -> None:
    assert HERE.python(GATHER) == sys.executable
    with pytest.raises(InstallError, match="no-such-thing is not installed here"):
        HERE.python(replace(GATHER, packages=("no-such-thing",)))


def test_the_versions_are_those_of_the_interpreter() -> None:
    assert environments.versions(sys.executable, ("mcp",))["mcp"].startswith("2.")
    with pytest.raises(InstallError, match="no-such-thing"):
        environments.versions(sys.executable, ("no-such-thing",))


def test_the_command_measures_two_real_peers_and_saves_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "numbers.json"
    asked = ["--environments", "none", "--rounds", "1", "--workload", "diamond"]
    asked += ["--only", GATHER.name, "--only", OURS, "--json", str(saved)]
    assert peers.main(asked) == 0
    numbers_ = json.loads(saved.read_text(encoding="utf-8"))
    assert [each["variant"] for each in numbers_["measurements"]] == [OURS, GATHER.name]
    assert numbers_["versions"][OURS]["mcp-orchestrator"]
    assert numbers_["failures"] == []
    printed = capsys.readouterr().out
    assert "a -> [b, c] -> d" in printed
    assert "fastest" in printed


def _reports(monkeypatch: pytest.MonkeyPatch, report: Report) -> list[Request]:
    asked: list[Request] = []

    async def measure(request: Request, tell: rounds.Tell) -> Report:  # noqa: ARG001
        asked.append(request)
        return report

    monkeypatch.setattr(rounds, "measure", measure)
    return asked


def test_a_peer_without_numbers_is_exit_code_1_and_its_row_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _reports(monkeypatch, reported(failures={"mcp-agent": "it has ended: of old age"}))
    assert peers.main(["--quick"]) == 1
    assert "it has ended: of old age" in capsys.readouterr().out


def test_the_options_say_what_is_measured_and_how_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = _reports(monkeypatch, reported(measured(PEERS[OURS], 100.0)))
    assert peers.main([]) == 0
    assert peers.main(["--quick", "--workload", "cold", "--environments", str(tmp_path)]) == 0
    assert peers.main(["--rounds", "7", "--only", OURS, "--markdown"]) == 0
    assert [(each.warm_rounds, each.cold_rounds) for each in asked] == [(20, 5), (3, 1), (7, 7)]
    assert [len(each.peers) for each in asked] == [len(PEERS), len(PEERS), 1]
    assert [[job.name for job in each.jobs] for each in asked[:2]] == [list(JOBS), ["cold"]]
    assert asked[1].environments.folder == tmp_path
    assert "| **orchestrator** |" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--only", "nobody"], ["--workload", "x"], ["--rounds", "0"]])
def test_what_cannot_be_measured_is_a_usage_error(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        peers.main(wrong)
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err
