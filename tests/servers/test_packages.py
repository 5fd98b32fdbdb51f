"""Which package a command fetches and runs, and whether that is the same one at each start."""

from __future__ import annotations

import pytest

from orchestrator.servers.packages import package_of


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        ("npx -y @scope/server@1.2.3 /data", "@scope/server@1.2.3"),
        ("npx server@0.4.0-beta.1", "server@0.4.0-beta.1"),
        ("npx --yes --package=server@1.0.0 run-it", "server@1.0.0"),
        ("npx -p server@1.0.0 -c run-it", "server@1.0.0"),
        ("npx --registry https://x github:a/b#0123456789abcdef", "github:a/b#0123456789abcdef"),
        ("npx https://example.com/server-1.0.0.tgz", "https://example.com/server-1.0.0.tgz"),
        ("npm exec server@1.0.0", "server@1.0.0"),
        ("/usr/bin/npx server@v1.0.0", "server@v1.0.0"),
        ("C:\\node\\npx.cmd server@1.0.0", "server@1.0.0"),
        ("cmd /c npx server@1.0.0", "server@1.0.0"),
        ("uvx mcp-server-time==2025.1.17", "mcp-server-time==2025.1.17"),
        ("uvx mcp-server-time@2025.1.17 --local-timezone UTC", "mcp-server-time@2025.1.17"),
        ("uvx -p 3.12 --from server[x]==1.0.0 run-it", "server[x]==1.0.0"),
        ("uvx --from git+https://x/y@0123456789abcdef run-it", "git+https://x/y@0123456789abcdef"),
        ("uvx https://x/server-1.0-py3-none-any.whl", "https://x/server-1.0-py3-none-any.whl"),
        ("uv tool run server==1.0", "server==1.0"),
        ("pipx run --spec server==1.0 run-it", "server==1.0"),
    ],
)
def test_a_package_with_a_version_is_pinned(line: str, spec: str) -> None:
    command, *args = line.split()
    found = package_of(command, args)
    assert found is not None
    assert (found.spec, found.is_pinned) == (spec, True)


@pytest.mark.parametrize(
    ("line", "spec", "pinned"),
    [
        ("npx -y @scope/server", "@scope/server", "@scope/server@1.2.3"),
        ("npx @scope/server@latest", "@scope/server@latest", "@scope/server@1.2.3"),
        ("npx server@^1.0.0 x", "server@^1.0.0", "server@1.2.3"),
        ("npx server@1", "server@1", "server@1.2.3"),
        ("npx a/b", "a/b", "a/b#COMMIT"),
        ("bunx server", "server", "server@1.2.3"),
        ("pnpm dlx server", "server", "server@1.2.3"),
        ("uvx mcp-server-time", "mcp-server-time", "mcp-server-time==1.2.3"),
        ("uvx --with other==1.0 server", "server", "server==1.2.3"),
        ("uvx server>=1.0", "server>=1.0", "server==1.2.3"),
        ("uvx server==1.*", "server==1.*", "server==1.2.3"),
        ("uvx server@latest", "server@latest", "server==1.2.3"),
        ("uvx --from git+https://x/y run-it", "git+https://x/y", "git+https://x/y@COMMIT"),
    ],
)
def test_a_package_without_one_may_be_another_one_at_the_next_start(
    line: str, spec: str, pinned: str
) -> None:
    command, *args = line.split()
    found = package_of(command, args)
    assert found is not None
    assert (found.spec, found.is_pinned, found.pinned) == (spec, False, pinned)


@pytest.mark.parametrize(
    "line",
    [
        "python -m server",
        "uv run server.py",
        "npx ./server",
        "npx -y",
        "npx /opt/server",
        "uvx --from . run-it",
        "uvx --from ../server run-it",
        "npx file:../server",
        "npm run server",
    ],
)
def test_what_is_on_this_machine_is_no_package_to_fetch(line: str) -> None:
    command, *args = line.split()
    assert package_of(command, args) is None
    assert package_of(None, []) is None
