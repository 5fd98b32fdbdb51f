"""What an issuer is told of a logout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.auth.login import log_in
from orchestrator.auth.record import Login
from orchestrator.auth.revocation import revoke
from tests.auth.world import SECRET, Visitor, World, store_in

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("settings", [{}, {"client_secret": SECRET}])
async def test_both_tokens_are_revoked_as_their_client(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with World(revokes=(200, "")).open() as world:
        if settings:
            settings = {**settings, "client_id": "me", "issuer": world.issuer}
        subject = world.subject(**settings)
        login = await log_in(subject, Visitor(), store_in(tmp_path))
        revocation = await revoke(subject, login)
        assert revocation.done
        assert revocation.said == f'its issuer "{world.issuer}" has revoked its tokens'
        assert not world.tokens
        assert not world.refreshes
        told = world.forms[-2:]
        assert [form["token_type_hint"] for form in told] == ["refresh_token", "access_token"]
        assert login.client is not None
        assert {form["client_id"] for form in told} == {login.client.client_id}
        assert ("authorization" in told[0]) == bool(settings)


@pytest.mark.parametrize(
    ("revokes", "said"),
    [
        (None, "offers no revocation, so its tokens are good until they expire"),
        ((503, ""), "HTTP 503"),
        ((401, "invalid_client"), "it answered HTTP 401"),
        ((400, "unsupported_token_type"), "it answered unsupported_token_type"),
    ],
)
async def test_it_is_said_if_tokens_are_still_good(
    tmp_path: Path, revokes: tuple[int, Any] | None, said: str
) -> None:
    async with World(revokes=revokes).open() as world:
        login = await log_in(world.subject(), Visitor(), store_in(tmp_path))
        revocation = await revoke(world.subject(), login)
        assert not revocation.done
        assert revocation.said.endswith(said)
        assert SECRET not in revocation.said


@pytest.mark.parametrize("unknown", ["refresh_token", "access_token"])
async def test_an_issuer_that_knows_one_kind_of_token_has_revoked_it(
    tmp_path: Path, unknown: str
) -> None:
    async with World(revokes=(200, unknown)).open() as world:
        login = await log_in(world.subject(), Visitor(), store_in(tmp_path))
        assert (await revoke(world.subject(), login)).done


async def test_an_issuer_that_is_gone_is_told_nothing() -> None:
    login = Login.model_validate(
        {
            "url": "http://127.0.0.1:9/mcp",
            "issuer": "http://127.0.0.1:9",
            "tokens": {"access_token": SECRET},
            "metadata": {
                "issuer": "http://127.0.0.1:9",
                "authorization_endpoint": "http://127.0.0.1:9/authorize",
                "token_endpoint": "http://127.0.0.1:9/token",
                "revocation_endpoint": "http://127.0.0.1:9/revoke",
            },
        }
    )
    revocation = await revoke(World(url=login.url).subject(), login)
    assert not revocation.done
    assert "cannot be reached" in revocation.said
