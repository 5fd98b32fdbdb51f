"""`orchestrator login` and `orchestrator logout`."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

import anyio

from orchestrator.cli import FAILED
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.streams import write_json
from orchestrator.cli.tool_sources import read_servers
from orchestrator.documents.text import cut, quoted, visible
from orchestrator.errors import ConfigError, Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.auth.login import Person
    from orchestrator.auth.record import Login
    from orchestrator.auth.settings import Subject

MAX_LINK = 5000


def login(options: argparse.Namespace) -> int:
    """`orchestrator login`."""
    subject = _subject(options)
    from orchestrator.auth.login import log_in
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.transport.authorization import NotAuthorizedError

    async def ask() -> Login:
        async with _person(options, subject) as person:
            return await log_in(subject, person)

    try:
        return _report(options, subject, in_event_loop(ask))
    except NotAuthorizedError as error:
        complain(f"not logged in to server {quoted(subject.name)} ({subject.url}): {error}")
        return FAILED


def _report(options: argparse.Namespace, subject: Subject, login: Login) -> int:
    """Show a login that has just been made."""
    from orchestrator.auth.status import LoginStatus

    status = LoginStatus.of(subject, login)
    if options.json:
        write_json({"server": subject.name, **status.to_dict()})
    scopes = f", for {' '.join(status.scopes)}" if status.scopes else ""
    until = f" ({status.until})" if status.expires_at is not None else ""
    said = f"logged in to server {quoted(subject.name)}{until}{scopes}"
    print(cut(visible(said), MAX_LINK), file=sys.stderr)
    return 0


def _person(
    options: argparse.Namespace, subject: Subject
) -> AbstractAsyncContextManager[Person | None]:
    """Who logs in."""
    if subject.settings.flow == "client_credentials":
        return nullcontext()
    if options.no_browser:
        from orchestrator.auth.pasted import Pasted

        return nullcontext(Pasted(subject.settings.redirect_url, _show_and_ask, _line))
    from orchestrator.auth.login import in_browser

    # Elsewhere a blocked read of stdin would hold up what the browser brings.
    is_terminal = sys.platform != "win32" and sys.stdin is not None and sys.stdin.isatty()
    return in_browser(subject, _show, read=_line) if is_terminal else in_browser(subject, _say)


def _show(said: str) -> None:
    """Show the link, or what was wrong with what was pasted."""
    if not said.startswith("http"):
        print(said, file=sys.stderr, flush=True)
        return
    print(
        f"log in with the browser. If it does not open, follow this link, on any machine:\n"
        f"  {_whole(said)}\n"
        "If the page that it ends at does not load there, paste its URL here.",
        file=sys.stderr,
        flush=True,
    )


def _say(link: str) -> None:
    said = "log in with the browser; if it does not open, follow this link"
    print(f"{said} (or try --no-browser):\n  {_whole(link)}", file=sys.stderr, flush=True)


def _show_and_ask(link: str) -> None:
    print(
        f"follow this link with a browser, on any machine:\n  {_whole(link)}\n"
        "log in there; then paste the URL that it ends at, even if that page does not load:",
        file=sys.stderr,
        flush=True,
    )


def _whole(link: str) -> str:
    return visible(cut(link, MAX_LINK))


async def _line() -> str:
    """The next line of stdin, for which Ctrl-C need not wait."""
    if sys.stdin is None:  # it was closed
        return ""
    if sys.platform != "win32":
        with suppress(OSError, ValueError):  # a file, or no descriptor: neither lets us wait
            await anyio.wait_readable(sys.stdin)
    with suppress(OSError, ValueError):  # a terminal that is gone, or what is no text
        return sys.stdin.readline()
    return ""


def logout(options: argparse.Namespace) -> int:
    """`orchestrator logout`."""
    subject = _subject(options)
    from orchestrator.auth.revocation import Revocation, revoke
    from orchestrator.auth.store import LoginStore
    from orchestrator.cli.signals import in_event_loop

    store = LoginStore()

    async def forget() -> Revocation | None:
        async with store.locked(subject):  # a renewal under way would store it again
            store.set_aside(subject)
            login = store.remove(subject)
        return None if login is None else await revoke(subject, login)

    try:
        revocation = in_event_loop(forget)
    except OSError as error:
        complain(f"the login to server {quoted(subject.name)} cannot be removed: {error}")
        return FAILED
    said = "there was no login to" if revocation is None else "logged out of"
    told = "" if revocation is None else f"; {revocation.said}"
    print(cut(visible(f"{said} server {quoted(subject.name)}{told}"), MAX_LINK), file=sys.stderr)
    return 0


def _subject(options: argparse.Namespace) -> Subject:
    """Whose login the command is about.

    Raises:
        ConfigError: There is no such server.
        WorkflowError: Logins are not for it.
    """
    from orchestrator.servers.problems import unknown_server

    name, servers = options.server, read_servers(options)
    if name not in servers:
        raise ConfigError("servers", [unknown_server(name, servers)])
    server = servers[name]
    if server.unusable:
        raise _usage(server.unusable)
    if server.url is None:
        why = "is a program: its logins are its own, and only servers with a url have others"
        raise _usage(f"server {quoted(name)} {why}")
    if not server.logs_in:
        why = 'proves who you are with the header Authorization in its "headers"'
        raise _usage(f"server {quoted(name)} {why}", "remove the header to log in")
    return server.subject


def _usage(message: str, hint: str = "") -> WorkflowError:
    return WorkflowError("usage", [Problem("usage", message, hint=hint)])
