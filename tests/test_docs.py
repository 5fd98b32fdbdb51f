"""The documentation says everything, and what it shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import orchestrator
from mock_servers import keyvalue, news, numbers, weather
from mock_servers import text as texts
from orchestrator.cli import main
from orchestrator.cli.arguments import build_parser
from orchestrator.client import Orchestrator
from orchestrator.documents.parse import read_document
from orchestrator.engine.events import Event, ServerEvent
from orchestrator.errors import CODES, ERROR_KINDS
from orchestrator.recordings.case import FIELDS as CASE_FIELDS
from orchestrator.recordings.case import CaseForm
from orchestrator.recordings.form import FIELDS as RECORDING_FIELDS
from orchestrator.recordings.recording import Recording
from orchestrator.report.diagrams import plan_document
from orchestrator.report.forecast import forecast
from orchestrator.report.svg import svg
from orchestrator.servers.config import FIELDS as SERVER_FIELDS
from orchestrator.servers.config import Server
from orchestrator.servers.config_file import load_config
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import FIELDS, Workflow, workflow_schema

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_file())
README = (ROOT / "README.md").read_text()
WORKFLOW = (ROOT / "docs" / "workflow.md").read_text()
SERVERS = (ROOT / "docs" / "servers.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
PYTHON = (ROOT / "docs" / "python.md").read_text()
FINDINGS = (ROOT / "docs" / "findings.md").read_text()
PLAN = (ROOT / "docs" / "plan.md").read_text()
FAULTS = (ROOT / "docs" / "faults.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_every_field_of_the_workflow_file_is_documented() -> None:
    for name in [*FIELDS[""], *FIELDS["tasks"]]:
        assert f"`{name}`" in WORKFLOW, name


def test_every_field_of_a_server_is_documented() -> None:
    for name in SERVER_FIELDS:
        assert f"`{name}`" in SERVERS, name


def test_every_event_error_kind_and_public_name_is_documented() -> None:
    for event in (*Event.__subclasses__(), *ServerEvent.__subclasses__()):
        if event.__name__ != "ServerEvent":  # the class that events of servers have in common
            assert f"`{event.name}`" in WORKFLOW, event
    for kind in ERROR_KINDS:
        assert f"`{kind}`" in WORKFLOW, kind
    for name in orchestrator.__all__:
        assert f"`{name}`" in PYTHON, name


def test_every_module_is_on_the_map() -> None:
    drawn = (ROOT / "ARCHITECTURE.md").read_text()
    for path in (ROOT / "orchestrator").iterdir():
        if path.name[0] not in "_." and path.name != "py.typed":
            name = path.name if path.suffix == ".py" else f"{path.name}/"
            assert f"`{name}`" in drawn, name


def test_every_command_has_its_row_and_every_option_is_explained() -> None:
    commands = build_parser()._subparsers
    assert commands is not None
    choices = commands._group_actions[0].choices
    assert choices is not None
    for name, parser in dict(choices).items():
        assert f"orchestrator {name}" in COMMANDS, name
        assert all(action.help for action in parser._actions), name


@pytest.mark.anyio
async def test_the_picture_of_a_plan_is_the_one_that_is_drawn() -> None:
    modules = (weather, news, numbers, texts)
    servers = {module.server.name: module.server for module in modules}
    async with Orchestrator({**servers, "keyvalue": keyvalue.make_server()}) as orchestrator:
        tools = {tool.target: tool for tool in await orchestrator.tools()}
    plan = Workflow.load(ROOT / "examples" / "city_brief.json")
    assert svg(forecast(plan, tools)) + "\n" == (ROOT / "docs" / "plan.svg").read_text()


def test_every_field_of_the_document_of_a_plan_is_documented() -> None:
    plan = Workflow.load({"tasks": [{"id": "a", "tool": "s:t"}]})
    servers = {"s": Server(command="x")}
    document = plan_document(forecast(plan, {}, servers, {}, {"a": 1.0}))
    parts = [document, document["critical_path"], document["calls"], document["expected"]]
    parts += [document["starts"][0], document["tools"]["s:t"], document["tasks"]["a"]]
    for name in {name for part in parts for name in part}:
        assert f"`{name}`" in PLAN, name


def test_the_published_schema_is_the_one_that_is_printed() -> None:
    published = json.loads((ROOT / "docs" / "workflow.schema.json").read_text())
    assert published == workflow_schema()
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_every_example_is_valid_and_fits_the_schema(path: Path) -> None:
    workflow = Workflow.load(path)
    assert workflow.name == path.name.partition(".")[0].replace("_", "-")
    Draft202012Validator(workflow_schema()).validate(read_document(path))
    assert set(workflow.plan.servers) <= set(load_config(ROOT / "servers.toml"))


@pytest.mark.anyio
async def test_the_recording_of_the_example_is_what_its_servers_say(tmp_path: Path) -> None:
    modules = (weather, news, numbers, texts)
    servers = {module.server.name: module.server for module in modules}
    servers["keyvalue"] = keyvalue.make_server()
    path = tmp_path / "recording.json"
    async with Orchestrator(servers, record=path) as orchestrator:
        await orchestrator.run(ROOT / "examples" / "city_brief.json")
    known = ROOT / "examples" / "tests" / "city_brief.recording.json"
    recorded, published = (json.loads(each.read_text()) for each in (path, known))
    assert recorded.pop("run")["inputs"] == published.pop("run")["inputs"]
    assert recorded == published


def test_the_example_has_a_test_that_passes_and_fits_its_schema(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = ROOT / "examples" / "tests"
    assert main(["test", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("city_brief.test.json\n1 passed\n")
    for kind in ("test", "recording"):
        assert main(["schema", kind]) == 0
        schema = json.loads(capsys.readouterr().out)
        Draft202012Validator.check_schema(schema)
        document = json.loads((folder / f"city_brief.{kind}.json").read_text())
        Draft202012Validator(schema).validate(document)
        document = {"version": 1, "calls": [{"tool": "a:b", "answers": [{"wrapped": True}]}]}
        assert not Draft202012Validator(schema).is_valid(document)


def test_a_recording_in_the_documentation_is_valid_and_every_field_is_there() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    shown, *tests = (json.loads(block) for block in blocks(text, "json"))
    recording = Recording.of(shown)
    assert [len(call.answers) for call in recording.calls.values()] == [2]
    for test in tests:
        CaseForm.model_validate(test)
    fields = {**RECORDING_FIELDS, **CASE_FIELDS}
    for part in ("calls", "answers", "", "expect"):
        for name in fields[part]:
            assert f"`{name}`" in text or f'"{name}"' in text, name


def test_the_workflow_in_the_readme_is_valid() -> None:
    (block,) = blocks(README, "json")
    workflow = Workflow.load(json.loads(block))
    assert workflow.plan.generations == [["weather", "news"], ["brief"]]


def test_servers_in_the_documentation_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    named = []
    for text in blocks(README, "toml") + blocks(SERVERS, "toml"):
        path.write_text(text)
        environment = {"WEATHER_KEY": "k", "SEARCH_TOKEN": "t"}
        named.append(set(load_config(path, environment)))
    expected = {"weather", "search"}, {"weather"}, {"web", "files"}, {"studio"}, {"search"}
    assert named == [*expected, {"search"}, {"bank"}, {"tickets"}, {"library"}]
    (desktop,) = blocks(SERVERS, "json")
    path = path.with_suffix(".json")
    path.write_text(desktop)
    assert load_config(path)["time"].args == ["mcp-server-time"]


def test_every_code_of_a_finding_has_its_paragraph() -> None:
    paragraphs = re.findall(r"^### `(\w+)`\n\n(\S.{40,})", FINDINGS, re.MULTILINE)
    assert [code for code, _ in paragraphs] == sorted(CODES)
    assert FINDINGS.count("\n### ") == len(CODES)


def test_the_documented_findings_are_the_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow, finding = blocks(FINDINGS, "json")
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text(workflow)
    assert main(["validate", "broken.json"]) == 2
    command = "$ orchestrator validate broken.json\n"
    shown = command + capsys.readouterr().err
    assert [shown] == blocks(FINDINGS, "console")
    assert main(["validate", "broken.json", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["problems"][-1] == json.loads(finding)
    for name in (*document, *json.loads(finding)):
        assert f"`{name}`" in FINDINGS, name


@pytest.mark.anyio
async def test_the_documented_type_errors_are_the_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = next(block for block in blocks(README, "console") if "types.json" in block)
    (block,) = blocks(README, "json")
    workflow = block.replace(".conditions", ".condition").replace('"limit": 1}', '"limit": "1"}')
    servers = {"weather": weather.server, "news": news.server, "text": texts.server}
    async with Orchestrator(servers) as orchestrator:
        lock = Lockfile.made_of(await orchestrator.tools())
    monkeypatch.chdir(tmp_path)
    Path("types.json").write_text(workflow)
    Path("servers.toml").write_text(
        "".join(f"[servers.{name}]\nurl = 'http://x/mcp'\n" for name in servers)
    )
    lock.save("servers.lock")
    assert main(["validate", "types.json"]) == 2
    assert console == "$ orchestrator validate types.json\n" + capsys.readouterr().err


def test_every_fault_in_the_documentation_has_a_test() -> None:
    rows = re.findall(r"^\| .*\| (.+?) \|$", FAULTS, re.MULTILINE)
    named = {row.strip("`") for row in rows if row.startswith("`test_")}
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []


def test_python_in_the_documentation_compiles() -> None:
    shown = blocks(README, "python") + blocks(PYTHON, "python")
    assert len(shown) == 9
    for block in shown:
        indented = "".join(f"    {line}\n" for line in block.splitlines())
        compile(f"async def shown():\n{indented}", "docs", "exec")


def test_the_two_setup_commands_work() -> None:
    commands = "".join(blocks(README, "sh")).splitlines()
    assert "orchestrator run examples/city_brief.json" in commands[0]
    assert "scripts/test" in commands[1]
    for command in commands[:2]:
        assert command.startswith("python3 -m venv .venv && . .venv/bin/activate && pip install")
