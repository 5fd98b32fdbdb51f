"""Where pools are found: files of one user."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from orchestrator.daemon.place import Place, UnsafePlaceError


def test_where_a_pool_is_found(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = runtime / "servers.toml"
    assert Place.of(file).directory == runtime / "mcp-orchestrator"
    other = runtime / "tmp"
    other.mkdir()
    monkeypatch.setenv("TMPDIR", str(other))
    fallback = other / f"mcp-orchestrator-{os.getuid()}"
    runtime.chmod(0o755)
    assert Place.of(file).directory == fallback
    runtime.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert Place.of(file).directory == fallback
    other.chmod(0o500)
    if os.getuid():  # root writes everywhere
        with pytest.raises(UnsafePlaceError, match="Permission denied"):
            Place.of(file).make()
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(UnsafePlaceError, match="needs Unix sockets"):
        Place.of(file)


def test_a_key_that_is_cut_short_is_made_anew(runtime: Path) -> None:
    place = Place(runtime, "p")
    assert place.key() == b""
    (runtime / "p.key").write_bytes(b"short")
    key = place.new_key()
    assert len(key) == 32
    assert place.new_key() == place.key() == key
    assert stat.S_IMODE((runtime / "p.key").stat().st_mode) == 0o600
    assert place.pid() is None
