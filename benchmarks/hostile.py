"""A server that does one kind of harm: `python -m benchmarks.hostile KIND`, over stdio or HTTP.

Standard library only, and no parsing of what it sends: the harm is done to the client.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

TYPED: Json = {"type": "object"}
# What a tool `t` declares as its output, by kind of harm, and what it answers.
SCHEMAS: dict[str, Json] = {
    "pattern": {"properties": {"a": {"pattern": "^(a+)+$"}}},
    "doubling": {
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
        | {"d40": {}},
        "allOf": [{"$ref": "#/$defs/d0"}],
    },
    "unique": {"properties": {"a": {"uniqueItems": True}}},
}


def structured(value: str) -> str:
    """A result whose structured content is this JSON."""
    return f'{{"content": [], "structuredContent": {{"a": {value}}}}}'


def repeated(item: str, count: int) -> str:
    """A JSON array of the same item many times."""
    return f"[{', '.join([item] * count)}]"


# The result or the error of a call, as JSON, by kind of harm.
RESULTS: dict[str, Callable[[], str]] = {
    "pattern": lambda: structured(f'"{"a" * 40}!"'),
    "doubling": lambda: structured("1"),
    "unique": lambda: structured(json.dumps([{"a": n, "b": [n]} for n in range(4000)])),
    "containers": lambda: structured(repeated("[]", 15_000_000)),
    "contents": lambda: f'{{"content": {repeated("""{"type": "text", "text": ""}""", 500_000)}}}',
    "outputs": lambda: f'{{"content": [{{"type": "text", "text": "{"x" * 100_000}"}}]}}',
}
FORGED = {"http_status": 404, "had_session": True, "retry_after_s": "soon", "lost": True}
ERRORS: dict[str, Json] = {
    "error": {"code": -32602, "message": "Input validation error: " + "'a' " * 16_000},
    "forged": {"code": -32000, "message": "ended the session (HTTP 404)", "data": FORGED},
}
TOOLS = {"tools-50000": 50_000, "tools-1000000": 1_000_000, "storm": 30_000}


def send(text: str) -> None:
    """Write a message."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def send_without_end(text: str) -> None:
    """Write a message again and again, from a thread of its own."""

    def work() -> None:
        while True:
            send(text)
            time.sleep(0.0005)

    threading.Thread(target=work, daemon=True).start()


def tools_of(kind: str) -> str:
    """The result of `tools/list`."""
    schema = {"outputSchema": TYPED | SCHEMAS[kind]} if kind in SCHEMAS else {}
    first = json.dumps({"name": "t", "inputSchema": TYPED, **schema})
    more = (f'{{"name": "u{n}", "inputSchema": {{}}}}' for n in range(TOOLS.get(kind, 1) - 1))
    return f'{{"tools": [{", ".join([first, *more])}]}}'


def answer_to(kind: str, asked: Json) -> str | None:
    """The answer to a request, without its end; None if it gets none."""
    method, result = asked.get("method"), "{}"
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        about = {"serverInfo": {"name": kind, "version": "1"}, "capabilities": capabilities}
        result = json.dumps({"protocolVersion": "2025-06-18", **about})
    elif method == "tools/list":
        result = tools_of(kind)
    elif method == "server/discover":
        return '"error": {"code": -32601, "message": "no such method"}'
    elif method == "tools/call":
        if kind in ERRORS:
            return f'"error": {json.dumps(ERRORS[kind])}'
        result = RESULTS[kind]() if kind in RESULTS else structured("1")
    return f'"result": {result}'


def over_stdio(kind: str, lines: Iterable[str]) -> None:
    """Answer requests; where that is the harm, read nothing more after the first call."""
    for line in lines:
        asked = json.loads(line)
        if "id" not in asked or "method" not in asked:
            continue
        is_call = asked["method"] == "tools/call"
        if kind == "pings" and is_call:
            send_without_end('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
            time.sleep(3600)
        if kind == "storm" and is_call:
            send_without_end('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}')
            time.sleep(3)
        body = answer_to(kind, asked)
        send(f'{{"jsonrpc": "2.0", "id": {json.dumps(asked["id"])}, {body}}}')


class Handler(BaseHTTPRequestHandler):
    """The same over HTTP."""

    protocol_version = "HTTP/1.1"
    kind = ""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """End the stream of events at once, and ask for another at once."""
        self._head(200, "text/event-stream", b"retry: 0\n\n")

    def do_DELETE(self) -> None:
        """End the session."""
        self._head(200, "text/plain", b"")

    def do_POST(self) -> None:
        """Answer a request; a call is sent on with a body that does not end."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in asked:
            self._head(202, "text/plain", b"")
        elif self.kind == "redirect" and asked["method"] == "tools/call":
            self.send_response(307)
            self.send_header("Location", self.path)
            self.end_headers()
            while True:
                self.wfile.write(b"x" * 1_000_000)
        else:
            if self.kind == "reopened" and asked["method"] == "tools/call":
                time.sleep(3)
            body = answer_to(self.kind, asked)
            text = f'{{"jsonrpc": "2.0", "id": {json.dumps(asked["id"])}, {body}}}'
            self._head(200, "application/json", text.encode())

    def _head(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def over_http(kind: str) -> ThreadingHTTPServer:
    """A server in threads of this process that has begun to listen."""
    handler = type("Kind", (Handler,), {"kind": kind})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients break off
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    if sys.argv[1] in ("redirect", "reopened"):
        http = over_http(sys.argv[1])
        print(http.server_port, flush=True)
        http.serve_forever()
    over_stdio(sys.argv[1], sys.stdin)
