"""Asks on the terminal, and `orchestrator answer`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TextIO

import anyio
from anyio import to_thread

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of, worker_command
from orchestrator.cli.tool_sources import servers_if_any
from orchestrator.cli.values import values_of
from orchestrator.cluster.waiting import lacks
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, name_of, quoted, visible
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.questions import fitting
from orchestrator.errors import AnswerError, Problem, RefusedError, WorkflowError
from orchestrator.journal import answers, history
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.location import Address
from orchestrator.journal.orders import asked_of
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import schema_type

MAX_SHOWN, MAX_QUESTIONS = 2000, 10
HOW = {"approve": "", "unknown": " 'repeat|fail'"}  # what is answered; else a value
ITEM = re.compile(r"(.+)\[([0-9]+)\]")  # a task with its item, as messages show it
YES, NO = ("y", "yes", "true"), ("n", "no", "false")
REFUSE, LATER, ALL = "!", "", "all"


def terminal(*, reads_stdin: bool = False) -> TextIO | None:
    """Where a person types answers; None if nobody is there.

    Args:
        reads_stdin: Whether stdin is something else, such as a plan: then it is the terminal that
            stderr is.
    """
    # A stream that was closed before the program began is None.
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    if not reads_stdin:
        return sys.stdin if sys.stdin is not None and sys.stdin.isatty() else None
    if os.name == "nt":
        return None
    try:  # a forked command has no terminal of its own, so that /dev/tty is nothing
        return os.fdopen(os.open(os.ttyname(sys.stderr.fileno()), os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return None


class Asks(Protocol):
    """What asks: a run of this process, or one that another process carries."""

    @property
    def questions(self) -> Sequence[Question]:
        """Those that nobody has answered."""

    def answer(self, task: str, value: Any, *, all_items: bool) -> None:
        """Answer those of a task."""


class Terminal:
    """Asks on the terminal, one question at a time.

    Args:
        typed: What a person types there.
        hold: Removes what else is shown there for a while.
        run: The run that asks, as soon as there is one.
    """

    def __init__(
        self,
        typed: TextIO,
        hold: Callable[[], AbstractContextManager[None]],
        run: Callable[[], Asks | None],
    ) -> None:
        self._typed, self._hold, self._run = typed, hold, run
        self._turn = anyio.Lock()
        self._rest = ""

    async def __call__(self, question: Question) -> Any:
        """The answer, None for later; see `AnswerCallback`."""
        async with self._turn:
            run = self._run()
            if run is not None and question not in run.questions:
                return None  # it was answered meanwhile, with others or by another process
            with self._hold():
                self._forget_typed()
                _say(f"\n{_described(question)}")
                while True:
                    _say(f"{_choices(question)} ", end="")
                    try:
                        text = (await self._line()).strip()
                    except anyio.get_cancelled_exc_class():  # others have answered, or it ends
                        _say("")
                        raise
                    try:
                        return self._value(question, text)
                    except AnswerError as error:
                        _say(str(error))

    def _value(self, question: Question, text: str) -> Any:
        if text == REFUSE:
            raise RefusedError
        if text == LATER:
            return (question.schema or {}).get("default")
        if text == ALL and question.item is not None and question.kind == "approve":
            run = self._run()
            assert run is not None
            run.answer(question.task, True, all_items=True)
            return None
        return parsed(question, _words(question, text))

    def _forget_typed(self) -> None:
        """Forget what was typed before the question was there: it is no answer to it."""
        if self._typed.isatty() and os.name != "nt":
            import termios

            self._rest = ""
            termios.tcflush(self._typed.fileno(), termios.TCIFLUSH)

    async def _line(self) -> str:
        """A line. Waiting for it can be cancelled, so that a signal ends the command."""
        while "\n" not in self._rest:
            if os.name == "nt":
                return await to_thread.run_sync(self._typed.readline, abandon_on_cancel=True)
            await anyio.wait_readable(self._typed.fileno())
            read = os.read(self._typed.fileno(), 65536).decode(errors="replace")
            if not read:  # the end of the input: nobody answers any more
                return LATER
            self._rest += read
        line, _, self._rest = self._rest.partition("\n")
        return line


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _described(question: Question) -> str:
    lines = [f"{name_of(question.where)} asks: {visible(question.message, keep=chr(10))}"]
    if question.arguments:
        lines.append(f"  arguments: {cut(visible(to_json(question.arguments)), MAX_SHOWN)}")
    schema = question.schema
    if schema is not None and isinstance(schema.get("enum"), list):
        choices = ", ".join(map(to_json, schema["enum"]))
        lines.append(f"  one of {cut(visible(choices), MAX_SHOWN)}")
    elif schema is not None and not _is_yes_or_no(question):
        lines.append(f"  expected: {cut(visible(to_json(schema)), MAX_SHOWN)}")
    return "\n".join(lines)


def _is_yes_or_no(question: Question) -> bool:
    return question.schema is not None and question.schema.get("type") == "boolean"


def _words(question: Question, text: str) -> list[str]:
    try:
        return shlex.split(text) if is_form(question) and text[0] not in "{[" else [text]
    except ValueError as error:
        raise AnswerError(f"unbalanced quotes: {error}") from None


def is_form(question: Question) -> bool:
    """Whether the answer is an object, which NAME=VALUE ... can give, too."""
    schema = question.schema
    return schema is not None and TypeQuery().kinds(schema_type(schema)) == {"object"}


def _choices(question: Question) -> str:
    if question.kind == "approve":
        every = ", all (items)" if question.item is not None else ""
        return f"yes, no{every}, or Enter for later:"
    schema = question.schema or {}
    enter = f"Enter for {to_json(schema['default'])}" if "default" in schema else "Enter for later"
    what = "yes, no" if _is_yes_or_no(question) else "answer"
    what = "done" if question.schema is None else what  # it is only confirmed
    what = "NAME=VALUE ..." if is_form(question) else what
    return f"{what}, {REFUSE} to refuse, {enter}:"


def parsed(question: Question, words: list[str]) -> Any:
    """The value that words of a command line or a terminal stand for.

    Raises:
        AnswerError: They stand for none that fits the schema of the question.
    """
    schema = question.schema
    if schema is None:
        return True
    type_ = schema_type(schema)
    kinds = TypeQuery().kinds(type_)
    value: Any
    if "object" in kinds and words and all("=" in word and word[0] not in "{[" for word in words):
        pairs = [(name, text) for name, _, text in (word.partition("=") for word in words)]
        properties = schema.get("properties", {})
        value = values_of(pairs, properties.get)
    elif len(words) != 1:
        expected = cut(to_json(schema), MAX_SHOWN)
        given = "none" if not words else f"{len(words)}"
        message = f"expected one answer that fits {expected}, got {given}"
        raise AnswerError(message)
    elif kinds <= {"boolean", "null"} and words[0].lower() in (*YES, *NO):
        value = words[0].lower() in YES
    else:
        value = values_of([("answer", words[0])], lambda _: schema)["answer"]
    fitting(question, value)
    return value


def hiding_of(options: argparse.Namespace) -> Hiding:
    """What hides the secrets of the servers in answers."""
    from orchestrator.servers.config import secrets_by_name

    return Hiding(secrets_by_name(servers_if_any(options)))


def answer(options: argparse.Namespace) -> int:
    """`orchestrator answer`."""
    if options.no and options.words:
        message = "--no takes no value"
        raise WorkflowError("usage", [Problem("usage", message)])
    path = path_of(options, configured(options))
    run = history.find(path, options.run)

    def reply_to(question: Question) -> Reply:
        if options.no:
            return Reply(refused=True)
        words = options.words
        if not words and question.kind == "approve":
            return Reply(True)
        if not words and "default" in (question.schema or {}):
            return Reply((question.schema or {})["default"])
        return fitting(question, parsed(question, words))

    task, item, every = options.task, options.item, options.all_items
    if item is None and (of_item := ITEM.fullmatch(task)) is not None:
        task, item = of_item[1], int(of_item[2])
    if run.status not in (history.RUNNING, *history.OPEN):
        raise AnswerError(f"run {run.id} has ended with status {run.status}: nothing waits in it")
    which_ones: dict[str, Any] = {"item": item, "all_items": every}
    question, left = answers.answer(path, run.id, task, reply_to, hiding_of(options), **which_ones)
    which = f"all items of {quoted(question.task)} are" if every else f"{quoted(question.where)} is"
    more = f"; {left:,} more to answer" if left else ""
    then, order = f'"orchestrator resume {run.id}" goes on', asked_of(path, [run]).get(run.id)
    if run.status == history.RUNNING:
        then = "the process that carries the run goes on"
    elif order is not None:
        then = "a worker goes on with the run"
    done = "refused" if options.no else "answered"
    print(f"{which} {done}{more}; {then}", file=sys.stderr)
    if order is not None:
        assert isinstance(path, Address)
        missing = lacks(path, order, worker_command(options)).text
        if missing:
            complain(f"nothing carries it now: {missing}")
    return 0


def waiting(run: str, questions: Sequence[Question], *, kept: bool, by_worker: bool = False) -> str:
    """What to do about the questions of a paused run, which a worker may go on with."""
    lines = [f"run {run} waits for answers:"]
    for question in questions[:MAX_QUESTIONS]:
        item = "" if question.item is None else f" --item {question.item}"
        how = HOW.get(question.kind, f" {question.form}" if question.schema is not None else "")
        lines.append(f"  {name_of(question.where)}: {cut(visible(question.message), 1000)}")
        if question.arguments:
            lines.append(f"    arguments: {cut(visible(to_json(question.arguments)), 200)}")
        if kept:
            lines.append(f"    orchestrator answer {run} {shlex.quote(question.task)}{item}{how}")
    if (more := len(questions) - MAX_QUESTIONS) > 0:
        lines.append(f"  and {more:,} more (--json has all)")
    if by_worker:
        lines.append("then a worker goes on with it")
    elif kept:
        lines.append(f"then: orchestrator resume {run}")
    else:
        lines.append("it is not kept (--no-journal), so it cannot go on: use --wait, or a terminal")
    return "\n".join(lines)
