"""Which package a command fetches and runs, and whether that is the same one at each start."""

from __future__ import annotations

import shlex

import pytest

from orchestrator.servers.packages import Package, packages_of


def packages(line: str) -> list[Package]:
    """Those of a command, as a shell splits it."""
    command, *args = shlex.split(line.replace("\\", "\\\\"))
    return packages_of(command, args)


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
        ("uv run --with server==1.0 server.py", "server==1.0"),
        ("npm exec -- server@1.0.0", "server@1.0.0"),
        ("npm exec --package=server@1.0.0 -- run-it", "server@1.0.0"),
        ("deno run -A npm:@scope/server@1.0.0", "npm:@scope/server@1.0.0"),
        ("env -u HOME -i A=b npx -y server@1.0.0", "server@1.0.0"),
        ("bash -lc 'cd /x && exec npx server@1.0.0 --y'", "server@1.0.0"),
        ("docker run -i --rm -e KEY -v a:b mcp/time:1.2 --x y", "mcp/time:1.2"),
        ("docker run -eKEY=1 --env=B=1 --mount type=bind,src=a,dst=b img:1.0", "img:1.0"),
        ("podman run -dit -p 80:80 x/img@sha256:0123456789abcdef", "x/img@sha256:0123456789abcdef"),
    ],
)
def test_a_package_with_a_version_is_pinned(line: str, spec: str) -> None:
    [found] = packages(line)
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
        ("/usr/bin/env npx server", "server", "server@1.2.3"),
        ("env -S 'npx -y server'", "server", "server@1.2.3"),
        ("sudo npx server", "server", "server@1.2.3"),
        ("npx -p server@1.2.3 -p other server", "other", "other@1.2.3"),
        ("uvx --with other,third==1.0 server==1.0", "other", "other==1.2.3"),
        ("uv run --directory /x --with other server.py", "other", "other==1.2.3"),
        ("uv --directory /x tool run server", "server", "server==1.2.3"),
        ("uv tool run --from server run-it", "server", "server==1.2.3"),
        ("python3.12 -m uv tool run server", "server", "server==1.2.3"),
        ("pipx run server", "server", "server==1.2.3"),
        ("pnpm --package=server dlx run-it", "server", "server@1.2.3"),
        ("npm --prefix /x exec server", "server", "server@1.2.3"),
        ("yarn dlx -p server run-it", "server", "server@1.2.3"),
        ("bun x server", "server", "server@1.2.3"),
        ("deno run -A npm:server", "npm:server", "npm:server@1.2.3"),
        ("deno run jsr:@scope/server", "jsr:@scope/server", "jsr:@scope/server@1.2.3"),
        ("sh -c 'npx -y server'", "server", "server@1.2.3"),
        ("sh -c 'KEY=1 npx server | tee log'", "server", "server@1.2.3"),
        ("bash -c 'cd /x; npx server>log 2>&1'", "server", "server@1.2.3"),
        ("cmd /C 'npx -y server'", "server", "server@1.2.3"),
        ("docker run mcp/time", "mcp/time", "mcp/time:1.2.3"),
        ("docker run -it mcp/time:latest", "mcp/time:latest", "mcp/time:1.2.3"),
        ("docker --context x run --rm img", "img", "img:1.2.3"),
        (
            "docker container run localhost:5000/img",
            "localhost:5000/img",
            "localhost:5000/img:1.2.3",
        ),
    ],
)
def test_a_package_without_one_may_be_another_one_at_the_next_start(
    line: str, spec: str, pinned: str
) -> None:
    [found] = [each for each in packages(line) if not each.is_pinned]
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
        "deno run server.ts",
        "docker run",
        "docker compose run server",
        "sh server.sh",
        "sh -c",
        "sh -c 'npx \"server'",
        "env",
        "env A=b",
        " ".join([*["env"] * 2000, "npx", "server"]),
    ],
)
def test_what_is_on_this_machine_is_no_package_to_fetch(line: str) -> None:
    assert packages(line) == []
    assert packages_of(None, []) == []
