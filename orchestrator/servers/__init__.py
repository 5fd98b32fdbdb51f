"""Sessions to servers: which are alive and what they list.

Rule: besides `transport`, the only room that knows the SDK; each session lives in a task of its
own.

- `config` is what is configured of a server. `config_file` reads it from servers.toml, with the
  checks of `config_checks` and the places of `config_source`, or by `desktop_config` from the files
  of other programs.
- `adopt` makes a servers.toml of such files.
- `pool` holds all sessions, `supervisor` starts and replaces those of one server, `session` is one
  and `health` watches it.
- `policies` makes the limits of a server of its configuration; `locking` is what it says of the
  locks of tasks.
- `sessions` is what `pool` needs of the sessions of a server, whatever they are.
- `catalog` is the live list of tools, `lockfile` the accepted one; `problems` reports names that
  neither has. `definition_form` is how files of ours write a tool.
- `offers` lists resources and prompts; `news` is what a server says unasked, of their changes too.
- `uri_templates` is what URIs a template of one stands for.
- `start_hints` says how to fix a program that does not start.
- `revisions` is what was found of the protocol of a server.
- `requester` sends the requests of calls; `remote_task` polls a call that its server carries out as
  a task.
- `sdk_client`, `sdk_errors`, `sdk_requests`, `sdk_results` and `sdk_tasks` translate to and from
  the SDK.
"""

from __future__ import annotations

__all__ = [
    "adopt",
    "catalog",
    "config",
    "config_file",
    "config_source",
    "definition_form",
    "lockfile",
    "offers",
    "policies",
    "pool",
    "problems",
    "redaction",
    "sessions",
    "supervisor",
    "uri_templates",
]
