"""Who we are to a server with a URL: logins, and the tokens that they give.

Rule: the SDK's providers speak the protocol; here is when they are asked, and where what they get
is kept. A token leaves this room only in the requests to the server it is for.

- `settings` is the table `[servers.NAME.oauth]`, with `checks` of what types do not express.
- `authorizer` has the tokens of one server: it renews them, once for all calls and processes.
- `login` logs a person in, who answers in a browser (`browser`) or by pasting (`pasted`).
- `record` is a login as it is kept, `store` where (in one of the `vaults`), `status` what people
  may see of it.
- `flows` drives the providers of the SDK, `requests` sends what they ask for; `revocation` tells an
  issuer that a login is over.
"""

from __future__ import annotations

__all__ = [
    "authorizer",
    "browser",
    "checks",
    "login",
    "pasted",
    "record",
    "revocation",
    "settings",
    "status",
    "store",
    "vaults",
]
