"""Adapters: the engine's tools as tools of agent frameworks.

Rule: one module for each framework, which alone imports it; what two of them need is in `offered`
and `plan_streams`.
A mistake of a model never ends the run of its agent: it gets an answer that it can act on.

- `langchain` has the tools, `langchain_middleware` an agent's middleware with tools and catalogue.
- `openai_agents`, `agent_framework`, `llama_index`: `await orchestrator_tools(engine)`.
- `pydantic_ai`, `google_adk`: `OrchestratorToolset("servers.toml")`, which owns its engine.
- `smolagents`: `with orchestrator_tools("servers.toml") as tools`.
- `claude_agent_sdk`: `sdk_server(engine)`.
"""

from __future__ import annotations

__all__ = [
    "agent_framework",
    "claude_agent_sdk",
    "google_adk",
    "langchain",
    "langchain_middleware",
    "llama_index",
    "offered",
    "openai_agents",
    "plan_streams",
    "pydantic_ai",
    "smolagents",
]
