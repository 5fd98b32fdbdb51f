"""What a pool is given of servers, and how that is compared."""

from __future__ import annotations

import os
from typing import Any

import pytest

from orchestrator.daemon.configuration import (
    differing,
    document_of,
    hashes_of,
    inherit,
    server_of,
)
from orchestrator.servers.config import Server
from tests.daemon.pools import faulty


def test_configurations_are_compared_by_hashes_with_a_key() -> None:
    server = faulty(env={"API_KEY": "secret-value"})
    document = document_of(server, {"PATH": "/bin", "TERM": "xterm", "OTHER": "x"})
    assert document["inherited"] == {"PATH": "/bin", "TERM": "xterm"}
    assert server_of(document) == server
    assert server_of(document).secrets == server.secrets
    key = b"k" * 32

    def compared(other: dict[str, Any]) -> list[str]:
        return differing(hashes_of(document, key), hashes_of(other, key))

    assert compared(document_of(server, {"PATH": "/bin", "TERM": "dumb"})) == []
    assert compared(document_of(faulty(env={"API_KEY": "another"}), {"PATH": "/bin"})) == ["env"]
    assert compared(document_of(server, {"PATH": "/usr/bin"})) == ["PATH"]
    assert compared(document_of(server, {})) == ["PATH"]
    of_others = hashes_of(document, b"l" * 32)
    assert not set(of_others.values()) & set(hashes_of(document, key).values())


def test_proxies_count_where_a_url_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PATH": "/bin", "HTTPS_PROXY": "http://proxy"}
    document = document_of(Server(name="far", url="https://example.com/mcp"), environment)
    assert document["inherited"] == {"HTTPS_PROXY": "http://proxy"}
    near = document_of(faulty(), environment)
    monkeypatch.setenv("HTTPS_PROXY", "http://other")
    monkeypatch.setenv("SSL_CERT_FILE", "/other.pem")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    inherit([document, near])
    assert os.environ["HTTPS_PROXY"] == "http://proxy"
    assert "SSL_CERT_FILE" not in os.environ
    assert os.environ["PATH"] == "/bin"
