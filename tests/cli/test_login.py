"""`orchestrator login`, `logout`, and what `servers` shows of them."""

from __future__ import annotations

import io
import json
import os
import pty
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from orchestrator.auth.requests import new_client
from orchestrator.cli import main
from tests.auth.world import SECRET, World

Capture = pytest.CaptureFixture[str]


class Running:
    """A world in a thread of its own, since a command has an event loop of its own."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world, self.file = world, directory / "servers.toml"
        self._opened, self._end = threading.Event(), anyio.Event()
        self._thread = threading.Thread(target=anyio.run, args=[self._serve])

    async def _serve(self) -> None:
        self._end = anyio.Event()
        async with self.world.open():
            self._token = anyio.lowlevel.current_token()
            self._opened.set()
            await self._end.wait()

    def __enter__(self) -> Running:
        self._thread.start()
        self._opened.wait(10)
        self.configure("")
        return self

    def __exit__(self, *_: object) -> None:
        anyio.from_thread.run_sync(self._end.set, token=self._token)
        self._thread.join()

    def configure(self, lines: str) -> None:
        self.file.write_text(
            f'[servers.it]\nurl = "{self.world.url}"\nprotocol = "legacy"\n{lines}\n'
            '[servers.prog]\ncommand = "prog"\n'
            f'[servers.mine]\nurl = "{self.world.url}"\n'
            'headers = { Authorization = "Bearer x" }\n'
        )

    def run(self, command: str, *options: str, server: str = "it") -> int:
        return main([command, server, "--servers", str(self.file), *options])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server that wants a login; a browser follows each link."""
    monkeypatch.setenv("ORCHESTRATOR_LOGINS", str(tmp_path / "logins"))

    def follow(link: str) -> bool:
        async def get() -> None:
            async with new_client() as client:
                await client.get(link, follow_redirects=True)

        anyio.run(get)
        return True

    monkeypatch.setattr("webbrowser.open", follow)
    with Running(World(), tmp_path) as running:
        yield running


def test_a_day_with_a_login(world: Running, capsys: Capture) -> None:
    assert world.run("servers", "--json") == 1
    [before] = json.loads(capsys.readouterr().out)
    assert before["login"]["state"] == "logged_out"
    assert before["error"].endswith("Run: orchestrator login it")

    assert world.run("login") == 0
    said = capsys.readouterr().err
    assert f"{world.world.issuer}/authorize?" in said
    assert 'logged in to server "it" (renews ' in said
    assert said.endswith("for read\n")

    assert world.run("servers", "--json") == 0
    [after] = json.loads(capsys.readouterr().out)
    assert (after["state"], after["login"]["state"]) == ("ready", "logged_in")
    assert (after["login"]["renews"], after["login"]["scopes"]) == (True, ["read"])
    assert after["login"]["issuer"] == world.world.issuer
    assert world.run("servers") == 0
    table = capsys.readouterr().out
    assert "login" in table
    assert "renews " in table
    assert world.run("call", server="it:echo") == 0

    assert world.run("logout") == 0
    said = 'logged out of server "it"; its issuer'
    assert said in (told := capsys.readouterr().err)
    assert told.endswith("offers no revocation, so its tokens are good until they expire\n")
    assert world.run("logout") == 0
    assert capsys.readouterr().err == 'there was no login to server "it"\n'
    assert world.run("call", server="it:echo") == 1
    assert "Run: orchestrator login it" in capsys.readouterr().err


def test_a_login_that_cannot_be_used_is_shown_and_moved(
    world: Running, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.run("login") == 0
    [file] = (world.file.parent / "logins").glob("*.json")
    file.write_text("{")
    capsys.readouterr()
    assert world.run("servers", "--json") == 1
    [document] = json.loads(capsys.readouterr().out)
    assert document["login"]["reason"] == f'its login cannot be used: "{file}" is damaged'
    assert file.exists()
    assert world.run("logout") == 0
    said = f'the login to server "it" cannot be used: "{file}" is damaged. It is kept as'
    assert said in caplog.text
    err = capsys.readouterr().err
    assert err.startswith(f"orchestrator: {said}")
    assert err.endswith('\nthere was no login to server "it"\n')
    assert not file.exists()
    assert len(list(file.parent.glob("*.damaged-*"))) == 1


def test_a_login_that_cannot_be_moved_is_an_error(
    world: Running, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr("orchestrator.auth.store.LoginStore.set_aside", fail)
    assert world.run("logout") == 1
    assert 'the login to server "it" cannot be removed: full' in capsys.readouterr().err


def test_a_logout_ends_the_tokens_too(world: Running, capsys: Capture) -> None:
    world.world.revokes = 200, ""
    assert world.run("login") == 0
    assert len(world.world.tokens) == 1
    assert world.run("logout") == 0
    assert "has revoked its tokens\n" in capsys.readouterr().err
    assert not world.world.tokens
    assert not world.world.refreshes


def test_a_browser_on_another_machine(
    world: Running, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing opens here: the URL that it ends at there is pasted into the terminal."""
    master, terminal = pty.openpty()

    def none(_: str) -> bool:
        said = capsys.readouterr().err
        [link] = [line.strip() for line in said.splitlines() if line.startswith("  http")]
        assert said.endswith(
            "If the page that it ends at does not load there, paste its URL here.\n"
        )

        async def get() -> str:
            async with new_client() as client:
                return str((await client.get(link)).headers["location"])

        os.write(master, f"what?\n{anyio.run(get)}\n".encode())
        return False

    monkeypatch.setattr("webbrowser.open", none)
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert world.run("login") == 0
    os.close(master)
    said = capsys.readouterr().err
    assert said.startswith("this is not the URL that this login ends at")
    assert "logged in to server" in said


def test_a_login_as_json_and_one_that_does_not_expire(world: Running, capsys: Capture) -> None:
    world.world.expires_in = None
    world.world.scope = ""
    assert world.run("login", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["server"] == "it"
    assert json.loads(out)["expires_at"] is None
    assert SECRET not in out + err
    assert err.endswith('logged in to server "it"\n')


def test_a_pasted_url(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()

    def show(link: str) -> None:
        async def get() -> str:
            async with new_client() as client:
                return str((await client.get(link)).headers["location"])

        thread = threading.Thread(target=lambda: os.write(write, f"{anyio.run(get)}\n".encode()))
        thread.start()
        thread.join()

    monkeypatch.setattr("orchestrator.cli.login._show_and_ask", show)
    with os.fdopen(read) as stdin, os.fdopen(write):
        monkeypatch.setattr("sys.stdin", stdin)
        assert world.run("login", "--no-browser") == 0


@pytest.mark.parametrize(
    "stdin",
    [
        None,
        io.StringIO(),
        io.StringIO("hello\n"),
        io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"),
    ],
)
def test_nothing_that_helps_is_pasted(
    world: Running, capsys: Capture, monkeypatch: pytest.MonkeyPatch, stdin: io.TextIOBase | None
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    assert world.run("login", "--no-browser") == 1
    said = capsys.readouterr().err
    assert "paste the URL that it ends at" in said
    assert 'not logged in to server "it"' in said
    assert said.endswith(("no URL was pasted\n", "as the browser shows it\n"))


def test_a_login_without_a_person(world: Running, capsys: Capture) -> None:
    world.configure(
        '[servers.it.oauth]\nflow = "client_credentials"\nclient_id = "me"\n'
        f'client_secret = "{SECRET}"\nissuer = "{world.world.issuer}"'
    )
    assert world.run("login") == 0
    assert "authorize" not in capsys.readouterr().err


def test_what_cannot_be_logged_in_to(world: Running, capsys: Capture) -> None:
    for command in ("login", "logout"):
        assert world.run(command, server="itt") == 2
        assert 'unknown server "itt". Did you mean "it"?' in capsys.readouterr().err
        assert world.run(command, server="prog") == 2
        assert 'server "prog" is a program' in capsys.readouterr().err
        assert world.run(command, server="mine") == 2
        assert "remove the header to log in" in capsys.readouterr().err
    world.file.with_suffix(".json").write_text(json.dumps({"mcpServers": {"it": {"url": 3}}}))
    assert main(["login", "it", "--servers", str(world.file.with_suffix(".json"))]) == 2
    assert "expected string" in capsys.readouterr().err


def test_a_login_that_is_refused(world: Running, capsys: Capture) -> None:
    world.world.denies = "access_denied"
    assert world.run("login") == 1
    assert capsys.readouterr().err.endswith("it was refused (access_denied)\n")


def test_a_port_in_use_is_an_error(world: Running, capsys: Capture) -> None:
    taken = world.world.issuer
    world.configure(f'[servers.it.oauth]\nredirect_url = "{taken}/callback"')
    assert world.run("login") == 1
    assert f"the browser cannot come back to {taken}/callback" in capsys.readouterr().err
