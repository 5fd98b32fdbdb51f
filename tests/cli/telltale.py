"""A raw MCP server that puts its secrets, in all forms, into everything that it says."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from typing import Any
from urllib.parse import quote, quote_plus

SECRETS = (
    sys.argv[1].partition("=")[2] if len(sys.argv) > 1 else "",
    os.environ.get("API_KEY", ""),
    os.environ.get("MODE", ""),
    sys.argv[-1],
)
FORMS = [
    form
    for secret in SECRETS
    for form in (
        *(secret, json.dumps(secret), repr(secret), quote(secret, safe=""), quote_plus(secret)),
        *(b64encode(secret.encode()).decode(), b64encode(f"me:{secret}".encode()).decode()),
    )
]
SAID = " | ".join(FORMS)
# Texts in which a secret lies across a place where something might be cut.
LONG = ["x" * (limit - 12) + secret for secret in SECRETS for limit in (80, 200, 300, 500)]
ARGUMENT = {"type": "string", "description": SAID, "default": SAID}
NUMBER = {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}
TOOLS = ("output", "text", "error", "tool_error", "invalid", "end")


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def tool(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": ARGUMENT}}
    described = {"name": name, "title": SAID, "description": SAID, "inputSchema": schema}
    return described | ({"outputSchema": NUMBER} if name == "invalid" else {})


def answer_of(name: str) -> dict[str, Any]:
    text = [{"type": "text", "text": SAID + "\n".join(LONG)}]
    match name:
        case "output":
            return {"result": {"content": text, "structuredContent": {SAID: FORMS}}}
        case "text":
            return {"result": {"content": text}}
        case "error":
            return {"error": {"code": -32000, "message": SAID, "data": {SAID: FORMS + LONG}}}
        case "invalid":
            return {"result": {"content": [], "structuredContent": {"v": SAID}}}
        case "tool_error":
            return {"result": {"isError": True, "content": text}}
    sys.exit(SAID)


def call(params: dict[str, Any]) -> dict[str, Any]:
    data = {"level": "error", "logger": SAID, "data": {SAID: [SAID]}}
    send({"method": "notifications/message", "params": data})
    if token := params.get("_meta", {}).get("progressToken"):
        progress = {"progressToken": token, "progress": 1, "message": SAID}
        send({"method": "notifications/progress", "params": progress})
    return answer_of(params["name"])


def main() -> None:
    sys.stderr.write("\n".join([SAID, *LONG, ""]))
    sys.stderr.flush()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        match message["method"]:
            case "initialize":
                answer: dict[str, Any] = {
                    "result": {
                        "protocolVersion": message["params"]["protocolVersion"],
                        "capabilities": {"tools": {}, "logging": {}},
                        "serverInfo": {"name": SAID, "version": SAID},
                    }
                }
            case "tools/list":
                answer = {"result": {"tools": [tool(name) for name in TOOLS]}}
            case "tools/call":
                answer = call(message["params"])
            case _:
                answer = {"error": {"code": -32601, "message": SAID}}
        send({"id": message["id"], **answer})


if __name__ == "__main__":
    main()
