"""Answers calls from the memo: the same call of a tool that only reads, made not long ago."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.policy import FREE, ServerPolicy
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.recorder import Recorder, Remembered
from orchestrator.engine.settings import Servers
from orchestrator.schema.requests import request_tool
from orchestrator.schema.tool import Tool, canonical_json
from orchestrator.workflow.plan import CachePlan


def with_memo(call_next: Caller, recorder: Recorder, servers: Servers, emitter: Emitter) -> Caller:
    """Answer a call with `cache` from the memo, or keep its answer there."""

    async def call_remembered(call: Call, attempt: Attempt, cache: CachePlan) -> Any:
        tool, memo = _tool_of(call, servers.tools), recorder.memo
        # What a resumed run knows of a call comes first: it may have failed, and gone on.
        if memo is None or tool is None or not cache.allows(tool) or recorder.answer(call):
            return await call_next(call, attempt)
        policy = servers.policies.get(call.server, FREE)
        account = await _account(policy)
        key = _key_of(call, attempt, cache, tool, [policy.identity, *account])
        found = await memo.find(key, cache.ttl_s)
        attempt.check_cancelled(call)
        if found is not None:
            attempt.cached, attempt.wrapped = True, found.wrapped
            attempt.note_answer(found.size)
            return found.output
        output = await call_next(call, attempt)
        if await _account(policy) == account:  # else the answer may be for either
            memo.keep(key, cache.ttl_s, Remembered(output, attempt.wrapped, attempt.answer_bytes))
        return output

    def call_or_remember(call: Call, attempt: Attempt) -> Awaitable[Any]:
        cache = None if call.is_fallback else emitter.task_of(call).policies.cache
        return call_next(call, attempt) if cache is None else call_remembered(call, attempt, cache)

    return call_or_remember


def _tool_of(call: Call, tools: Mapping[str, Tool]) -> Tool | None:
    """What is called, or stands for it; None for a tool that is not known yet."""
    if call.kind == "tool":
        return tools.get(call.target)
    known = tools.get(f"{call.kind} {call.target}")
    return known or request_tool(call.kind, call.server, "")


async def _account(policy: ServerPolicy) -> list[str]:
    """Whose account a server is called for, if anybody has logged in."""
    account = "" if policy.account is None else await policy.account()
    return [account] if account else []


def _key_of(
    call: Call,
    attempt: Attempt,
    cache: CachePlan,
    tool: Tool,
    server: Sequence[str],
) -> str:
    """A hash of all that an answer may depend on."""
    arguments = call.arguments
    if tool.key_argument and arguments.get(tool.key_argument) == call.idempotency_key:
        arguments = {name: of for name, of in arguments.items() if name != tool.key_argument}
    about = {
        "server": [call.server, *server],
        "call": [call.kind, call.tool, tool.digest],
        "arguments": arguments,
        "turns": None if attempt.turns is None else [cache.turns, attempt.turns.about()],
    }
    return hashlib.sha256(canonical_json(about)).hexdigest()
