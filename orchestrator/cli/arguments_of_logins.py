"""The commands that log in to servers.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

from orchestrator.cli.parser import flag

OF_LOGINS: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "login": (
        "log in to a server with a URL",
        "Opens the browser, and keeps the login in the keyring of the system if there is one, else "
        "in a file that only you can read. Runs renew it by themselves.",
        "server --servers --env-file --no-browser --json",
        {
            "server": {"metavar": "SERVER", "help": "the server"},
            "--no-browser": flag(
                "print the link, and read the URL that a browser anywhere ends at from stdin"
            ),
            "--json": flag("print the login as JSON"),
        },
    ),
    "logout": (
        "forget the login to a server",
        "Its tokens are removed here, and revoked where their issuer offers that.",
        "server --servers --env-file",
        {"server": {"metavar": "SERVER", "help": "the server"}},
    ),
}
