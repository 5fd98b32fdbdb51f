"""The servers that the tests of the command line use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def servers(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A servers.toml with `faulty`, as the `SETTINGS` of the module say; `gone` does not start."""
    path = tmp_path / "servers.toml"
    path.write_text(
        f"[servers.faulty]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = ["-m", "mock_servers.faulty"]\ncwd = {json.dumps(str(ROOT))}\n'
        f"{getattr(request.module, 'SETTINGS', '')}\n"
        "[servers.gone]\ncommand = 'no-such-program'\n"
    )
    return str(path)
