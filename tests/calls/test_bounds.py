"""Nothing waits without a bound: each await that might last forever is in a table, with its bound.

A wait that is not in the table fails the test: give it a bound, and say here what it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator

PACKAGE = Path(orchestrator.__file__).parent

# What may last for ever, by the name of the method or function that is awaited.
LASTING = {
    "acquire",
    "anext",
    "changed",
    "checked",
    "__anext__",
    "receive",
    "send",
    "send_request",
    "sleep_forever",
    "wait",
    "wait_readable",
    "wait_writable",
}

CALLER = "the limit of the attempt, around the caller"
HOLDERS = "those who hold it: their attempts have limits, and so have the waits between them"
SESSION = "the session: its end cancels it"
STARTS = "start_timeout_s of each server, one or a few after the other"
CLOSING = "the program: it is killed after 4 s, and its pipes are closed"

AUTHOR = "who writes the plan: the end of the stream, or Ctrl-C"
POOL = "the end of the pool or of its client; else as without a pool"
GUEST = "the client, whose end cancels it"
PERSON = "a person; the run pauses when nothing else is left"
BOUNDS = {
    (
        "callers",
        "_counted.call_counted",
        "anyio.sleep_forever",
    ): "the calls under way, and the end of the run",
    ("connection", "Connection.ask", "asked.settled.wait"): POOL,
    ("connection", "Connection.hold", "asked.settled.wait"): HOLDERS + "; " + POOL,
    ("connection", "Connection.over", "channel.receive"): "HELLO_S",
    ("connection", "Connection.run", "self._channel.receive"): "none of its own: it is cancelled",
    ("drain", "Drain.close", "self._ended.wait"): "--drain-s of the worker",
    ("drain", "Drain.around.call_unless_closed", "anyio.sleep_forever"): "the end of the run here",
    ("guest", "Guest._ask_back", "work.replied.wait"): GUEST,
    ("guest", "Guest._do_lease", "anyio.sleep_forever"): GUEST,
    ("guest", "Guest._do_lease", "limit.acquire"): HOLDERS + "; " + GUEST,
    ("guest", "Guest._do_lock", "anyio.sleep_forever"): GUEST,
    ("guest", "Guest.serve", "self._channel.receive"): GUEST,
    ("host", "Host._until_idle", "self._changed.wait"): "idle_s; clients",
    ("host", "Host.configure", "async with self._configuring"): CLOSING,
    ("host", "Host.status", "each.ready.wait"): STARTS,
    ("host", "Hosted.end", "self._over.wait"): CLOSING,
    ("host", "Hosted.keep", "async with self.pool"): CLOSING,
    ("host", "Hosted.keep", "self._end.wait"): "none of its own: it waits to be ended",
    ("host", "Hosted.opened", "self._open.wait"): "its task, which only makes a task group",
    ("authorization", "_read", "async for chunks"): CALLER + "; MAX_REFUSAL_BYTES",
    ("authorizer", "Authorizer._renewed", "async with self._turn"): CALLER + "; RENEWAL_S of each",
    ("browser", "Browser._serve", "stream.send"): "PERSON_S, after which nobody listens",
    ("browser", "Browser.answer", "self._answered.wait"): "PERSON_S",
    ("browser", "_target", "stream.receive"): "HEAD_S",
    ("flows", "_drive", "anext"): "RENEWAL_S; of a person PERSON_S",
    ("flows", "_drive", "send"): "ANSWER_S",
    ("flows", "refresh.send_and_judge", "send"): "ANSWER_S",
    ("login", "_line", "anyio.wait_readable"): "PERSON_S",
    ("requests", "_body", "async for chunks"): "ANSWER_S; MAX_BYTES",
    ("requests", "sent", "client.send"): "ANSWER_S",
    ("locks", "Locks.acquire", "place.beyond.acquire"): HOLDERS,
    ("process", "_watch", "async for signals"): "the pool, which cancels it",
    ("lease", "Lease._acquire_own", "limit.acquire"): HOLDERS,
    ("warm_server", "WarmServer.open", "self._has_own.wait"): STARTS,
    ("warm_server", "WarmServer.session", "self._has_own.wait"): CALLER,
    ("warm_server", "_Calling._answer", "self._has_question.wait"): CALLER,
    ("warm_server", "_Calling.run", "asked.settled.wait"): CALLER,
    ("wire", "Channel.write", "async for self._queue"): "the connection, whose end cancels it",
    ("wire", "Channel.write", "self._stream.send"): "the connection, whose end cancels it",
    (
        "remote_task",
        "RemoteTask._send",
        "self.session.send_request",
    ): CALLER + "; CANCEL_S for the cancellation after it",
    ("replay", "_Player.call", "anyio.sleep_forever"): CALLER,
    ("questions", "Questions._watch_for_end", "async with self._watch"): PERSON,
    ("questions", "Questions._wait", "opened.answered.wait"): PERSON,
    ("questions", "Questions._shared", "opened.over.wait"): PERSON,
    ("asking", "Terminal.__call__", "async with self._turn"): PERSON,
    ("asking", "Terminal._line", "anyio.wait_readable"): PERSON,
    ("schedules", "Passing.generations", "self._changed.wait"): "the tasks of a generation",
    ("inside", "run_inside", "anyio.sleep_forever"): "the end of the run, which came",
    ("record", "RecordingPool._save", "async with self._saving"): "a file that is written",
    ("elicitation", "answered", "session.send_request"): CALLER,
    ("health", "HealthMonitor.watch", "until.wait"): SESSION,
    ("health", "HealthMonitor._probe", "self._silent.wait"): SESSION,
    ("health", "HealthMonitor._relist", "self._stale.wait"): SESSION,
    ("health", "HealthMonitor._listen", "async for changes"): SESSION,
    ("news", "News.confirmed", "confirmed.wait"): "CONFIRM_S",
    ("news", "News.run", "self._has_fresh.wait"): SESSION,
    ("news", "News._tell", "self._has_news.wait"): SESSION,
    ("news", "News._listen", "async for changes"): SESSION,
    ("news", "News._subscribe", "client.session.send_request"): "SUBSCRIBE_S",
    ("sdk_client", "ask", "session.send_request"): "PROBE_S: see HealthMonitor._probe",
    ("writer", "Writer.flush", "waiter.done.wait"): "a commit, whose lock ends with its process",
    ("middleware", "with_locks.call_holding", "acquire"): HOLDERS,
    ("cluster", "Cluster.grant", "granted.changed.wait"): HOLDERS + "; FENCE_S without a database",
    ("cluster", "Cluster.confirm", "granted.changed.wait"): "FENCE_S",
    ("middleware", "_call_in_slots", "limit.acquire"): HOLDERS,
    ("signals", "Ending._watch", "async for signals"): "the command, which cancels it",
    ("signals", "Ending.during", "async with self._orchestrator"): CLOSING,
    ("following", "_Submitted.run", "async with self.orchestrator"): CLOSING,
    ("following", "_Submitted._end", "async with self.orchestrator"): CLOSING,
    ("following", "_Submitted._followed", "self.woken.wait"): "LOOK_S",
    ("owner", "_Owner.start", "self._open.wait"): "the owner, which only makes a task group",
    ("owner", "_Owner._own", "async with self._held"): "none of its own: it waits to be closed",
    ("owner", "_Owner._own", "self._end.wait"): "the user, who closes it",
    ("owner", "_Owner._closed", "self._over.wait"): CLOSING,
    ("client", "Orchestrator.stream", "async for receive"): "the run, which closes the stream",
    ("session", "Session.started_within", "self._started.wait"): "its argument",
    ("session", "Session._ended", "self._failed.wait"): "LAST_WORDS_S: see Session._end",
    ("session", "Session._translated", "self._over.wait"): "END_S",
    ("task_runner", "TaskRunner._run_tasks", "readiness.checked"): STARTS,
    ("client", "Orchestrator.stream", "ended.wait"): "the run was cancelled: finally_timeout_s",
    ("plan_warnings", "PlanWarnings.find", "self._known.wait"): "the run, which cancels it",
    ("http", "_ContainedStream.__anext__", "anext"): CALLER + "; the end of the session",
    ("events", "EventStream.__anext__", "anext"): CALLER,
    ("events", "EventStream.first", "anext"): STARTS,
    ("sse", "SseTransport._read", "say.send"): SESSION,
    ("sse", "SseTransport._read", "async for stream"): SESSION,
    ("sse", "SseTransport._accepted", "self._said.send"): SESSION,
    ("sse", "_Short.__aiter__", "async for chunks"): SESSION,
    ("sse", "_Said.__aiter__", "async for self._read"): SESSION,
    ("http", "_ContainedStream.aclose", "async for self"): "DRAIN_S",
    ("http_wire", "without_body", "async for response.stream"): "DRAIN_S",
    ("http_wire", "_Reopened.__aiter__", "async for self._inner"): SESSION,
    ("http_wire", "read_whole", "async for chunks"): CALLER
    + "; for notifications NOTIFICATION_TIMEOUT_S",
    (
        "supervisor",
        "Supervisor.open",
        "async with self._opening",
    ): "start_timeout_s of the start before it",
    ("supervisor", "Supervisor._revive", "async with self._opening"): "the same",
    ("supervisor", "Supervisor.session", "self._changed.wait"): CALLER
    + "; starts have limits, too",
    ("rates", "Rate.acquire", "self._turn.acquire"): "the window of those before it",
    ("grants", "GrantedSlots.acquire", "super().acquire"): HOLDERS,
    ("grants", "GrantedRate.acquire", "self._slots.acquire"): "the window of those before it",
    ("line", "until_any.wait", "anyio.wait_readable"): HOLDERS + "; the end of their process",
    ("locks", "Locks._take_wider", "wider.acquire"): HOLDERS,
    ("limits", "Slots._served", "waiter.woken.wait"): HOLDERS,
    ("limits", "Slots.slot", "self.acquire"): HOLDERS,
    ("startup", "Startup._open_all", "self.changed"): STARTS,
    ("startup", "Startup.changed", "self._changed.wait"): STARTS,
    ("startup", "Startup.checked", "self.changed"): STARTS,
    ("startup", "Startup.until_first_call", "self.changed"): STARTS,
    ("middleware", "_wait_until_ready", "readiness.changed"): STARTS,
    (
        "stderr",
        "StderrTail._drain",
        "anyio.wait_readable",
    ): "LAST_WORDS_S after the session",
    (
        "remote_questions",
        "RemoteQuestions._ask",
        "async with self._turn",
    ): "the writes of other answers, which the database bounds",
    ("stderr", "StderrTail.finish", "self._drained.wait"): "LAST_WORDS_S",
    ("stdio", "_StdoutReader.read", "process.stdout.receive"): CLOSING,
    ("stdio", "_StdoutReader.read", "say.send"): "the session takes it, or closes the stream",
    ("stdin_writer", "StdinWriter.finish", "self._ended.wait"): "FLUSH_S; then it is cancelled",
    ("stdin_writer", "StdinWriter.write", "self._more.wait"): SESSION,
    ("stdin_writer", "StdinWriter.send", "rest.done.wait"): CALLER + "; the end of the writer",
    (
        "stdin_writer",
        "StdinWriter._write_first",
        "anyio.wait_writable",
    ): "FLUSH_S after the session",
    ("base", "_Outgoing.send", "self.inner.send"): CALLER + "; COURTESY_S",
    ("base", "_Outgoing._answer", "self.inner.send"): "MAX_ANSWERS_BYTES; the end of the session",
    ("base", "_Incoming.receive", "self.inner.receive"): SESSION,
    ("base", "_Incoming.receive", "first.receive"): SESSION,
    ("handshake", "Handshake.receive", "inner.receive"): "PROBE_S while that is asked; " + SESSION,
    ("google_adk", "OrchestratorToolset.get_tools", "self._engine.acquire"): STARTS,
    ("pydantic_ai", "OrchestratorToolset.__aenter__", "self._engine.acquire"): STARTS,
    ("offered", "Engine.acquire", "async with self._lock"): CLOSING,
    ("offered", "Engine.release", "async with self._lock"): CLOSING,
    ("growing", "GrowingRun.add", "other.wait"): STARTS,
    ("growing", "GrowingRun.close", "async with self._turn"): STARTS,
    ("growing", "GrowingRun.close", "next(iter(self._coming.values())).wait"): STARTS,
    ("growing", "GrowingRun.close", "self._ended.wait"): "the run, whose tasks have limits",
    ("growing", "GrowingRun.wait", "self._ended.wait"): "the run, whose tasks have limits",
    ("growing", "GrowingRun.__aexit__", "self._ended.wait"): "the run, which begins nothing more",
    ("growth", "Growing.schedule", "self._end.wait"): "the author, who closes or loses the plan",
    ("guard", "Guard.__call__", "send"): "the connection: its end cancels it",
    ("guard", "_redirect", "send"): "the connection: its end cancels it",
    ("guard", "_say", "send"): "the connection: its end cancels it",
    ("guard", "_with_headers.sending", "send"): "the connection: its end cancels it",
    ("stream", "events", "closing.wait"): "LOOK_S",
    ("server", "_watch", "async for signals"): "the command, which cancels it",
    ("http", "Guarded.__call__", "send"): "the connection: its end cancels it",
    ("http", "_watch", "async for signals"): "the command, which cancels it",
    ("stdio", "Answering.receive", "self._read.receive"): "the command, whose stdin ends",
    ("stdio", "Answering.__anext__", "self.receive"): "the command, whose stdin ends",
    ("stdio", "Answering._refuse", "self._write.send"): "the client, which reads its answers",
    ("stdio", "serve_stdio.watch", "async for signals"): "the command, which cancels it",
    ("progress", "Progress.report", "self._changed.wait"): "EVERY_S",
    ("server", "ToolsetServer._asking.ask", "async with self._asks"): PERSON,
    ("stream", "_Streamed._pieces", "async for _texts(self.options.file)"): AUTHOR,
    ("stream", "_Streamed._read", "async for pieces"): AUTHOR,
    ("stream", "_Streamed.run", "async for pieces"): "the first line of a plan, or a signal",
    ("stream", "_Streamed._refuse", "async for pieces"): "the end of the run cancels it",
    ("stream", "_Streamed.run", "growing.wait"): AUTHOR,
    ("streamed", "StreamedPlan._follow", "anext"): "max_run_s",
    ("streamed", "StreamedPlan._follow", "async for pieces"): "max_run_s",
    ("streamed", "StreamedPlan._pieces", "async for self._receive"): "max_run_s",
    ("streamed", "StreamedPlan.finish", "self._ended.wait"): "max_run_s, and what runs is finished",
    ("stream", "_texts", "anyio.wait_readable"): AUTHOR,
    ("worker", "Worker._end", "carried.over.wait"): "nothing: the run is cancelled",
}


def waits(path: Path) -> Iterator[tuple[str, str, str]]:
    """Module, function and what is waited for, of each await in a file that may last for ever."""
    module = path.stem

    def visit(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = (*scope, node.name)
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if name.rpartition(".")[2] in LASTING:
                yield module, ".".join(scope), name
        if isinstance(node, ast.AsyncFor):
            yield module, ".".join(scope), f"async for {ast.unparse(node.iter)}"
        if isinstance(node, ast.AsyncWith):  # a lock, where it is not a call that makes something
            held = (item.context_expr for item in node.items)
            for lock in (each for each in held if isinstance(each, ast.Attribute)):
                yield module, ".".join(scope), f"async with {ast.unparse(lock)}"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, scope)

    yield from visit(ast.parse(path.read_text()), ())


@pytest.mark.untraced
def test_every_wait_that_might_last_for_ever_has_a_bound() -> None:
    found = {wait for path in PACKAGE.rglob("*.py") for wait in waits(path)}
    assert found - BOUNDS.keys() == set(), "give it a bound, and put it into the table"
    assert BOUNDS.keys() - found == set(), "it is not there any more: take it out of the table"
