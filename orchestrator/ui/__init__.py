"""The page that shows the runs of a journal, in a browser of this machine.

Rule: it reads the journal and does what commands do; a run knows nothing of it. What others wrote
is text and never markup, and nobody but the user who has the printed link reads or writes here.

- `app` is the ASGI application: which address gives what; `guard` decides who gets an answer.
- `overview` lists runs, `view` is one of them, `picture` its graph, `story` where its time went,
  `task` one task; `values` shows values of any size in parts, `stream` says what has changed.
- `actions` cancels, resumes, retries, forks and answers; `servers` tells what is known of servers.
- `server` listens until a signal comes. `static/` is what the browser loads, as it is.
"""

from __future__ import annotations

__all__ = ["actions", "app", "guard", "server", "servers"]
