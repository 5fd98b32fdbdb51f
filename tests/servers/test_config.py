"""servers.toml and `mcpServers` JSON: what is read, and everything that is wrong, at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConfigError, Server
from orchestrator.calls.call import Call
from orchestrator.servers.config import DEFAULTS, FIELDS, TrustedTask
from orchestrator.servers.config_file import load_config
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.budget import Budget

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "servers.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def one(path: Path, **environment: str) -> Server:
    [server] = load_config(path, environment).values()
    return server


def problems(path: Path, **environment: str) -> list[tuple[str, str]]:
    """Where, and what, for everything that is wrong."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment)
    assert str(caught.value).startswith(f"{path}: ")
    return [(problem.path, problem.message) for problem in caught.value.problems]


FULL = """
[defaults]
timeout_s = 5
start_timeout_s = 7.5
max_concurrency = 9

[servers.weather]
command = "python"
args = ["-m", "mock_servers.weather"]
env = { API_KEY = "${WEATHER_KEY}", MODE = "${MODE:-fast}" }
cwd = "work"
timeout_s = 2

[servers.search]
url = "https://example.com:8443/mcp"
headers = { Authorization = "Bearer ${SEARCH_TOKEN}" }
max_concurrency = 4
sessions = 2
protocol = "legacy"
writes = "parallel"
required = true
allow = ["search", "fetch*"]
deny = ["fetch_all"]
"""


def test_every_field_is_read(write: Write, tmp_path: Path) -> None:
    environment = {"WEATHER_KEY": "sunny-key", "SEARCH_TOKEN": "s3cr3t"}
    servers = load_config(write(FULL), environment)
    weather, search = servers["weather"], servers["search"]
    assert weather.model_dump(exclude_defaults=True) == {
        "name": "weather",
        "command": "python",
        "args": ["-m", "mock_servers.weather"],
        "env": {"API_KEY": "sunny-key", "MODE": "fast"},
        "cwd": str(tmp_path / "work"),
        "timeout_s": 2,
        "start_timeout_s": 7.5,
        "max_concurrency": 9,
    }
    assert search.model_dump(exclude_defaults=True) == {
        "name": "search",
        "url": "https://example.com:8443/mcp",
        "headers": {"Authorization": "Bearer s3cr3t"},
        "timeout_s": 5,
        "start_timeout_s": 7.5,
        "max_concurrency": 4,
        "sessions": 2,
        "protocol": "legacy",
        "writes": "parallel",
        "required": True,
        "allow": ["search", "fetch*"],
        "deny": ["fetch_all"],
    }


def test_an_unknown_transport_is_an_error_with_the_nearest_name(write: Write) -> None:
    for given, meant in (("see", "sse"), ("streamable_http", "streamable-http")):
        with pytest.raises(ConfigError, match=f'Did you mean "{meant}"'):
            load_config(write(f'[servers.a]\nurl = "http://x"\ntransport = "{given}"'), {})


def test_what_data_depends_on_is_the_transport_too() -> None:
    url = "http://x.example"
    assert Server(url=url).identity != Server(url=url, transport="sse").identity


def test_a_server_needs_no_more_than_a_command(write: Write) -> None:
    server = one(write('[servers.a]\ncommand = "x"'))
    assert (server.timeout_s, server.start_timeout_s, server.sessions) == (60, 30, 1)
    assert (server.max_concurrency, server.protocol, server.writes) == (None, "auto", "serial")
    assert (server.required, server.allow, server.deny) == (False, None, [])


def test_the_environment_is_that_of_the_process(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROGRAM", "here")
    assert load_config(write('[servers.a]\ncommand = "${PROGRAM}"'))["a"].command == "here"


@pytest.mark.parametrize(
    ("text", "environment", "value"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("a${A}b${B}c", {"A": "x", "B": "y"}, "axbyc"),
        ("${A:-default}", {}, "default"),
        ("${A:-default}", {"A": ""}, "default"),
        ("${A:-}", {}, ""),
        ("${A}", {"A": ""}, ""),
        ("${A}", {"A": "${B}"}, "${B}"),
        ("$A costs 5$", {}, "$A costs 5$"),
    ],
)
def test_variables_stand_wherever_a_text_does(
    write: Write, text: str, environment: dict[str, str], value: str
) -> None:
    path = write(f'[servers.a]\ncommand = "x"\nargs = ["{text}"]\nenv = {{ K = "{text}" }}')
    server = one(path, **environment)
    assert server.args == [value]
    assert server.env == {"K": value}


def test_a_variable_that_is_missing_is_named_where_it_stands(write: Write) -> None:
    text = '[servers.a]\nurl = "${URL}"\nheaders = { K = "${KEY}" }\n'
    text += '[servers."b/c"]\ncommand = "x"\nargs = ["a", "${ARG}", "${ARG"]'
    path = write(text)
    assert problems(path) == [
        ("/servers/a/url", "environment variable URL is not set"),
        ("/servers/a/headers/K", "environment variable KEY is not set"),
        ("/servers/b~1c/args/1", "environment variable ARG is not set"),
        ("/servers/b~1c/args/2", 'expected ${VAR} or ${VAR:-default} at "${"'),
    ]
    with pytest.raises(ConfigError, match=r"set it, or write \$\{URL:-default\}"):
        load_config(path, {})


def test_all_mistakes_of_a_file_are_told_at_once(write: Write) -> None:
    path = write("""
        [default]
        timeout_s = 5
        [defaults]
        timeout = 5
        start_timeout_s = "soon"
        [unrelated]
        [servers.none]
        [servers."with blank"]
        command = "x"
        [servers.a]
        comand = "x"
        name = "b"
        sessions = 0
        [servers.both]
        command = "x"
        url = "http://x"
        [servers.program]
        command = ""
        headers = { A = "b" }
        transport = "sse"
        [servers.old]
        url = "http://x"
        transport = "see"
        [servers.older]
        url = "http://x"
        transport = "sse"
        protocol = "2026-07-28"
        [servers.web]
        url = "ftp://x"
        args = ["x"]
        cwd = "."
        env = { A = "b" }
        rate = "10 a second"
        headers = { "bad name" = "x", A = "two\\nlines" }
    """)
    found = problems(path)
    assert sorted(found) == sorted(
        [
            ("/default", 'unknown table "default"'),
            ("/unrelated", 'unknown table "unrelated"'),
            ("/defaults/timeout", 'unknown field "timeout"'),
            ("/defaults/start_timeout_s", 'expected number, got string "soon"'),
            ("/servers/none", "expected a command or a url, got neither"),
            (
                "/servers/with blank",
                'expected a server name without ":" and blanks, got "with blank"',
            ),
            ("/servers/a/name", 'unknown field "name"'),
            ("/servers/a/comand", 'unknown field "comand"'),
            ("/servers/a/sessions", "expected at least 1, got 0"),
            ("/servers/a", "expected a command or a url, got neither"),
            ("/servers/both", "expected a command or a url, got both"),
            ("/servers/program/command", "expected a program, got an empty string"),
            ("/servers/program/headers", '"headers" is for a url, and this server has a command'),
            (
                "/servers/program/transport",
                '"transport" is for a url, and this server has a command',
            ),
            ("/servers/old/transport", 'expected one of "streamable-http", "sse", got "see"'),
            ("/servers/older/protocol", 'protocol "2026-07-28" is not spoken over HTTP+SSE'),
            ("/servers/web/url", 'expected a URL like "https://example.com/mcp"'),
            ("/servers/web/args", '"args" is for a command, and this server has a url'),
            ("/servers/web/cwd", '"cwd" is for a command, and this server has a url'),
            ("/servers/web/env", '"env" is for a command, and this server has a url'),
            (
                "/servers/web/rate",
                'expected a rate like "10/s", "100/min" or "1000/h", from 1 to 9,999,999, '
                'got "10 a second"',
            ),
            ("/servers/web/headers/bad name", 'expected a header name, got "bad name"'),
            (
                "/servers/web/headers/A",
                "contains a character that no header may contain",
            ),
        ]
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    told = str(caught.value)
    assert 'Did you mean "command"?' in told
    assert 'Did you mean "defaults"?' in told
    assert 'Did you mean "timeout_s"' in told
    assert "write [servers.unrelated]" in told


WRONG: list[Any] = ["text", "", 1, 0, -1, 1.5, True, None, [], [1], ["a"], {}, {"a": 1}, {"a": "b"}]
RIGHT: dict[str, list[Any]] = {
    "command": ["text"],
    "args": [[], ["a"]],
    "env": [{}, {"a": "b"}],
    "inherit_env": [[], ["a"]],
    "cwd": ["text", "", None],
    "url": [None],
    "transport": [],
    "headers": [],
    "oauth": [None],
    "timeout_s": [1, 1.5],
    "start_timeout_s": [1, 1.5],
    "max_concurrency": [0, 1, None],
    "tools": [{}],
    "sessions": [1],
    "max_result_bytes": [1],
    "rate": [None],
    "protocol": [],
    "writes": [],
    "scope": [],
    "trust": [],
    "sensitive": [[], ["a"]],
    "elicitation": [],
    "subscribe": [[], ["a"]],
    "required": [True],
    "approve": [[], ["a"]],
    "allow": [[], ["a"], None],
    "deny": [[], ["a"]],
}
JARGON = ("Input should", "should be", "valid ", "type=", "pydantic", "greater_than", "_type")


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_of_the_wrong_type_is_told_in_our_words(write: Write, field: str) -> None:
    for value in WRONG:
        data = {"servers": {"s": {"command": "x", field: value}}}
        path = write(json.dumps(data), "servers.json")
        if any(type(value) is type(right) and value == right for right in RIGHT[field]):
            load_config(path, {})
            continue
        found = problems(path)
        assert found, (field, value)
        for where, message in found:
            assert where.startswith("/servers/s")
            assert not any(word in message for word in JARGON), message


@pytest.mark.parametrize("field", DEFAULTS)
def test_a_wrong_default_is_told_once_and_where_it_stands(write: Write, field: str) -> None:
    table = {name: {"command": "x"} for name in "abc"}
    path = write(json.dumps({"servers": table, "defaults": {field: []}}), "servers.json")
    [(where, _)] = problems(path)
    assert where == f"/defaults/{field}"


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "0", '"${S3CRET}"'])
def test_a_limit_is_a_finite_number_of_seconds(write: Write, value: str) -> None:
    path = write(f'[servers.a]\ncommand = "x"\ntimeout_s = {value}')
    [(where, message)] = problems(path, S3CRET="open sesame")
    assert where == "/servers/a/timeout_s"
    assert message.startswith("expected ")
    assert "sesame" not in message


def test_no_message_shows_what_a_variable_holds(write: Write) -> None:
    path = write("""[servers.a]
        command = "x"
        timeout_s = "${KEY}"
        args = "${KEY}"
        rate = "${KEY}"
        protocol = "${KEY}"
        headers = { A = "${KEY}" }
    """)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"KEY": "s3cr3t" * 20})
    assert 'expected array, got string "${KEY}" (write ["${KEY}"])' in str(caught.value)
    assert len(caught.value.problems) == 5
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["example.com", "http://", "http://x:port/", "http://x:99999/", "http://[::1", "ws://x"]
)
def test_a_url_has_to_be_one(write: Write, url: str) -> None:
    path = write(f'[servers.a]\nurl = "{url}"')
    assert problems(path) == [
        ("/servers/a/url", 'expected a URL like "https://example.com/mcp"'),
    ]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "servers.toml", "defines no servers"),
        ("[servers]", "servers.toml", "defines no servers"),
        ("servers = 3", "servers.toml", "defines no servers"),
        ("[]", "servers.json", "defines no servers"),
        ('{"mcpServers": {}}', "servers.json", "defines no servers"),
        ("", "servers.json", "invalid JSON: empty document"),
        ("[servers.a", "servers.toml", "is not valid TOML: "),
        ("a = " + "9" * 5000, "servers.toml", "is not valid TOML: "),
        ("a = " + "[" * 5000, "servers.toml", "is nested too deep"),
        ('{"servers": {"a": 1, "a": 2}}', "servers.json", 'duplicate property "a"'),
        ("[servers]\na = 3", "servers.toml", "expected object, got integer 3"),
        (
            "defaults = 3\n[servers.a]\ncommand='x'",
            "servers.toml",
            "expected object, got integer 3",
        ),
    ],
)
def test_a_file_that_is_no_configuration_says_so(
    write: Write, text: str, name: str, said: str
) -> None:
    [(_, message)] = problems(write(text, name))
    assert message.startswith(said)


def test_arguments_in_one_text_are_to_be_one_item_for_each_word(write: Write) -> None:
    path = write("[servers.a]\ncommand = 'python'\nargs = '-m x'", "servers.toml")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert [problem.hint for problem in caught.value.problems] == ['write ["-m", "x"]']


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*--servers FILE"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load_config(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b'[servers.a]\ncommand = "\xe9"')
    with pytest.raises(ConfigError, match="is not UTF-8: byte 23"):
        load_config(tmp_path / "latin.toml")


def test_the_file_of_a_desktop_client_is_taken_as_it_is(write: Write, tmp_path: Path) -> None:
    path = write(
        json.dumps(
            {
                "theme": "dark",
                "mcpServers": {
                    "files": {
                        "type": "stdio",
                        "command": "npx",
                        "args": ["-y", "server-files", "${HOME_DIR}"],
                        "env": {"DEBUG": "1"},
                        "cwd": "..",
                        "disabled": False,
                        "autoApprove": ["read"],
                    },
                    "web": {"type": "http", "url": "https://x.example/mcp", "headers": {"A": "b"}},
                },
            }
        ),
        "mcp.json",
    )
    servers = load_config(path, {"HOME_DIR": "/home/me"})
    assert list(servers) == ["files", "web"]
    assert servers["files"].args == ["-y", "server-files", "/home/me"]
    assert servers["files"].cwd == str(tmp_path.parent)
    assert servers["web"].headers == {"A": "b"}


def test_what_came_from_the_environment_is_never_shown(write: Write) -> None:
    path = write("""
        [servers.a]
        command = "tool"
        args = ["${KEY}", "--plain", "x", "--token", "abcdef", "--api-key=ghijkl"]
        env = { PASSWORD = "mnopqr", URL = "postgres://me:stuvwx@host/db?key=yzyzyz" }
    """)
    server = one(path, KEY="key-value")
    assert server.description == "tool ${KEY} --plain x --token *** --api-key=***"
    text = "key-value abcdef ghijkl mnopqr stuvwx yzyzyz plain x"
    assert server.redact(text) == "*** *** *** *** *** *** plain x"
    assert server.redact({"key-value": ["is abcdef", 3, None]}) == {"***": ["is ***", 3, None]}


def test_the_url_is_shown_without_user_and_query(write: Write) -> None:
    server = one(
        write('[servers.a]\nurl = "https://me:word@x.example/mcp/${ID}?token=abcd"'), ID="t9"
    )
    assert server.description == "https://x.example/mcp/${ID}"
    assert server.redact("me:word, word, abcd") == "***, ***, ***"


def test_a_server_that_is_made_in_python_is_described_too() -> None:
    assert Server(command="tool", args=["--token", "x"]).description == "tool --token ***"
    assert Server(url="http://a:b@x/").description == "http://x/"
    assert Server(target=object()).description == ""


def test_programs_are_started_in_the_directory_of_the_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write('[servers.a]\ncommand = "x"\n[servers.b]\nurl = "https://x"\n')
    monkeypatch.chdir(tmp_path.parent)
    servers = load_config(path.relative_to(tmp_path.parent))
    assert (servers["a"].cwd, servers["b"].cwd) == (str(tmp_path), None)
    path.write_text('[servers.a]\ncommand = "x"\ncwd = "/abs"')
    assert one(path).cwd == "/abs"


def test_a_program_gets_of_the_environment_what_is_named(write: Write) -> None:
    path = write("""
        [servers.a]
        command = "x"
        inherit_env = ["PROXY", "AWS_*", "UNSET"]
        env = { AWS_REGION = "mine" }
    """)
    environment = {"PROXY": "p-value", "AWS_KEY": "k-value", "AWS_REGION": "theirs", "OTHER": "o"}
    server = one(path, **environment)
    assert server.env == {"PROXY": "p-value", "AWS_KEY": "k-value", "AWS_REGION": "mine"}
    assert server.redact("p-value k-value") == "*** ***"
    path.write_text('[servers.a]\nurl = "https://x"\ninherit_env = ["A"]')
    where = ("/servers/a/inherit_env", '"inherit_env" is for a command, and this server has a url')
    assert problems(path) == [where]


def test_zero_is_no_limit_and_a_tool_can_have_a_rate(write: Write) -> None:
    path = write("""
        [defaults]
        max_concurrency = 3
        [servers.a]
        command = "x"
        max_concurrency = 0
        [servers.a.tools]
        "free*" = { max_concurrency = 0 }
        "slow*" = { rate = "10/min" }
        "both" = { max_concurrency = 2, rate = "1/h" }
        "*" = {}
        [servers.b]
        command = "x"
    """)
    servers = load_config(path, {})
    policies = ServerPool(servers).policies
    assert (servers["a"].max_concurrency, servers["b"].max_concurrency) == (None, 3)
    assert (policies["a"].slots, policies["b"].slots is None) == (None, False)
    limits = {
        tool: [str(limit) for limit in policies["a"].limits_of(Call("t", "a", tool, {}))]
        for tool in ("free_1", "slow_1", "both", "other")
    }
    assert limits == {
        "free_1": [],
        "slow_1": ["Rate(10 in 60 s)"],
        "both": ["Slots(2 of 2 free, 0 wanted)", "Rate(1 in 3600 s)"],
        "other": [],
    }
    path.write_text('[servers.a]\ncommand = "x"\ntools.b = { rate = "fast", max_concurrency = -1 }')
    assert problems(path) == [
        (
            "/servers/a/tools/b/rate",
            'expected a rate like "10/s", "100/min" or "1000/h", from 1 to 9,999,999, got "fast"',
        ),
        ("/servers/a/tools/b/max_concurrency", "expected at least 0, got -1"),
    ]


def test_an_operator_says_whose_words_are_those_of_strangers(write: Write) -> None:
    servers = """
        [defaults]
        trust = "untrusted"
        [servers.web]
        command = "a"
        [servers.own]
        command = "b"
        trust = "trusted"
        sensitive = ["re*"]
    """
    trusted = '[[trusted]]\nworkflow = "w"\ntask = "in/t"\nbecause = "it gives numbers"\n'
    made = load_config(write(servers + trusted))
    assert [server.trust for server in made.values()] == ["untrusted", "trusted"]
    assert made["own"].sensitive == ["re*"]
    assert made.trusted == (TrustedTask(workflow="w", task="in/t", because="it gives numbers"),)
    assert ServerPool(made).servers.trusted == made.trusted
    assert load_config(write(servers)).trusted == ()
    wrong = trusted.replace("task", "tsk").replace('"it gives numbers"', '""')
    assert problems(write(servers + wrong)) == [
        ("/trusted/0/task", 'missing field "task"'),
        ("/trusted/0/tsk", 'unknown field "tsk"'),
        ("/trusted/0/because", 'expected non-empty string, got string ""'),
    ]
    assert problems(write(f"trusted = 3\n{servers}")) == [
        ("/trusted", "expected array, got integer 3")
    ]


def test_an_operator_bounds_what_runs_spend(write: Write) -> None:
    servers = '[servers.a]\ncommand = "a"\n'
    made = load_config(write(f"[budget]\ncalls = 5\nresult_mb = 0.5\n{servers}"))
    assert made.budget == Budget(calls=5, result_mb=0.5)
    assert load_config(write(servers)).budget is None
    assert problems(write(f"[budget]\ncalls = 0\nminute = 1\n{servers}")) == [
        ("/budget/calls", "expected at least 1, got 0"),
        ("/budget/minute", 'unknown field "minute"'),
    ]
