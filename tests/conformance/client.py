"""The client that the MCP conformance suite judges: a workflow on the server it is given.

The rule of this file: it knows `orchestrator` as its users do, and nothing of the protocol. The
suite gives the server's URL as the last argument, and the scenario in the environment. Where a
server asks for a login, `orchestrator login` logs in, with `browser` in place of a person.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from orchestrator import Orchestrator, Question, RefusedError, RunResult, Tool

SERVER = "test"
ORCHESTRATOR = (sys.executable, "-m", "orchestrator")
# The server of this scenario lists a tool and has none.
LISTS_ONLY = ("json-schema-ref-no-deref",)
SAMPLES: dict[str, Any] = {"number": 2, "integer": 2, "boolean": True, "array": [], "object": {}}
# Where the suite says that a client has its metadata, if it wants one to have them.
CLIENT_METADATA = {
    "auth/basic-cimd": "https://conformance-test.local/client-metadata.json",
}
# Logins in one scenario, each because the last one was not enough.
MAX_LOGINS = 3

Workflow = dict[str, Any]


def main() -> int:
    """Run the scenario that the environment names; 0 if every call succeeded."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with tempfile.TemporaryDirectory(prefix="conformance-client-") as directory:
        os.environ["ORCHESTRATOR_LOGINS"] = str(Path(directory, "logins"))
        os.environ["BROWSER"] = f"{sys.executable} -m tests.conformance.browser %s"
        servers = Path(directory, "servers.toml")
        servers.write_text(config(sys.argv[-1], scenario, context))
        login = Login(servers)
        for _ in range(MAX_LOGINS):
            try:
                return anyio.run(run, servers, scenario, context, login)
            except LoginRequiredError as error:
                print(error, file=sys.stderr)
            if not login():
                return 1
    return 1


class Login:
    """Logs in when asked to; a question of a run is confirmed then."""

    def __init__(self, servers: Path) -> None:
        self.command = [*ORCHESTRATOR, "login", SERVER, "--servers", str(servers)]

    def __call__(self) -> bool:
        return subprocess.run(self.command, check=False).returncode == 0

    async def answer(self, question: Question) -> bool:
        """Log in in the middle of a run."""
        print(question.message, file=sys.stderr)
        if not await anyio.to_thread.run_sync(self):
            raise RefusedError
        return True


class LoginRequiredError(Exception):
    """A person has to log in."""


def config(url: str, scenario: str, context: Mapping[str, Any]) -> str:
    """The servers' file of a scenario."""
    lines = [f"[servers.{SERVER}]", f"url = {json.dumps(url)}", 'elicitation = "defaults"']
    if scenario.startswith("auth/"):
        lines += [f"[servers.{SERVER}.oauth]"]
        settings = {
            "client_id": context.get("client_id"),
            "client_secret": context.get("client_secret"),
            "private_key": context.get("private_key_pem"),
            "signing_algorithm": context.get("signing_algorithm"),
            "client_metadata_url": CLIENT_METADATA.get(scenario),
            "issuer": context.get("issuer"),
        }
        if scenario.startswith("auth/client-credentials"):
            settings |= {"flow": "client_credentials", "issuer": issuer_of(url)}
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items() if value]
    return "\n".join([*lines, ""])


def issuer_of(url: str) -> str:
    """The issuer of a server, which an operator would be told by its documentation."""
    place = urlsplit(url)
    where = f"{place.scheme}://{place.netloc}/.well-known/oauth-protected-resource{place.path}"
    issuer: str = httpx2.get(where, trust_env=False).json()["authorization_servers"][0]
    return issuer


async def run(servers: Path, scenario: str, context: Mapping[str, Any], login: Login) -> int:
    """List the tools of the server, and call them as the scenario wants it."""
    async with Orchestrator.from_config(servers, answer=login.answer) as orchestrator:
        tools = await orchestrator.tools(SERVER)
        if (failure := orchestrator.failure(SERVER)) is not None:
            check_login(failure.error.details)
            raise failure
        workflow, inputs = plan(scenario, context, tools)
        if not workflow["tasks"]:
            return 0
        result: RunResult = await orchestrator.run(workflow, inputs)
    for task in result.tasks.values():
        if task.error is not None:
            check_login(task.error.details)
    print(json.dumps(result.to_dict(), indent=2))
    return 0 if result.status == "success" else 1


def check_login(details: Mapping[str, Any]) -> None:
    """Raise a LoginRequiredError if an error says that a person has to log in."""
    if details.get("login_required"):
        raise LoginRequiredError(details.get("hint"))


def plan(
    scenario: str, context: Mapping[str, Any], tools: Sequence[Tool]
) -> tuple[Workflow, dict[str, Any]]:
    """The workflow of a scenario and its inputs: as a rule, all tools at once."""
    calls = [(tool.name, sample(tool.input_schema)) for tool in tools]
    inputs: dict[str, Any] = {}
    if scenario in LISTS_ONLY:
        calls = []
    elif "toolCalls" in context:
        calls = [(call["name"], call["arguments"]) for call in context["toolCalls"]]
    elif scenario == "json-schema-2020-12-preservation":
        schemas = {tool.name: tool.input_schema for tool in tools}
        inputs = {"schema": schemas["json_schema_2020_12_tool"]}
        calls = [("json_schema_echo", {"schema": "$INPUT.schema"})]
    return workflow_of(scenario, calls, inputs), inputs


def workflow_of(
    scenario: str, calls: Iterable[tuple[str, dict[str, Any]]], inputs: Iterable[str]
) -> Workflow:
    """A workflow of calls that depend on nothing."""
    tasks = [
        {"id": f"call-{number}", "tool": f"{SERVER}:{name}", "arguments": arguments}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"name": scenario, "inputs": {name: {} for name in inputs}, "tasks": tasks}


def sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a tool's input schema, as far as it names types."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    return {name: SAMPLES.get(properties[name].get("type"), "text") for name in required}


if __name__ == "__main__":
    sys.exit(main())
