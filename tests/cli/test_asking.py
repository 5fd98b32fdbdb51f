"""Questions on the command line: on the terminal, from another process, and while a run waits."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, durable
from orchestrator.cli import main
from orchestrator.cli.asking import Terminal, parsed, terminal
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.run import Run
from orchestrator.errors import AnswerError, RefusedError
from orchestrator.journal import answers
from orchestrator.journal.hiding import Hiding
from tests.cli.conftest import ROOT
from tests.cli.test_journal import Said, echo, journal, said
from tests.conftest import Write

__all__ = ["journal", "said"]
CITY = {"id": "city", "ask": {"message": "Which city?", "schema": {"type": "string"}}}


@pytest.mark.usefixtures("journal")
def test_a_paused_run_is_cancelled_where_no_process_carries_it(said: Said, write: Write) -> None:
    asked = {"id": "city", "ask": {"message": "Which?", "schema": {"type": "string"}}}
    flow = write(asked, echo("after", "$OUTPUT[city]"), **{"finally": [echo("bye", 1)]})
    assert said("run", flow, "--json")[1]["status"] == "paused"
    code, _, err = said("cancel", "last")
    assert (code, err.endswith(": cancelled\n")) == (0, True), err
    tasks = said("show", "last", "--json")[1]["tasks"]
    assert {task: result["status"] for task, result in tasks.items()} == {
        "city": "cancelled",
        "after": "cancelled",
        "bye": "success",
    }
    code, _, err = said("cancel", "last")
    assert (code, "has ended with status cancelled" in err) == (1, True)


@pytest.mark.usefixtures("journal")
def test_a_run_is_cancelled_where_its_servers_are_not_unless_its_finally_calls_them(
    said: Said, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tasks = [echo("before", 1), {"id": "go", "ask": {"message": "Go on?"}}, echo("after", 2)]
    value = {"id": "bye", "value": "$OUTPUT[before].value"}
    for last in (value, echo("bye", 1)):
        assert said("run", write(*tasks, **{"finally": [last]}), "--json")[1]["status"] == "paused"
    needs, plain = (run["id"] for run in said("runs", "--json")[1])
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    other = Path("other.toml")
    other.write_text('[servers.other]\ncommand = "true"\n')
    for words in (["--servers", str(other)], []):
        assert main(["cancel", needs, *words]) == 2
        assert f"run {needs} is not cancelled: its finally calls" in capsys.readouterr().err
    resumed = {run["id"]: run["resumed"] for run in said("runs", "--json")[1]}
    assert resumed == {needs: 0, plain: 0}  # nobody has taken it up for that
    assert main(["cancel", plain, "--servers", str(other)]) == 0
    capsys.readouterr()
    assert said("show", plain, "bye")[1]["output"] == 1
    assert said("cancel", needs)[0] == 0
    assert said("show", needs, "bye")[1]["status"] == "success"


def test_a_run_that_is_queued_has_no_question_yet(journal: Path, said: Said, write: Write) -> None:
    assert said("run", write(echo("a", 1)))[0] == 0
    with sqlite3.connect(journal) as db:
        db.execute("update run set status='queued'")
    code, _, err = said("answer", "last", "city", "Rome")
    assert (code, "is queued, and has no question yet: a worker has to begin it" in err) == (
        2,
        True,
    )


@pytest.mark.usefixtures("journal")
def test_a_run_pauses_is_answered_and_goes_on(said: Said, write: Write) -> None:
    each = echo("e", "$ITEM", for_each=[1, 2], approve={"message": "Echo $ITEM?"})
    path = write(CITY, each, echo("end", "$OUTPUT[city]"), output="$OUTPUT[end].value")
    code, document, err = said("run", path, "--json")
    assert (code, document["status"]) == (3, "paused")
    assert [(each["task"], each["item"], each["kind"]) for each in document["questions"]] == [
        ("city", None, "ask"),
        ("e", 0, "approve"),
        ("e", 1, "approve"),
    ]
    run = document["run_id"]
    assert f"orchestrator answer {run} e --item 0\n" in err
    assert f"then: orchestrator resume {run}" in err
    assert said("runs", "--json", "--status", "paused")[1][0]["id"] == run
    _, shown, _ = said("show", run, "--json")
    assert shown["tasks"]["city"]["status"] == "waiting"
    assert shown["questions"] == document["questions"]
    assert 'arguments: {"value": 1}' in said("show", run)[2]
    code, _, err = said("answer", "last", "citi", "Rome")
    assert (code, 'Did you mean "city"?' in err) == (2, True)
    code, _, err = said("answer", "last", "e", "--item", "0", "maybe")
    assert (code, "expected boolean" in err) == (2, True)
    code, _, err = said("answer", "last", "e", "--item", "0", "--no")
    assert (code, '"e[0]" is refused; 2 more to answer; "orchestrator resume' in err) == (0, True)
    assert said("answer", "last", "e", "--all-items")[0] == 0
    code, document, _ = said("resume", "last", "--json")
    assert (code, document["status"], document["summary"]["waiting"]) == (3, "paused", 2)
    assert [item["status"] for item in document["tasks"]["e"]["items"]] == ["error", "success"]
    assert said("answer", "last", "city", "Rome")[0] == 0
    code, _, err = said("answer", "last", "city", "Paris")
    assert (code, '"city" was answered already' in err) == (2, True)
    code, _, err = said("answer", "last", "e[1]", "--no")
    assert (code, '"e", item 1, was answered already' in err) == (2, True)
    assert "waits for answers" not in said("show", "last")[2]
    code, document, _ = said("resume", "last", "--json")
    assert (code, document["status"], document["output"]) == (1, "partial", "Rome")
    assert (document["resumed"], document["questions"]) == (2, [])
    code, _, err = said("answer", "last", "city", "Oslo")
    assert (code, "has ended with status partial" in err) == (2, True)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("schema", "words", "value"),
    [
        ({"type": "boolean"}, ["yes"], True),
        ({"type": "boolean"}, ["N"], False),
        ({"type": "integer"}, ["3"], 3),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, ["n=3", "s=3x"], None),
        ({"type": "array", "items": {"type": "string"}}, ['["a"]'], ["a"]),
        ({"enum": ["a", "b"]}, ["b"], "b"),
    ],
)
def test_what_words_stand_for(
    schema: dict[str, Any], words: list[str], value: Any, said: Said, write: Write
) -> None:
    assert said("run", write({"id": "q", "ask": {"message": "?", "schema": schema}}), "-q")[0] == 3
    assert said("answer", "last", "q", *words)[0] == 0
    expected = {"n": 3, "s": "3x"} if value is None else value
    assert said("resume", "last", "-q")[1] == {"q": expected}


@pytest.mark.usefixtures("journal")
def test_what_an_answer_must_not_be(said: Said, write: Write) -> None:
    ask = {"message": "?", "schema": {"enum": ["a", "b"]}, "default": "a"}
    assert said("run", write({"id": "q", "ask": ask}, CITY), "-q")[0] == 3
    code, _, err = said("answer", "last", "q", "a", "b")
    assert (code, "expected one answer that fits" in err) == (2, True)
    code, _, err = said("answer", "last", "q", "a", "--no")
    assert (code, "--no takes no value" in err) == (2, True)
    assert said("answer", "last", "city", "--no")[0] == 0
    assert said("answer", "last", "q")[0] == 0
    code, document, _ = said("resume", "last", "--json")
    assert (code, document["tasks"]["q"]["output"]) == (1, "a")
    assert document["tasks"]["city"]["error"]["kind"] == "refused"


def test_a_run_that_is_not_kept_says_that_it_cannot_go_on(said: Said, write: Write) -> None:
    code, _, err = said("run", write(CITY), "--no-journal")
    assert (code, "cannot go on: use --wait" in err) == (3, True)


@pytest.mark.anyio
async def test_a_run_that_waits_takes_the_answer_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "BEAT_S", 0.01)
    path = tmp_path / "runs.db"
    async with Orchestrator({}, journal=path) as orchestrator:

        async def answer(run: Run) -> None:
            while not answers.open_questions(path, run.run_id):
                await anyio.sleep(0.01)
            answers.answer(path, run.run_id, "q", lambda _: Reply("first"), Hiding())
            with pytest.raises(AnswerError):
                answers.answer(path, run.run_id, "q", lambda _: Reply("second"), Hiding())

        flow = {"tasks": [{"id": "q", "ask": {"message": "?", "schema": {"type": "string"}}}]}
        async with orchestrator.begin(flow, wait=True) as run, anyio.create_task_group() as group:
            group.start_soon(answer, run)
            result = await run.execute()
    assert result["q"].output == "first"


@pytest.mark.anyio
async def test_an_answer_in_the_process_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    asked: list[str] = []

    async def answer(question: Question) -> Any:
        asked.append(question.task)
        return "Rome" if question.task == "city" else None

    ids = {"id": "other", "ask": {"message": "?"}}
    async with Orchestrator({}, journal=path, answer=answer) as orchestrator:
        result = await orchestrator.run({"tasks": [CITY, ids]})
        assert (result.status, sorted(asked)) == ("paused", ["city", "other"])
        asked.clear()
        async with orchestrator.resume("last") as run:
            again = await run.execute()
    assert asked == ["other"]
    assert again["city"].output == "Rome"


@contextmanager
def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> Iterator[None]:
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "schema", "text", "value", "shown"),
    [
        ("approve", {"type": "boolean"}, "maybe\ny\n", True, "yes, no, all (items), or Enter"),
        ("ask", {"type": "boolean"}, "no\n", False, "yes, no, ! to refuse, Enter for later:"),
        (
            "ask",
            {"enum": ["a"], "default": "a"},
            "\n",
            "a",
            'one of "a"\nanswer, ! to refuse, Enter for "a":',
        ),
        ("ask", {"type": "string"}, "", None, 'expected: {"type": "string"}'),
        ("ask", {"type": "object"}, 'a=1 b="x y"\n', {"a": 1, "b": "x y"}, "NAME=VALUE ...,"),
        ("elicitation", None, "done\n", True, "done, ! to refuse, Enter for later:"),
    ],
)
async def test_the_terminal_asks(
    kind: Any,
    schema: Any,
    text: str,
    value: Any,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = Question("t", 3, kind, "Which\x1b[31m one?", schema, {"n": 1})
    with typed(monkeypatch, text):
        assert await Terminal(sys.stdin, nullcontext, lambda: None)(question) == value
    err = capsys.readouterr().err
    assert shown in err
    assert "t[3] asks: Which\\u001b[31m one?" in err


def test_a_form_takes_its_own_fields_alone() -> None:
    properties = {"branch": {"type": "string", "default": "main"}, "a b": {"type": "string"}}
    form = {"type": "object", "properties": properties}
    question = Question("t", None, "elicitation", "Which branch?", form)
    assert question.form == "branch=VALUE 'a b'=VALUE"
    assert parsed(question, ["branch=dev"]) == {"branch": "dev"}
    with pytest.raises(AnswerError, match=r'has no field "brnach"\. Did you mean "branch"'):
        parsed(question, ["brnach=dev"])
    with pytest.raises(AnswerError, match='has no field "zz"; it has "branch", "a b"'):
        parsed(question, ["zz=dev"])
    assert Question("t", None, "ask", "?", {"type": "string"}).form == "VALUE"
    assert parsed(Question("t", None, "ask", "?", form), ["more=1"]) == {"more": 1}


@pytest.mark.anyio
async def test_the_terminal_refuses_and_answers_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("t", 0, "approve", "?", {"type": "boolean"})
    with typed(monkeypatch, "!\n"), pytest.raises(RefusedError):
        await Terminal(sys.stdin, nullcontext, lambda: None)(question)
    said: list[Any] = []

    class Answered:
        questions: tuple[Question, ...] = (question,)

        def answer(self, task: str, value: Any, *, all_items: bool) -> None:
            said.append((task, value, all_items))

    with typed(monkeypatch, "all\n"):
        asks = Terminal(sys.stdin, nullcontext, lambda: Answered())
        assert await asks(question) is None
        Answered.questions = ()
        assert await asks(question) is None  # it was answered meanwhile
    assert said == [("t", True, True)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo terminals")
def test_a_person_at_a_terminal_is_asked(tmp_path: Path, write: Write) -> None:
    path = write(CITY, output="$OUTPUT[city]")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", str(path), "--json"]
    environment = os.environ | {"ORCHESTRATOR_JOURNAL": str(tmp_path / "runs.db")}
    with subprocess.Popen(
        command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while b"Enter for later:" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"Rome\n")
        assert process.stdout is not None
        document = json.load(process.stdout)
    os.close(ours)
    assert b"city asks: Which city?" in shown
    assert (process.returncode, document["output"]) == (0, "Rome")


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo terminals")
def test_answers_come_from_the_terminal_of_stderr_where_stdin_is_a_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as shown, os.fdopen(ours, "wb", buffering=0) as keyboard:
        monkeypatch.setattr(sys, "stderr", shown)
        found = terminal(reads_stdin=True)
        assert found is not None
        with found:
            keyboard.write(b"yes\n")
            assert found.readline() == "yes\n"
        monkeypatch.setattr(sys, "stdin", found)
        with monkeypatch.context() as patch:
            patch.setattr(os, "name", "nt")
            assert terminal(reads_stdin=True) is None
        monkeypatch.setattr(os, "ttyname", lambda _: "/nowhere/tty")
        assert terminal(reads_stdin=True) is None
    monkeypatch.setattr(sys, "stderr", None)
    assert terminal() is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo terminals")
def test_a_person_is_asked_at_the_terminal_while_stdin_is_the_plan(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", "--stream", "-", "--json"]
    environment = os.environ | {"ORCHESTRATOR_JOURNAL": str(tmp_path / "runs.db")}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment,
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(json.dumps(CITY).encode() + b"\n")
        process.stdin.flush()
        shown = b""
        while b"Enter for later:" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"Rome\n")
        process.stdin.write(json.dumps({"id": "b", "value": "$OUTPUT[city]"}).encode())
        process.stdin.close()
        assert process.stdout is not None
        document = json.load(process.stdout)
    os.close(ours)
    assert (process.returncode, document["output"]) == (0, {"b": "Rome"})
