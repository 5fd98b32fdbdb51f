"""What is exported of runs has no token and no secret, however a server gives them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator, Server
from orchestrator.auth.login import log_in
from orchestrator.auth.settings import OAuth
from tests.auth.world import SECRET, Visitor, World, store_in
from tests.telemetry.seen import Seen

pytestmark = pytest.mark.anyio
HEADER = "s3cret-header-value"
PLAN: dict[str, Any] = {
    "name": f"of {HEADER}",
    "tasks": [
        {"id": "leak", "tool": "it:leak"},
        {"id": "sends", "tool": "it:echo", "arguments": {"x": HEADER}},
        {"id": "write", "tool": "it:write", "approve": {"message": "$OUTPUT[leak]"}},
        {"id": "again", "tool": "it:echo", "arguments": {"x": "$OUTPUT[leak]"}},
        {"id": "none", "tool": "it:echo", "arguments": {"x": "$OUTPUT[write].none"}},
    ],
}


async def test_no_token_and_no_secret_is_in_what_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """The server gives tokens back: in results, and in what it says when it refuses one."""
    monkeypatch.setenv("ORCHESTRATOR_LOGINS", str(tmp_path / "logins"))
    world = World(wants_more={"write": "write"})
    oauth, headers = OAuth(client_secret=SECRET, client_id="me"), {"X-Api-Key": HEADER}
    async with world.open():
        subject = world.subject(**oauth.model_dump())
        await log_in(subject, Visitor(), store_in(tmp_path))
        server = Server(name="it", url=world.url, protocol="legacy", oauth=oauth, headers=headers)
        async with Orchestrator({"it": server}, journal=tmp_path / "runs.db") as orchestrator:
            result = await orchestrator.run(PLAN, answer=lambda _: True)
            assert result.tasks["leak"].output == {"value": "***"}
            world.revoke()
            await orchestrator.run(PLAN, answer=lambda _: True)
            await orchestrator.call("it:leak")
    assert world.count_of("refresh_token") > 0
    data = seen.reader.get_metrics_data()
    assert data is not None
    exported = [span.to_json() for span in seen.spans] + [data.to_json()]
    assert {"task leak", "task write"} <= {span.name for span in seen.spans}
    secrets = SECRET, HEADER, *world.tokens, *world.refreshes
    assert len(secrets) > 3
    assert not [text for text in exported for secret in secrets if secret in text]
