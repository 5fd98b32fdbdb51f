"""`Orchestrator`: servers on one side, workflows on the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, Unpack

import anyio

from orchestrator.engine.events import Event, Observers
from orchestrator.engine.question import AnswerCallback
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.errors import WorkflowError
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Location
from orchestrator.preflight import WorkflowSource
from orchestrator.run_request import Inputs, RunOptions
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import servers_of
from orchestrator.servers.config_file import load_config
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.submitting import Submitting


class Orchestrator(Submitting):
    """Runs workflows on a set of MCP servers, on asyncio or trio.

    Open it with `async with`, or with `start()` and `aclose()`. Different tasks may do the two, as
    fixtures of pytest and cells of notebooks do.

    Servers are started when a workflow first names them, and reused by all later runs.

    Args:
        servers: The servers by name. Each is a `Server`, a URL of streamable HTTP, a
            `StdioServerParameters`, or an MCP server object, which is called in memory.
        lock: What the tools have to be like; others are never called. None: any tools.
        observers: Receive the events of every run.
        journal: The file that keeps the runs, so that `resume` can go on with one after a crash.
        answer: Answers the questions of runs; see `AnswerCallback`.
        record: The file that gets every call with its answer, for `replay`.

    Raises:
        ConfigError: A server is of no known kind.
        WorkflowError: The file of `record` cannot be written.
    """

    def __init__(
        self,
        servers: Mapping[str, Any] | ServerPool,
        lock: Lockfile | None = None,
        *,
        observers: Observers = (),
        journal: str | Location | Journal | None = None,
        answer: AnswerCallback | None = None,
        record: str | Path | None = None,
    ) -> None:
        kept = Journal(journal) if isinstance(journal, Location | str) else journal
        if isinstance(servers, ServerPool):
            pool = servers
        elif record is None:
            pool = ServerPool(servers_of(servers), lock)
        else:
            from orchestrator.recordings.record import RecordingPool

            pool = RecordingPool(servers_of(servers), lock, record)
        super().__init__(pool, observers, kept, answer)

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        *,
        lock: bool | str | Path = True,
        observers: Observers = (),
        journal: str | Location | Journal | None = None,
        answer: AnswerCallback | None = None,
        record: str | Path | None = None,
    ) -> Self:
        """An orchestrator for the servers of a servers.toml or a `mcpServers` JSON file.

        Args:
            path: The file.
            lock: Whether to use the lock file beside it, if it exists; or the path of another one.
            observers: Receive the events of every run.
            journal: The file that keeps the runs.
            answer: Answers the questions of runs.
            record: The file that gets every call with its answer.

        Raises:
            ConfigError: The file cannot be read, or is wrong; with every mistake in it.
            WorkflowError: The lock file cannot be read, or was changed by hand; the file of
                `record` cannot be written.
        """
        servers = load_config(path)
        if isinstance(lock, bool):
            known = Lockfile.beside(path) if lock else None
        else:
            known = Lockfile.load(lock)
        return cls(
            servers, known, observers=observers, journal=journal, record=record, answer=answer
        )

    @classmethod
    def replay(
        cls, recording: str | Path | Mapping[str, Any], *, observers: Observers = ()
    ) -> Self:
        """An orchestrator that starts no server and answers calls from a recording.

        A call that is not in it fails with an error of kind `not_recorded`. `run_sync` does not
        wait for retries, delays and time-outs; `run` waits as long as they say.

        Args:
            recording: What `record` wrote: the file, or its document.
            observers: Receive the events of every run.

        Raises:
            WorkflowError: It cannot be read, or is wrong; with every mistake in it.
        """
        from orchestrator.recordings.recording import Recording
        from orchestrator.recordings.replay import ReplayPool

        if isinstance(recording, Mapping):
            return cls(ReplayPool(Recording.of(recording)), observers=observers)
        return cls(ReplayPool(Recording.load(recording)), observers=observers)

    @property
    def loop(self) -> Mapping[str, Any]:
        """The options of `anyio.run` that suit it best: a replay does not wait for timers."""
        return self._pool.loop

    @property
    def missed(self) -> Sequence[str]:
        """Of a replay: the message of each call that was not in the recording, in order."""
        return self._pool.missed

    def __repr__(self) -> str:
        return f"Orchestrator({self._pool!r})"

    async def run(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run a workflow.

        Servers that are not ready start meanwhile: a task waits for its own server only. Until all
        servers are ready or have failed and the plan is checked, only read-only tools are called.

        Args:
            workflow: A path of a JSON or YAML file, a dict, or a `Workflow`.
            inputs: Values for its inputs.
            options: `schedule` (`generations` or `dataflow`) and `max_concurrency` (0 = unlimited,
                1 = sequential) replace those of the workflow. `estimates`: what one call of a task
                is expected to take, seconds, by task id; under a limit the longest path goes first,
                and a missing task takes the median of the others; see also `estimates`.
                `max_run_mb`: what the answers may take in memory (0 = unlimited); over it the
                run fails with what it has. `observers` receive the events of this run. Questions:
                `answer` is asked, in place of that of the orchestrator; when nothing else is left,
                the run ends as `paused`, or with `wait` it waits for `Run.answer`.

        Returns:
            The result. It holds the failures of tasks, which are never raised.

        Raises:
            WorkflowError: The workflow, its inputs, servers or options are wrong.
        """
        async with self.begin(workflow, inputs, **options) as run:
            return await run.execute()

    def run_sync(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run a workflow where there is no event loop: start the servers, run it, and close them.

        Takes and raises what `run` does.

        Raises:
            RuntimeError: An event loop runs in this thread: write `await run(...)` there.
        """

        async def run_once() -> RunResult:
            async with self:
                return await self.run(workflow, inputs, **options)

        if _has_event_loop():
            raise RuntimeError("an event loop is running: write 'await orchestrator.run(...)'")
        return anyio.run(run_once, **self.loop)

    async def prepare(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> Run:
        """The `Run` that `run` executes, when all servers are ready and the plan is checked.

        Takes what `run` takes. You can execute the `Run` once, and cancel it.

        Raises:
            WorkflowError: As for `run`; nothing was called.
        """
        request = self._request(workflow, inputs, options)
        await self._open(request)
        return self._new_run(request)

    async def dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Go through a whole run with made-up outputs; no tool is called.

        All else is as in a run: references, conditions, `for_each`, conversions, and arguments,
        which are checked with the schemas of their tools. `made_up` in the result says where the
        outputs come from.

        Takes what `run` takes, and `tools`: each tool by `server:tool`. By default those of the
        lock, or else the servers start and list theirs; one that does not start fails its tasks.

        Raises:
            WorkflowError: The workflow, its inputs, its servers or its tools are wrong.
        """
        run = await self.prepare_dry_run(workflow, inputs, tools=tools, **options)
        return await run.execute()

    async def prepare_dry_run(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        *,
        tools: Mapping[str, Tool] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """The `Run` that `dry_run` executes; takes and raises what that does."""
        from orchestrator.dry_run import DryRunCaller, missing_tools

        request = self._request(workflow, inputs, options)
        tools = request.locked_tools(self._pool) if tools is None else tools
        if tools is None:
            await self._open(request)
            tools = self._pool.catalog.of(request.workflow.plan.servers)
        elif problems := missing_tools(request.workflow, tools):
            raise WorkflowError(request.workflow.name, problems)
        caller = DryRunCaller(request.workflow, tools, self.failure)
        return request.run(
            caller, Servers(caller.tools, startup_ms=request.times.ms), caller.made_up
        )

    async def stream(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[Event]:
        """Run a workflow, and yield its events as they happen; the last is `RunSettled`.

        Takes what `run` takes. Leaving the loop early cancels the run.

        Raises:
            WorkflowError: As for `run`: before the first event, or after the last.
        """
        send, receive = anyio.create_memory_object_stream[Event](float("inf"))

        ended = anyio.Event()

        def forward(event: Event) -> None:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                send.send_nowait(event)

        async def execute() -> None:
            with send:
                await run.execute()
            ended.set()

        options["observers"] = (*options.get("observers", ()), forward)
        with receive, send:
            async with self.begin(workflow, inputs, **options) as run:
                self._pool.start_soon(execute)
                try:
                    async for event in receive:
                        yield event
                finally:
                    run.cancel("the events of the run are no longer read")
                    if run.plan.finally_ is not None:  # its tasks need the servers
                        with anyio.CancelScope(shield=True):
                            await ended.wait()


def _has_event_loop() -> bool:
    try:
        anyio.get_current_task()
    except RuntimeError:
        return False
    return True
