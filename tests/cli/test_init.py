"""`orchestrator init` and `completion`: what a new user types first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.cli.arguments import COMMANDS
from orchestrator.servers.adopt import desktop_files
from orchestrator.servers.config_file import load_config

CLAUDE = {
    "mcpServers": {
        "my files": {"command": "npx -y server-fs /tmp", "env": {"API_KEY": 's3cr"et', "N": 1}},
        "off": {"command": "x", "disabled": True},
        "web": {"type": "http", "url": "https://x/mcp", "headers": {"Auth": "Bearer ${env:TOK}"}},
        "bad": {"foo": 1},
        "odd": {"command": "x", "args": ["${a b}"]},
        "text": "x",
    }
}
CODE = {
    "servers": {
        "web": {"type": "sse", "url": "https://y/sse"},
        "same": {"command": "npx", "args": ["-y", "server-fs", "/tmp"], "env": {}},
        "here": {"command": "x", "args": ["${workspaceFolder}/a", "${input:my-key}"]},
    },
    "inputs": [],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a home directory without files of other programs."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = tmp_path / "project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_init_takes_over_the_servers_of_desktop_clients(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claude = project.parent / ".config" / "Claude" / "claude_desktop_config.json"
    save(claude, json.dumps(CLAUDE))
    save(project / ".vscode" / "mcp.json", f"// mine\n{json.dumps(CODE)}")
    save(project.parent / ".claude.json", "{nope")
    save(project.parent / ".gemini" / "settings.json", "{}")
    assert main(["init"]) == 0
    out, err = capsys.readouterr()
    assert f"servers.toml: 2 servers from {claude}" in out
    for name, why in {
        "off": 'it has "disabled": true',
        "bad": "expected a command or a url, got neither",
        "odd": "${a b} has no form in servers.toml",
        "text": "it is not an object",
    }.items():
        assert f"left out: {claude}: {name}: {why}" in err
    assert f"left out: {project.parent / '.claude.json'}: invalid JSON" in err
    assert "servers.toml may hold secrets" in err
    assert (project / "servers.toml").stat().st_mode & 0o777 == 0o600
    text = (project / "servers.toml").read_text()
    assert f"# from {claude}; needs the variables TOK\n[servers.web]" in text
    servers = load_config("servers.toml", {"TOK": "t", "my_key": "k"})
    assert list(servers) == ["my-files", "web", "web-2", "same", "here", "example"]
    assert servers["my-files"].args == ["-y", "server-fs", "/tmp"]
    assert servers["my-files"].env == {"API_KEY": 's3cr"et', "N": "1"}
    assert servers["web"].headers == {"Auth": "Bearer t"}
    assert (servers["web"].transport, servers["web-2"].transport) == ("streamable-http", "sse")
    assert servers["here"].args == [f"{project}/a", "k"]


def test_init_overwrites_nothing_and_its_example_is_valid(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "new/deep"]) == 0
    out = capsys.readouterr().out
    assert "no servers of a desktop client were found, only the example" in out
    assert "cd new/deep && orchestrator run example.json" in out
    before = {path.name: path.read_text() for path in (project / "new/deep").iterdir()}
    assert list(load_config("new/deep/servers.toml")) == ["example"]
    assert main(["validate", "new/deep/example.json", "--offline", "--strict"]) == 0
    assert main(["init", "new/deep"]) == 2
    err = capsys.readouterr().err
    assert err.count("exists already") == 3
    assert {path.name: path.read_text() for path in (project / "new/deep").iterdir()} == before
    Path("file").touch()
    assert main(["init", "file/deep"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    capsys.readouterr()
    assert main(["run", "example.json", "names=Ada", "names=Bob"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == "Hello, Ada!\nHello, Bob!"
    assert "warning" not in err


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


TYPED = {
    "": [*COMMANDS],
    "pl": ["plan"],
    "run --sche": ["--schedule"],
    "run --schedule ": ["generations", "dataflow"],
    "run w": ["w1.json", "w2.json"],
    "plan w1.json --output w2": ["w2.json"],
    "run -i w": [],
    "call w": [],
    "completion z": ["zsh"],
}


def test_bash_completes_commands_options_choices_and_files(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("w1.json", "w2.json"):
        (project / name).touch()
    lines = [script("bash", capsys)]
    for typed in TYPED:
        *words, last = f"orchestrator {typed}".split(" ")
        lines.append(f"COMP_WORDS=({' '.join(words)} '{last}') COMP_CWORD={len(words)}")
        lines.append('_orchestrator; echo "${COMPREPLY[*]}"')
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stderr == ""
    found = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert found == [sorted(expected) for expected in TYPED.values()]


def test_fish_completes_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script("fish", capsys)
    assert "complete -c orchestrator -n __fish_use_subcommand -a plan -d 'show what" in text
    assert "from run' -l schedule -xa 'generations dataflow' -d 'overrides that" in text
    assert "from run' -l servers -rF -d " in text
    if shutil.which("fish"):
        (project / "w1.json").touch()
        asks = "\n".join(f"complete -C 'orchestrator {typed}'" for typed in ("pl", "run --sche"))
        done = subprocess.run(["fish", "-N", "-c", text + asks], capture_output=True, text=True)
        assert done.stderr == ""
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["plan", "--schedule"]


def test_zsh_reads_the_script_of_bash(capsys: pytest.CaptureFixture[str]) -> None:
    text = script("zsh", capsys)
    assert text.startswith("autoload -Uz compinit bashcompinit")
    assert text.endswith(script("bash", capsys))
    if shutil.which("zsh"):
        text += "print ${_comps[orchestrator]}"
        done = subprocess.run(["zsh", "-f", "-c", text], capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.startswith("_bash_complete")


@pytest.mark.parametrize(
    ("platform", "settings"),
    [("linux", ".config"), ("darwin", "Library/Application Support"), ("win32", "AppData/Roaming")],
)
def test_each_system_has_its_own_place_for_settings(
    platform: str, settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / settings / "Claude" / "claude_desktop_config.json"
    save(path, "{}")
    monkeypatch.setattr(sys, "platform", platform)
    assert list(desktop_files(tmp_path, tmp_path / "project")) == [path]
