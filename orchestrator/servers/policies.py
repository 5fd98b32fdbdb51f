"""The limits of a server, as its settings say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import Fenced, GrantedRate, GrantedSlots, Granter
from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import Account, ServerPolicy
from orchestrator.calls.rates import Rate
from orchestrator.documents.encode import to_json
from orchestrator.errors import ConfigError, Problem
from orchestrator.servers.config import Server, ServerTable, ToolSettings
from orchestrator.servers.locking import Scope

if TYPE_CHECKING:
    from orchestrator.auth.store import LoginStore

RESOURCES = "[resources]"  # what is kept beside the limits of servers; none has such a name
_LIMITS = {"max_concurrency", "rate", "sessions", "tools", "writes"}


def policy_of(
    server: Server, machine: Granter | None = None, cluster: Fenced | None = None
) -> ServerPolicy:
    """What the configuration of a server says about calls to it, with limits of its own.

    `machine` grants those of a server whose limits hold for all processes of this machine, and
    `cluster` those that hold for all with the same journal; None: they hold for this process.
    """
    name, most = server.name, server.max_concurrency
    fenced = cluster if server.scope == "cluster" else None
    make = _Making(server, machine if server.scope == "host" else fenced)
    slot = Cause("server_limit", name)
    by_person = server.oauth is not None and server.oauth.flow == "login"
    asks = server.elicitation == "ask"
    takes_turns = asks and server.protocol != "2026-07-28"  # see Elicitor
    slots = AdaptiveSlots(slot) if most == "auto" else None
    tools = {
        pattern: tuple(_limits_of(settings, f"{server.name}:{pattern}", make))
        for pattern, settings in server.tools.items()
    }
    return ServerPolicy(
        server.timeout_s,
        make.slots(most, slot) if isinstance(most, int) else slots,
        make.slots(1, Cause("writers", name)) if server.writes == "serial" else None,
        make.rate(server.rate_limit, Cause("rate", name)) if server.rate_limit else None,
        tools if any(tools.values()) else None,
        server.approve,
        asks or by_person,
        Slots(1, Cause("turn", name)) if takes_turns else None,
        None if fenced is None else fenced.check,
        server.identity,
        _account_of(server),
    )


def _account_of(server: Server) -> Account | None:
    """Who is logged in to a server; None where nobody logs in."""
    if not server.logs_in or (server.oauth is not None and server.oauth.flow != "login"):
        return None
    store: LoginStore | None = None

    async def account() -> str:
        nonlocal store
        if store is None:
            from orchestrator.auth.store import LoginStore  # here, since it loads the SDK

            store = LoginStore()
        return await store.account(server.subject)

    return account


class _Making:
    """Makes the limits of a server, each of its own or granted for all processes."""

    def __init__(self, server: Server, granter: Granter | None) -> None:
        self._server, self._granter = server, granter

    def slots(self, most: int, cause: Cause) -> Slots:
        if self._granter is None:
            return Slots(most, cause)
        return GrantedSlots(most, cause, self._granter, self._name(cause))

    def rate(self, rate: tuple[int, float], cause: Cause) -> Rate:
        if self._granter is None:
            return Rate(*rate, cause)
        return GrantedRate(*rate, cause, self._granter, self._name(cause))

    def _name(self, cause: Cause) -> str:
        """The same in all processes that use the server, whatever its name, variables and keys.

        On other machines a program may be in another place, so it goes by its name.
        """
        server = self._server
        if server.scope == "cluster":
            return to_json([cause.kind, cause.of.partition(":")[2], server.url or server.name])
        what = server.url or [server.command, server.args, server.cwd]
        own = server.name if what == [None, [], None] else ""
        return to_json([cause.kind, cause.of.partition(":")[2], what, own])


def scoped(servers: ServerTable, scope: Scope) -> Iterator[str]:
    """What has a scope: the paths in the servers' file."""
    for name, server in servers.items():
        if server.scope == scope:
            yield f"/servers/{name}/scope"
    for name, lock in servers.locking.locks.items():
        if lock.scope == scope:
            yield f"/locks/{name}/scope"


def machine_of(servers: ServerTable) -> Granter | None:
    """Who grants what holds for all processes of this machine; None if nothing does.

    Raises:
        ConfigError: This system has not what that takes.
    """
    if not any(scoped(servers, "host")):
        return None
    if not hasattr(os, "mkfifo"):
        message = 'scope = "host" needs named pipes, which this system does not have'
        raise ConfigError("servers", [Problem("wrong_value", message)])
    from orchestrator.sharing.machine import Machine

    return Machine()


def limits_of(server: Server) -> dict[str, Any]:
    """What the configuration of a server says about its limits, without what is the default."""
    return server.model_dump(mode="json", include=_LIMITS, exclude_defaults=True)


def _limits_of(settings: ToolSettings, tool: str, make: _Making) -> Iterator[Slots | Rate]:
    if settings.max_concurrency is not None:
        yield make.slots(settings.max_concurrency, Cause("server_limit", tool))
    if settings.rate_limit is not None:
        yield make.rate(settings.rate_limit, Cause("rate", tool))
