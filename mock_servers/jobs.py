"""Tools that are carried out as tasks of MCP, in the designs of 2025-11-25 and of 2026-07-28.

Each tool but `seen` answers with the handle of a task. In protocol 2025-11-25 they say that they
need that; in 2026-07-28 a client has to announce the extension.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from typing import Any

from mock_servers.wire import Connection, Json, RpcError, notify, write

EXTENSION = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
RELATED = "io.modelcontextprotocol/related-task"
MISSING_CAPABILITY, INVALID_PARAMS, NOT_FOUND = -32021, -32602, -32601
POLL_MS = 60
TOOLS = ("build", "ask", "fail", "refuse", "drop", "stuck", "forget")
ASK = "elicitation/create"
ASKED: Json = {
    "message": "Which branch?",
    "requestedSchema": {
        "type": "object",
        "properties": {"branch": {"type": "string", "default": "main"}},
        "required": ["branch"],
    },
}


class Job:
    """A task: what the client sees of it, and its work."""

    def __init__(self, number: int, token: Any) -> None:
        self.id, self.token = f"job-{number}", token
        self.status, self.message = "working", "queued"
        self.result: Json | None = None
        self.error: Json | None = None
        self.answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.work: asyncio.Task[None] | None = None

    def end(self, status: str, message: str = "") -> None:
        """It has ended."""
        self.status, self.message = status, message
        self.ended.set()


class Jobs(Connection):
    """The server."""

    def __init__(self, *, modern: bool, offers: bool) -> None:
        self.modern, self.offers = modern, offers
        self.jobs: dict[str, Job] = {}
        self.numbers, self.seen = itertools.count(1), list[str]()
        self.asked: dict[str, asyncio.Future[Json]] = {}
        methods = {
            "server/discover" if modern else "initialize": self.hello,
            "tools/list": self.list_tools,
            "tools/call": self.call_tool,
            "tasks/get": self.get,
            "tasks/result": self.payload,
            "tasks/update": self.update,
            "tasks/cancel": self.cancel,
        }
        super().__init__(methods, lambda _: None)

    def _receive(self, message: Json) -> None:
        if "method" not in message and (asked := self.asked.pop(message.get("id", ""), None)):
            asked.set_result(message.get("result") or {})
            return
        self.seen.append(message.get("method", ""))
        super()._receive(message)

    async def hello(self, params: Json) -> Json:
        """Say what it offers."""
        info = {"name": "jobs", "version": "1"}
        if self.modern:
            offered: Json = {"extensions": {EXTENSION: {}}} if self.offers else {}
            about = {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private"}
            meta = {"io.modelcontextprotocol/serverInfo": info}
            return {**about, "capabilities": {"tools": {}, **offered}, "_meta": meta}
        tasks: Json = {"tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}}
        capabilities = {"tools": {}, **(tasks if self.offers else {})}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}

    async def list_tools(self, _: Json) -> Json:
        """List the tools."""
        needs = {} if self.modern else {"execution": {"taskSupport": "required"}}
        schema = {"type": "object", "properties": {"steps": {"type": "integer"}}}
        tools: list[Json] = [{"name": name, "inputSchema": schema, **needs} for name in TOOLS]
        reads = {"annotations": {"readOnlyHint": True}}
        tools.append({"name": "seen", "inputSchema": {"type": "object"}, **reads})
        return {"tools": tools, "ttlMs": 0, "cacheScope": "private"}

    async def call_tool(self, params: Json) -> Json:
        """Begin a task."""
        if params["name"] == "seen":
            jobs = {job.id: job.status for job in self.jobs.values()}
            return {"content": [], "structuredContent": {"methods": self.seen, "jobs": jobs}}
        meta = params.get("_meta") or {}
        if self.modern and EXTENSION not in meta.get(CAPABILITIES, {}).get("extensions", {}):
            raise RpcError(MISSING_CAPABILITY, "Missing required client capability")
        if not self.modern and not isinstance(params.get("task"), dict):
            raise RpcError(NOT_FOUND, f"{params['name']} has to be called as a task")
        job = Job(next(self.numbers), meta.get("progressToken"))
        self.jobs[job.id] = job
        work = self.carry_out(job, params["name"], params.get("arguments") or {})
        job.work = asyncio.create_task(work)
        said = self.said(job)
        return {"resultType": "task", **said} if self.modern else {"task": said}

    async def carry_out(self, job: Job, name: str, arguments: Json) -> None:
        """Work on a task."""
        steps = arguments.get("steps", 2)
        for step in range(1, steps + 1):
            await asyncio.sleep(POLL_MS / 1000)
            job.message = f"step {step} of {steps}"
            if job.token is not None and not self.modern:
                told = {"progressToken": job.token, "progress": step, "total": steps}
                notify("notifications/progress", told)
        if name == "stuck":
            await asyncio.sleep(3600)
        elif name == "forget":
            del self.jobs[job.id]
        elif name == "fail":
            job.error = {"code": -32099, "message": "out of memory", "data": {"mb": 7}}
            job.end("failed")
        elif name == "drop":
            job.end("cancelled", "the machine is needed")
        else:
            text = "built"
            if name == "ask":
                answer = await self.ask(job)
                text = f"built {(answer.get('content') or {}).get('branch', 'nothing')}"
            said: Json = {"content": [{"type": "text", "text": text}]}
            job.result = said | ({"isError": True} if name == "refuse" else {})
            job.end("failed" if name == "refuse" and not self.modern else "completed")

    async def ask(self, job: Job) -> Json:
        """Ask the client something; in 2025-11-25 that waits for `tasks/result`."""
        job.status = "input_required"
        answer = await job.answer
        job.status = "working"
        return answer

    def find(self, params: Json) -> Job:
        """The task that a request names."""
        if (job := self.jobs.get(params.get("taskId", ""))) is None:
            raise RpcError(INVALID_PARAMS, "Task not found")
        return job

    def said(self, job: Job) -> Json:
        """What the client sees of a task."""
        at, (ttl, poll) = "2026-01-01T00:00:00Z", ("ttl", "pollInterval")
        if self.modern:
            ttl, poll = "ttlMs", "pollIntervalMs"
        said: Json = {"taskId": job.id, "status": job.status, ttl: None, poll: POLL_MS}
        return said | {"statusMessage": job.message, "createdAt": at, "lastUpdatedAt": at}

    async def get(self, params: Json) -> Json:
        """How a task is going."""
        job = self.find(params)
        said = self.said(job)
        if self.modern and job.status == "input_required":
            said["inputRequests"] = {"branch": {"method": ASK, "params": ASKED}}
        if self.modern and job.status == "completed":
            said["result"] = {"resultType": "complete", **(job.result or {})}
        if self.modern and job.status == "failed":
            said["error"] = job.error
        return said

    async def payload(self, params: Json) -> Json:
        """The result of a task, when it has ended."""
        job = self.find(params)
        if self.modern:
            raise RpcError(NOT_FOUND, "Method not found: tasks/result")
        if job.status == "input_required":
            asked = self.asked["question"] = asyncio.get_running_loop().create_future()
            params = {**ASKED, "_meta": {RELATED: {"taskId": job.id}}}
            write({"jsonrpc": "2.0", "id": "question", "method": ASK, "params": params})
            job.answer.set_result(await asked)
        await job.ended.wait()
        if job.error is not None:
            raise RpcError(job.error["code"], job.error["message"])
        return job.result or {}

    async def update(self, params: Json) -> Json:
        """Take the answer to a question."""
        self.find(params).answer.set_result(params["inputResponses"]["branch"])
        return {}

    async def cancel(self, params: Json) -> Json:
        """Cancel a task."""
        job = self.find(params)
        if job.ended.is_set():
            raise RpcError(INVALID_PARAMS, f"task {job.id} has ended")
        assert job.work is not None
        job.work.cancel()
        job.end("cancelled", "by the client")
        return {} if self.modern else self.said(job)


def main(arguments: list[str]) -> None:
    """Serve over stdin and stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modern", action="store_true", help="speak 2026-07-28")
    parser.add_argument("--offers-none", action="store_true", help="offer no tasks")
    options = parser.parse_args(arguments)

    async def serve() -> None:
        await Jobs(modern=options.modern, offers=not options.offers_none).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main(sys.argv[1:])
