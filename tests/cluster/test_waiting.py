"""Why a run waits that was submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import Orchestrator, Order
from orchestrator.cli import main
from orchestrator.cluster.offers import Offer
from orchestrator.cluster.waiting import Waits, lacks, why
from orchestrator.engine.question import Reply
from orchestrator.journal import answers, history
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.journal.workers import WORKER
from tests.journals import ask

pytestmark = pytest.mark.anyio
FLOW = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
CALLS = {"name": "c", "tasks": [{"id": "a", "tool": "s:t"}]}


async def test_each_reason_is_told(database: Address, capsys: pytest.CaptureFixture[str]) -> None:
    def reason(run: str) -> str:
        return why(database, history.find(database, run)).text

    async with (
        Journal(database) as journal,
        Orchestrator({"s": "http://127.0.0.1:9/"}, journal=journal) as engine,
    ):
        late = await engine.queue(FLOW, None, Order(due=4e9))
        plain = await engine.queue(FLOW)
        gpu = await engine.queue(CALLS, None, Order(labels=("gpu",), priority=1))
        few = await engine.queue(FLOW, None, Order(max_runs=1))
        assert reason(late).startswith("it is due at 2096-10-02 ")
        assert reason(plain) == "no worker is connected; start one: orchestrator worker"
        assert why(database, history.find(database, gpu), "w").text.endswith(": w --label gpu")
        await journal.announce(f"{WORKER}1", Offer.of(2, ["cpu", "big"], []).to_dict())
        assert reason(gpu) == (
            'no worker has the label "gpu" (they have: big, cpu); '
            "start one: orchestrator worker --label gpu"
        )
        await journal.announce(f"{WORKER}2", Offer.of(1, ["gpu"], []).to_dict())
        assert reason(gpu) == (
            'no worker has the server "s": add it to the servers.toml of one, '
            "and start that worker again"
        )
        await journal.announce(f"{WORKER}3", Offer.of(1, [], ["s"]).to_dict())
        assert reason(gpu) == 'no worker has all labels and servers that it needs: "gpu", "s"'
        ask(database, f"update run set status='interrupted' where id='{gpu}'")
        ask(database, f"update run set status='running' where id='{gpu}'")
        assert reason(gpu).startswith("no worker has all")
        ask(database, f"update run set status='queued' where id='{gpu}'")
        assert reason(plain) == ""  # the run before it is for none of these workers
        ask(database, f"update queued set labels='[]', servers='[]' where run='{gpu}'")
        assert reason(plain) == "1 run before it, for 3 workers with room for 4 at once"
        ask(database, f"update queued set labels='x' where run='{gpu}'")
        row = "its row in the queue cannot be read: it needs x (expected a list of names in JSON)"
        assert reason(gpu) == f'{row}; "orchestrator cancel" ends it'
        back = """labels='["gpu"]', servers='["s"]'"""
        ask(database, f"update queued set {back} where run='{gpu}'")
        ask(database, f"update run set status='running' where id='{plain}'")
        assert reason(plain) == ""
        assert reason(few) == (
            '1 submitted run of workflow "w" under way, and it begins while fewer than 1 are'
        )
        capsys.readouterr()
        assert main(["runs", "--journal", database.url]) == 0
        err = capsys.readouterr().err
        assert f"{gpu} waits: no worker has all labels and servers" in err
        assert main(["show", gpu, "--journal", database.url]) == 0
        out, err = capsys.readouterr()
        assert '"waits": "no worker has all labels' in out
        assert "it waits: no worker has all labels" in err
        assert main(["runs", "--json", "--journal", database.url]) == 0
        reasons = {each["id"]: each.get("waits") for each in json.loads(capsys.readouterr().out)}
        assert reasons[plain] is None
        assert reasons[gpu].startswith("no worker has all labels")


async def test_a_run_that_has_its_answers_waits_for_a_worker(
    database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = {"name": "q", "tasks": [{"id": "a", "ask": {"message": "?"}}]}
    words = ["show", "last", "--journal", database.url]
    async with Orchestrator({}, journal=database) as engine:
        own = await engine.run(asks)
        assert why(database, history.find(database, own.run_id)) == Waits()
        answers.answer(database, own.run_id, "a", lambda _: Reply(True), Hiding())
        assert main(words) == 0
        assert 'are answered: "orchestrator resume' in capsys.readouterr().err
        run = await engine.queue(asks)
        async with engine.resume(run) as again:
            await again.execute()
        answers.answer(database, run, "a", lambda _: Reply(True), Hiding())
        assert main(words) == 0
        start = f"orchestrator worker --database '{database}'"
        assert f"it waits: no worker is connected; start one: {start}" in capsys.readouterr().err
        async with Journal(database) as journal:
            await journal.announce(f"{WORKER}1", Offer.of(2, [], []).to_dict())
            assert main(words) == 0
            assert "are answered: a worker goes on with it" in capsys.readouterr().err


async def test_a_run_whose_questions_cannot_be_read_hides_no_other(
    database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = {"name": "q", "tasks": [{"id": "a", "ask": {"message": "?"}}]}
    async with Orchestrator({}, journal=database) as engine:
        bad = await engine.run(asks)
        good = await engine.queue(FLOW)
        ask(database, "update record set payload='{oops'")
    for words in ([], ["--json"]):
        assert main(["runs", "--journal", database.url, *words]) == 0
        said = "".join(capsys.readouterr())
        assert (bad.run_id in said, good in said) == (True, True)
        assert 'the record "question ask" of "a" cannot be read' in said.replace("\\", "")


async def test_what_no_worker_has_is_known_before_anything_is_submitted(database: Address) -> None:
    wants = Order(labels=("a b",), servers=("s",))
    async with Journal(database) as journal:
        said = lacks(database, wants).text
        assert said == "no worker is connected; start one: orchestrator worker --label 'a b'"
        await journal.announce(f"{WORKER}1", Offer.of(2, ["a b"], ["s"]).to_dict())
        assert lacks(database, wants) == Waits()


async def test_a_run_that_was_not_submitted_to_workers_waits_for_none(
    database: Address, tmp_path: Path
) -> None:
    for journal in (database, tmp_path / "runs.db"):
        async with Orchestrator({}, journal=journal) as engine:
            run = await engine.queue(FLOW)
        if journal is database:
            ask(database, "delete from queued")
        assert why(journal, history.find(journal, run)) == Waits()
