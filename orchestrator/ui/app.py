"""The ASGI application: which address of the page gives what."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError, OrchestratorError, UnknownTaskError
from orchestrator.journal.location import Location
from orchestrator.ui import overview, picture, story, task, values, view
from orchestrator.ui.actions import Actions
from orchestrator.ui.guard import Guard, Keys

STATIC = "orchestrator.ui.static"
KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
Hide = Callable[[Any], Any]


@dataclass(slots=True)
class Page:
    """What the application shows.

    Attributes:
        journal: The file with the runs.
        actions: What can be done to them.
        servers: Tells what is known of the servers.
        hide: Hides secrets in an answer.
        closing: Ends the streams.
    """

    journal: Location
    actions: Actions
    servers: Callable[[], Awaitable[dict[str, Any]]]
    hide: Hide = field(default=lambda value: value)
    closing: anyio.Event = field(default_factory=anyio.Event)


def app_of(page: Page, keys: Keys) -> Guard:
    """The application, which answers only whom the guard lets pass."""
    routes = _Routes(page)
    run = "/api/runs/{run}"
    return Guard(
        Starlette(
            routes=[
                Route("/", routes.index),
                Route("/static/{name}", routes.static),
                Route("/api/runs", routes.listed),
                Route("/api/events", routes.list_events),
                Route(run, routes.snapshot),
                Route(f"{run}/events", routes.run_events),
                Route(f"{run}/graph", routes.graph),
                Route(f"{run}/task", routes.task),
                Route(f"{run}/items", routes.items),
                Route(f"{run}/inputs", routes.inputs),
                Route(f"{run}/value", routes.value),
                Route(f"{run}/download", routes.download),
                Route(f"{run}/story", routes.story),
                Route(f"{run}/report", routes.report),
                Route(f"{run}/{{action}}", routes.act, methods=["POST"]),
                Route("/api/servers", routes.servers),
            ]
        ),
        keys,
    )


class _Routes:
    """Answers requests that the guard has let pass."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def index(self, _: Request) -> Response:
        return _file("index.html")

    async def static(self, request: Request) -> Response:
        return _file(request.path_params["name"])

    async def listed(self, request: Request) -> Response:
        asked = request.query_params
        given = {name: asked.get(name, "") for name in ("status", "workflow", "text", "before")}
        return await self._answer(partial(overview.listed, self._page.journal, **given))

    async def snapshot(self, request: Request) -> Response:
        def read() -> dict[str, Any]:
            run = view.known(self._page.journal, request.path_params["run"])
            shown = view.snapshot(self._page.journal, run, _within(request))
            shown["run"]["carried_here"] = run.id in self._page.actions.carried
            shown["run"]["failed_here"] = self._page.actions.failed.get(run.id)
            return shown

        return await self._answer(read)

    async def graph(self, request: Request) -> Response:
        fold = {"1": True, "0": False}.get(request.query_params.get("fold", ""))

        def draw() -> dict[str, Any] | None:
            run = view.known(self._page.journal, request.path_params["run"])
            plan = view.plan_of(self._page.journal, run, _within(request))
            return None if plan is None else picture.graph(plan, fold=fold)

        return await self._answer(draw)

    async def task(self, request: Request) -> Response:
        return await self._about(request, task.detail, request.query_params.get("path", ""))

    async def items(self, request: Request) -> Response:
        return await self._about(request, task.items, request.query_params.get("path", ""))

    async def inputs(self, request: Request) -> Response:
        """The inputs that a run was given, and those that its workflow takes."""

        def read() -> dict[str, Any]:
            run = view.known(self._page.journal, request.path_params["run"])
            return view.inputs_of(self._page.journal, run)

        return await self._answer(read)

    async def value(self, request: Request) -> Response:
        asked = request.query_params
        place, offset = asked.get("at", ""), _number(asked.get("offset", "0"))

        def read() -> dict[str, Any] | None:
            return values.part_at(self._value(request), place, offset)

        return await self._answer(read)

    async def download(self, request: Request) -> Response:
        """A whole value as a file: the browser shows nothing of it."""

        def read() -> bytes:
            return to_json(self._page.hide(self._value(request)), 2).encode()

        return await self._file(read, "value.json")

    async def report(self, request: Request) -> Response:
        """The report of a run as a file."""

        def read() -> bytes:
            run = view.known(self._page.journal, request.path_params["run"])
            return story.report(self._page.journal, run, self._page.hide).encode()

        return await self._file(read, "report.html")

    async def _file(self, read: Callable[[], bytes], name: str) -> Response:
        try:
            body = await to_thread.run_sync(read)
        except OrchestratorError as error:
            return self._error(error)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(body, headers=headers, media_type="application/octet-stream")

    async def story(self, request: Request) -> Response:
        def read() -> dict[str, Any]:
            run = view.known(self._page.journal, request.path_params["run"])
            return story.told(self._page.journal, run)

        return await self._answer(read)

    def _value(self, request: Request) -> Any:
        asked, part = request.query_params, request.query_params.get("of", "output")
        if part not in task.PARTS:
            raise JournalError(f"unknown part {quoted(part)}: expected {', '.join(task.PARTS)}")
        run = view.known(self._page.journal, request.path_params["run"])
        return task.value(self._page.journal, run, asked.get("path", ""), part)

    async def _about(self, request: Request, read: Callable[..., Any], path: str) -> Response:
        def found() -> Any:
            run = view.known(self._page.journal, request.path_params["run"])
            return read(self._page.journal, run, path)

        return await self._answer(found)

    async def servers(self, _: Request) -> Response:
        return self._json(await self._page.servers())

    async def run_events(self, request: Request) -> Response:
        journal, asked = self._page.journal, request.query_params
        # A browser that connects again says what it has seen last.
        since = request.headers.get("last-event-id") or asked.get("after", "")
        try:
            run = await to_thread.run_sync(view.known, journal, request.path_params["run"])
        except OrchestratorError as error:
            return self._error(error)
        watch = view.Watch(journal, run.id, _within(request), since)

        def look() -> tuple[str, dict[str, Any]] | None:
            change = watch.look()
            return None if change is None else (watch.moment, self._page.hide(change))

        return self._stream(look)

    async def list_events(self, _: Request) -> Response:
        """Says that the list may have changed, at most once a second."""
        journal, seen = self._page.journal, [overview.sign(self._page.journal)]

        def look() -> tuple[str, dict[str, Any]] | None:
            if (sign := overview.sign(journal)) == seen[-1]:
                return None
            seen[:] = [sign]
            return "0", {"changed": True}

        return self._stream(look)

    def _stream(self, look: Callable[[], tuple[str, dict[str, Any]] | None]) -> Response:
        from orchestrator.ui.stream import events

        body = events(look, self._page.closing)
        return StreamingResponse(body, media_type="text/event-stream")

    async def act(self, request: Request) -> Response:
        """Do something to a run, with the members of the body as arguments."""
        action, actions = request.path_params["action"], self._page.actions
        known: Mapping[str, tuple[Callable[..., Awaitable[Any]], frozenset[str]]] = {
            "cancel": (actions.cancel, frozenset()),
            "resume": (actions.resume, frozenset({"unknown"})),
            "retry": (actions.retry, frozenset({"again", "alone"})),
            "fork": (actions.fork, frozenset({"inputs"})),
            "answer": (
                actions.answer,
                frozenset({"task", "item", "all_items", "refuse", "value"}),
            ),
        }
        if action not in known:
            return self._json({"error": f"unknown action {quoted(action)}"}, 404)
        act, names = known[action]
        try:
            given = json.loads(await request.body() or b"{}")
            if not isinstance(given, dict) or not given.keys() <= names:
                raise ValueError(f"expected an object with some of {sorted(names)}")
            if not isinstance(given.get("inputs", {}), dict):
                raise ValueError("expected an object at .inputs")
            return self._json(await act(request.path_params["run"], **given))
        except OrchestratorError as error:
            return self._error(error, 409)
        except (ValueError, TypeError, RecursionError) as error:
            return self._json({"error": f"the request is wrong: {error}"}, 400)

    async def _answer(self, read: Callable[[], Any]) -> Response:
        try:
            found = await to_thread.run_sync(read)
        except OrchestratorError as error:
            return self._error(error)
        if found is None:
            return self._json({"error": "there is no such thing"}, 404)
        return self._json(found)

    def _error(self, error: OrchestratorError, status: int = 404) -> Response:
        shown = error.args[0] if isinstance(error, UnknownTaskError) else str(error)
        return self._json({"error": shown}, status)

    def _json(self, value: Any, status: int = 200) -> Response:
        body = to_json(self._page.hide(value)).encode()
        return Response(body, status, media_type="application/json")


def _within(request: Request) -> str:
    return request.query_params.get("within", "")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _file(name: str) -> Response:
    """A file that the browser loads; only those that are there by this very name."""
    files = {each.name: each for each in resources.files(STATIC).iterdir()}
    kind = KINDS.get(name.rpartition(".")[2])
    if name not in files or kind is None:
        return Response("there is no such file\n", 404, media_type="text/plain")
    return Response(files[name].read_bytes(), headers={"content-type": kind})
