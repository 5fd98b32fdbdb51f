"""The engine as tools for models, over MCP and in frameworks.

Rule: the engine as tools for models; the same set over MCP and in frameworks. A mistake of a model
is an answer that it can act on, never an exception.

- `toolset` is the set: what tools there are, and calls of them. `answers` has what goes in and out.
- `definitions` has the tools of the engine; `plans` runs and checks plans, `run_tools` asks about
  runs, `search` finds tools, `saved` makes tools of the workflows in a directory. `known` is what
  can be called as of now.
- `streamed` is a plan that a model still writes.
- `carried` carries runs meanwhile, with `progress`; `results` makes the document of a run, which
  `inline` cuts if it is too large for a model.
- `server` is the set as an MCP server, with questions as `forms`; `stdio` and `http` serve it.
"""

from __future__ import annotations

__all__ = ["answers", "http", "saved", "server", "stdio", "streamed", "toolset"]
