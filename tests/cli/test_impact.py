"""`lock --check --workflows DIR` says which saved workflows a changed tool breaks, and why."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Lockfile, Tool
from orchestrator.cli import lock, main
from orchestrator.servers.pool import ServerPool

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SAVE = Tool("s", "save", TEXT, output_schema=TEXT, read_only=False, destructive=False)
FIND = Tool("s", "find", {"type": "object"}, output_schema=TEXT, read_only=True)
OTHER = Tool("other", "find", {"type": "object"}, output_schema=TEXT, read_only=True)
STARTED = {"s": "s-server", "other": "other-server"}


class Place:
    """A servers' file with its lock, and a directory of workflows."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flows = folder / "flows"
        self.flows.mkdir()
        monkeypatch.chdir(folder)
        self._monkeypatch = monkeypatch
        self.configure()
        Lockfile.made_of([SAVE, FIND, OTHER], (), STARTED).save("servers.lock")

    def configure(self, trust: str = "trusted") -> None:
        Path("servers.toml").write_text(
            '[servers.s]\ncommand = "s-server"\n'
            f'[servers.other]\ncommand = "other-server"\ntrust = "{trust}"\n'
        )

    def flow(self, name: str, *tasks: dict[str, Any]) -> None:
        (self.flows / name).write_text(json.dumps({"tasks": list(tasks)}))

    def now(self, *tools: Tool, versions: dict[str, str] | None = None) -> None:
        """What the servers list from now on."""

        def list_tools(pool: ServerPool, *, denied: bool) -> Any:
            assert denied
            pool.catalog.versions.update(versions or {})
            return tools, {}

        self._monkeypatch.setattr(lock, "list_tools", list_tools)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    find = {"id": "find", "tool": "s:find"}
    save = {"id": "save", "tool": "s:save", "arguments": {"text": "$OUTPUT[find].text"}}
    made.flow("both.json", find, save)
    made.flow("find.json", find)
    made.flow("other.json", {"id": "a", "tool": "other:find"})
    made.flow("wrong.json", {"id": "a", "tool": "s:save", "arguments": {"text": 7}})
    made.flow("find.test.json")
    return made


def checked(capsys: pytest.CaptureFixture[str], *options: str, code: int = 2) -> tuple[str, str]:
    assert main(["lock", "--workflows", "flows", *options]) == code
    told = capsys.readouterr()
    return told.out, told.err


def test_only_what_a_change_makes_wrong_is_shown(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(replace(SAVE, input_schema={**TEXT, "required": ["text", "to"]}), FIND, OTHER)
    out, err = checked(capsys, "--check")
    assert "flows: 2 of 4 workflows broken by these changes: " in out
    assert "flows/both.json, flows/wrong.json\n" in out
    assert "error[missing_argument]: s:save: missing argument" in err
    assert "--> flows/both.json:1:" in err
    assert "find.json" not in err
    assert err.count("error[") == 2  # not what was wrong before


def test_a_workflow_that_was_wrong_before_is_not_broken_by_a_change(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(replace(SAVE, description="Saves."), FIND, OTHER)
    out, err = checked(capsys, "--check")
    assert "s:save: changed" in out
    assert "flows: 0 of 4 workflows broken by these changes\n" in out
    assert err == ""


def test_a_tool_that_is_gone_and_a_field_that_is_no_longer_given_break_what_reads_them(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    place.now(SAVE, replace(FIND, output_schema=schema))
    out, err = checked(capsys)
    assert "2 of 4 workflows broken by these changes: flows/both.json, flows/other.json" in out
    assert 'error[unknown_tool]: unknown tool "other:find"' in err
    assert 'error[unknown_place]: $OUTPUT[find] has no property "text"' in err


def test_a_tool_with_another_name_is_named_with_what_uses_the_old_one(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.flows / "sub" / "more").mkdir(parents=True)
    place.flow("sub/more/deep.json", {"id": "deep", "tool": "s:find"})
    place.flow("outer.json", {"id": "w", "workflow": "find.json"})
    inline = {"tasks": [{"id": "x", "tool": "other:find"}, {"id": "y", "tool": "s:find"}]}
    place.flow("inline.json", {"id": "w", "workflow": inline})
    place.now(SAVE, replace(FIND, name="search"), OTHER)
    out, err = checked(capsys, "--check")
    gone = 'unknown tool "s:find": server "s" does not offer it any more. Did you mean "search"?'
    assert f"error[unknown_tool]: {gone}\n --> flows/both.json:1:" in err
    assert f'error[unknown_tool]: "find.json", line 1: {gone}\n --> flows/outer.json:1:' in err
    assert "  = help: keep the version of the server that has it, or call another tool\n" in err
    assert "lock --update" not in err
    assert f"error[unknown_tool]: {gone}\n --> flows/inline.json:1:" in err
    assert '(task "w/y")' in err
    used = "flows/both.json (find), flows/find.json (find), flows/inline.json (w/y), "
    used += "flows/outer.json (w/find), "
    used += "flows/sub/more/deep.json (deep)"
    assert f"s:find: its server does not offer it any more; used by {used}\n" in out
    assert "flows: 5 of 7 workflows broken" in out
    place.now(FIND, OTHER)
    (place.flows / "both.json").unlink()
    (place.flows / "wrong.json").unlink()
    out, _ = checked(capsys, "--check")
    assert "s:save: its server does not offer it any more; no workflow uses it\n" in out


def test_a_server_that_was_taken_out_breaks_what_uses_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("servers.toml").write_text('[servers.s]\ncommand = "s-server"\n')
    place.now(SAVE, FIND)
    out, err = checked(capsys, "--check")
    assert "other: server removed, 1 tool: find" in out
    assert "flows: 1 of 4 workflows broken by these changes: flows/other.json\n" in out
    assert 'error[unknown_server]: unknown server "other"' in err


def test_what_was_wrong_before_is_not_new_with_another_message(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    find = {"id": "find", "tool": "s:find"}
    place.flow("both.json", find, {"id": "v", "value": "$OUTPUT[find].txt"})
    text = {"type": "string"}
    more = {**TEXT, "properties": {"text": text, "colour": text}}
    place.now(SAVE, replace(FIND, output_schema=more), OTHER)
    out, err = checked(capsys, "--check")
    assert "flows: 0 of 4 workflows broken by these changes\n" in out
    assert err == ""
    place.flow("both.json", find, {"id": "v", "value": ["$OUTPUT[find].txt", "$OUTPUT[find].text"]})
    none = {"type": "object", "properties": {}, "additionalProperties": False}
    place.now(SAVE, replace(FIND, output_schema=none), OTHER)
    out, err = checked(capsys, "--check")
    assert "flows: 1 of 4 workflows broken" in out
    assert '"text"' in err
    assert '"txt"' not in err


def test_a_program_that_accepts_changes_reads_what_they_break(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(SAVE, replace(FIND, output_schema=None))
    out, err = checked(capsys, "--check", "--json")
    found = json.loads(out)
    assert found == {
        "file": "servers.lock",
        "failed": [],
        "written": False,
        "tools": {"changed": ["s:find"], "added": [], "removed": ["other:find"]},
        "servers": {"changed": [], "updated": [], "added": [], "removed": []},
        "workflows": {
            "checked": 4,
            "broken": ["flows/other.json"],
            "new_warnings": [],
            "new_notes": ["flows/both.json"],
            "gone": {"other:find": ["flows/other.json (a)"]},
        },
    }
    assert "other:find: removed" in err
    assert main(["lock", "--update", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["written"], "workflows" in found) == (True, False)
    assert main(["lock", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tools"] == {
        "changed": [],
        "added": [],
        "removed": [],
    }
    Path("servers.lock").unlink()
    assert main(["lock", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is True


def test_folders_of_others_are_left_out_and_a_pipe_is_not_waited_for(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (".git", "node_modules"):
        (place.flows / folder).mkdir()
        place.flow(f"{folder}/flow.json", {"id": "a", "tool": "s:save"})
    (place.flows / "loop").symlink_to(place.flows)
    os.mkfifo(place.flows / "pipe.json")
    (place.flows / "dangling.json").symlink_to("nothing")
    place.now(FIND, OTHER)
    out, err = checked(capsys, "--check")
    assert "2 of 4 workflows broken" in out
    for name in ("pipe", "dangling"):
        assert f"flows/{name}.json was not checked: it is not a file" in err


def test_warnings_and_notes_that_a_change_makes_are_counted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(SAVE, replace(FIND, output_schema={**TEXT, "required": []}), OTHER)
    out, err = checked(capsys, "--check")
    said = "flows: 0 of 4 workflows broken by these changes; new warnings in 1: flows/both.json\n"
    assert said in out
    assert "warning[maybe_absent]" in err
    place.now(SAVE, replace(FIND, output_schema=None), OTHER)
    out, err = checked(capsys, "--check")
    assert "broken by these changes; new notes in 1: flows/both.json\n" in out
    assert "note[unknown_type]" in err
    assert "--verbose" not in err


def test_a_tool_that_needs_a_task_now_is_shown_as_the_server_has_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(SAVE, replace(FIND, tasks="unavailable"), OTHER)
    out, err = checked(capsys, "--check")
    assert '+   "taskSupport": "required, and its server offers no tasks"\n' in out
    assert "error[uncallable_tool]" in err
    place.now(SAVE, replace(FIND, tasks="required"), OTHER)
    out, _ = checked(capsys, "--check")
    assert '+   "taskSupport": "required"\n' in out


def test_a_tool_that_became_dangerous_breaks_what_gives_it_the_words_of_strangers(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure("untrusted")
    task = {"id": "save", "tool": "s:save", "arguments": {"text": "$OUTPUT[a].text"}}
    place.flow("flow.json", {"id": "a", "tool": "other:find"}, task)
    place.now(replace(SAVE, destructive=True), FIND, OTHER)
    out, err = checked(capsys, "--check")
    assert "1 of 5 workflows broken by these changes: flows/flow.json" in out
    assert "error[untrusted_flow]" in err


def test_an_update_is_written_and_its_impact_shown(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(SAVE, OTHER)
    out, _ = checked(capsys, "--update", code=0)
    assert "2 of 4 workflows broken" in out
    assert "accepted" in out
    out, err = checked(capsys, "--check", code=0)
    assert (out, err) == ("servers.lock: nothing has changed: 2 servers, 2 tools\n", "")


def test_what_cannot_be_read_is_told_and_no_directory_is_an_error(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.flow("broken.json", {"id": "a"})
    place.now(FIND, OTHER)
    out, err = checked(capsys, "--check")
    assert "flows/broken.json was not checked: 1 error in it" in err
    assert "2 of 4 workflows broken" in out
    assert main(["lock", "--check", "--workflows", "nowhere"]) == 2
    assert "--workflows nowhere is no directory" in capsys.readouterr().err


def test_the_lock_has_the_versions_that_servers_say_they_have(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(SAVE, FIND, OTHER, versions={"s": "1.0"})
    assert main(["lock", "--check"]) == 0  # a file without versions has none to compare
    assert "version" not in json.loads(Path("servers.lock").read_text())["servers"]["s"]
    assert main(["lock", "--update"]) == 0
    assert json.loads(Path("servers.lock").read_text())["servers"]["s"]["version"] == "1.0"
    capsys.readouterr()
    place.now(SAVE, FIND, OTHER, versions={"s": "1.1", "other": "7"})
    assert main(["lock", "--check"]) == 2
    out = capsys.readouterr().out
    assert "s: server updated\n  - 1.0\n  + 1.1\n" in out
    assert "servers.lock: 1 server updated; nothing was written" in out
    assert main(["lock", "--update"]) == 0
    assert Lockfile.load("servers.lock").versions == {"s": "1.1", "other": "7"}
    place.now(SAVE, FIND, OTHER)  # a server that says no version has the one it had
    assert main(["lock", "--check"]) == 0


def test_lock_and_validate_warn_of_a_package_without_a_version(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.now(OTHER)
    text = '[servers.other]\ncommand = "uvx"\nargs = ["server%s"]\n'
    Path("servers.toml").write_text(text % "")
    said = (
        'server "other" runs the newest version of "server" when it starts '
        '(name a version, as in "server==1.2.3")'
    )
    Path("servers.lock").unlink()
    assert main(["lock"]) == 0
    assert capsys.readouterr().err == f"orchestrator: warning: {said}\n"
    assert main(["validate", "flows/other.json"]) == 0
    assert 'warning[unpinned_package]: server "other" runs' in capsys.readouterr().err
    assert main(["validate", "flows/other.json", "--strict"]) == 2
    both = '[servers.other]\ncommand = "npx"\nargs = ["-p", "a", "-p", "b", "a"]\n'
    Path("servers.toml").write_text(both)
    assert main(["lock", "--update"]) == 0
    said = '"a" and of "b" when it starts (name a version, as in "a@1.2.3" and "b@'
    assert said in capsys.readouterr().err
    Path("servers.toml").write_text(text % "==1.0")
    assert main(["lock", "--update"]) == 0
    capsys.readouterr()
    assert main(["validate", "flows/other.json", "--strict"]) == 0
    assert capsys.readouterr().err == ""
