"""`orchestrator call` with resources and prompts, and what a shell proposes for its line."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.cli import main, proposals
from orchestrator.cli.call import _with_values
from orchestrator.cli.proposals import parsed_line, said
from orchestrator.errors import CallError, ConfigError, InvalidArgumentsError
from orchestrator.schema.requests import prompt_tool
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool
from tests.cli.conftest import ROOT
from tests.daemon.pools import warm
from tests.real_servers import program

LIBRARY = program("library", name="library", protocol="legacy")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose servers.toml has a library."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "servers.toml"
    path.write_text(
        f"[servers.library]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = ["-m", "mock_servers.library"]\ncwd = {json.dumps(str(ROOT))}\n'
        'protocol = "legacy"\ndeny = ["library://*"]\n'
    )
    return path


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["--read", "library:book://emma"], 0, '"title": "Emma"'),
        (["--read", "library:book://{key}", "key=ulysses"], 0, '"year": 1922'),
        (["--prompt", "library:review", "title=Emma", "tone=funny"], 0, "in a funny tone."),
        (["--read", "library:book://{key}"], 2, 'key can be "emma" or "ulysses"'),
        (["--read", "library:book://{key}", "key=emna"], 1, 'did you mean "emma"?'),
        (["--read", "library:book://{key}", "kay=x"], 2, 'has no variable "kay"'),
        (["--read", "library:library://introduction"], 2, "does not allow"),
        (["--read", "library:book://none"], 1, "Resource not found: book://none"),
        (
            ["--prompt", "library:review", "tone=funny"],
            2,
            'missing property "title"',
        ),
        (["--prompt", "library:review", "tone=odd"], 2, 'tone can be "friendly", "formal" or "f'),
        (["--prompt", "library:reviw"], 2, 'Did you mean "review"?'),
        (["--prompt", "library"], 2, "expected server:prompt"),
        (["--read", "library"], 2, "expected server:uri"),
        (["--read", "libary:book://emma"], 2, 'Did you mean "library"?'),
    ],
)
@pytest.mark.usefixtures("library")
def test_a_resource_is_read_and_a_prompt_is_got(
    words: list[str], code: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", *words]) == code
    out, err = capsys.readouterr()
    assert shown in (out if code == 0 else err)
    assert "Traceback" not in err


@pytest.mark.anyio
async def test_the_same_in_python() -> None:
    with anyio.fail_after(60):
        async with Orchestrator({"library": LIBRARY}) as orchestrator:
            assert (await orchestrator.call("read library:book://emma"))["title"] == "Emma"
            found = await orchestrator.complete("read library:book://{key}", "key", "u")
            assert found == ["ulysses"]
            given = {"title": "Emma"}
            assert await orchestrator.complete("prompt library:review", "title", "", given) == []
            assert await orchestrator.complete("library:find", "word") == []
            with pytest.raises(ConfigError):
                await orchestrator.complete("prompt lib:review", "title")
        gone = Server(command="no-such-program")
        async with Orchestrator({"gone": gone}) as orchestrator:
            for wanted in (
                orchestrator.complete("prompt gone:x", "y"),
                orchestrator.call("prompt gone:x"),
            ):
                with pytest.raises(CallError, match="did not start"):
                    await wanted


FOLLOWS = {
    "": ["library:titles", "library:find"],
    "library:find ": ["word="],
    "library:find word=": [],
    "library:nope ": [],
    "--prompt ": ["library:review"],
    "--prompt library:review title=Emma ": ["tone="],
    "--prompt library:review tone=fr": ["tone=friendly"],
    "--read ": [
        "library:library://introduction",
        "library:book://emma",
        "library:book://ulysses",
        "library:book://{key}",
    ],
    "--read library:book://{key} ": ["key="],
    "--read library:book://{key} key=e": ["key=emma"],
}


@pytest.mark.anyio
async def test_a_warm_pool_says_what_may_follow(tmp_path: Path) -> None:
    async with warm(tmp_path, LIBRARY) as kept:
        pool = kept.pool()
        async with Orchestrator(pool) as orchestrator:
            for typed, follows in FOLLOWS.items():
                line = parsed_line(f"orchestrator call {typed}")
                assert line is not None
                assert await said(orchestrator, line, ["library"]) == follows, typed
            assert pool.is_warm("library")
            kept.kill()
            while pool.is_warm("library"):
                await anyio.sleep(0.001)
            line = parsed_line("orchestrator call --prompt library:review tone=")
            assert line is not None
    async with Orchestrator(ServerPool({"library": LIBRARY})) as orchestrator:
        assert await said(orchestrator, line, []) == []


@pytest.mark.anyio
async def test_a_pool_that_fails_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "LIMIT_S", 0.01)

    async def fails(*_: Any) -> Any:
        raise CallError("timeout", "no")

    line = parsed_line("orchestrator call --prompt library:review tone=")
    assert line is not None
    for answer in (fails, lambda *_: anyio.sleep_forever()):
        orchestrator: Any = SimpleNamespace(complete=answer)
        assert await said(orchestrator, line, ["library"]) == []


LOCKED = {
    "": ["library:find", "library:odd"],
    "library:f": ["library:find"],
    "--no-lock ": [],
    "library:find ": ["word=", "strict=", "kind=", "count="],
    "library:find word=x ": ["strict=", "kind=", "count="],
    "library:find strict=": ["strict=true", "strict=false"],
    "library:find kind=": ["kind=novel", "kind=play"],
    "library:find kind=n": ["kind=novel"],
    "library:find kind=p": [],  # a shell would fill the one in that it can write
    "library:find count=": [],
    "library:find word=t": [],
    "library:odd ": [],
    "library:find 'open": [],
    "--servers other.toml ": [],
    "--servers=servers.toml --timeout 5 --env-file x.env": [],
    "--no-pool library:f": ["library:find"],
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "word": True,
        "strict": {"type": "boolean"},
        "kind": {"enum": ["novel", "play", 3, "plain words", "$(reboot)", "{a,b}", "x" * 300]},
        "count": {"enum": 7},
    },
}


def test_a_lock_file_says_what_tools_there_are(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = {"library:find": SimpleNamespace(input_schema=SCHEMA)}
    tools["library:odd"] = SimpleNamespace(input_schema={"properties": 5})
    assert main(["completion", "values", "orchestrator call "]) == 0
    assert capsys.readouterr().out == ""
    assert main(["lock"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("orchestrator.preflight.allowed_tools", lambda *_: tools)
    for typed, follows in LOCKED.items():
        assert main(["completion", "values", f"orchestrator call {typed}"]) == 0
        out, err = capsys.readouterr()
        assert (out.split(), err) == (follows, ""), typed
    assert main(["completion", "values", "orchestrator run "]) == 0
    library.write_text("no TOML")
    assert main(["completion", "values", "orchestrator call "]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_pool_is_asked_only_if_it_is_up(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def with_servers(pool: Any, ask: Any) -> list[str]:
        asked.append((pool, ask))
        return ["library:find", "library:`reboot`"]

    monkeypatch.setattr("orchestrator.cli.signals.with_servers", with_servers)
    monkeypatch.setattr(proposals, "warm_place", lambda _: library)
    for line in ("", "nope:", "library:"):
        assert main(["completion", "values", f"orchestrator call {line}"]) == 0
    assert (capsys.readouterr().out, asked) == ("", [])
    kept = SimpleNamespace(is_warm=lambda _: False)
    monkeypatch.setattr("orchestrator.daemon.warm_pool.WarmPool", SimpleNamespace)
    monkeypatch.setattr(proposals, "pool_of", lambda *_: kept)
    assert main(["completion", "values", "orchestrator call library:"]) == 0
    assert capsys.readouterr().out == "library:find\n"
    [(_, ask)] = asked
    assert anyio.run(ask, SimpleNamespace()) == []


def test_what_takes_too_long_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(proposals, "WHOLE_LIMIT_S", 0.001)
    before = signal.getsignal(signal.SIGALRM)
    with proposals._bounded():
        while not ended:  # a signal between this and a wait would not end the wait
            pass
    assert ended == [0]
    assert signal.getsignal(signal.SIGALRM) == before
    monkeypatch.delattr(signal, "setitimer")
    with proposals._bounded():
        pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("proposed", "given", "said"),
    [
        (["red", "green"], {}, 'no. color can be "red" or "green"'),
        (["red", "green"], {"color": "gren"}, 'or "green" (did you mean "green"?)'),
        (["red"], {"color": "red"}, "no"),
        ([], {}, "no"),
        ([f"c{number}" for number in range(9)], {"color": 5}, '"c7" or others'),
        (CallError("timeout", "too slow"), {}, "no"),
    ],
)
@pytest.mark.parametrize("kind", [InvalidArgumentsError, partial(CallError, "protocol_error")])
async def test_an_error_has_the_values_that_the_server_proposes(
    proposed: Any, given: dict[str, Any], said: str, kind: Any
) -> None:
    async def complete(target: str, name: str, value: str, others: Any) -> list[str]:
        assert (target, name, value, others) == ("prompt s:p", "color", "", {})
        if isinstance(proposed, CallError):
            raise proposed
        values: list[str] = proposed
        return values

    orchestrator: Any = SimpleNamespace(complete=complete)
    tool = prompt_tool("s", {"name": "p", "arguments": [{"name": "color"}]})
    error = await _with_values(kind("no", tool="p"), orchestrator, "prompt s:p", tool, given)
    assert isinstance(error, InvalidArgumentsError) is (kind is InvalidArgumentsError)
    assert str(error).endswith(said)
    assert error.error.details == {"tool": "p"}
