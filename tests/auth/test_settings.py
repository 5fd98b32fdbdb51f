"""The table of a login in servers.toml, and what is shown of a login."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConfigError, Server
from orchestrator.auth.record import Login
from orchestrator.auth.settings import OAUTH_FIELDS, SECRETS, OAuth, Subject
from orchestrator.auth.status import LoginStatus
from orchestrator.daemon.configuration import differing, document_of, hashes_of, server_of
from orchestrator.servers.config_file import load_config
from orchestrator.servers.config_source import ConfigSource
from orchestrator.servers.redaction import OAUTH_SHOWN

URL = 'url = "https://it.example/mcp"'
ISSUER = 'issuer = "https://is.example"'
CLIENT = 'flow = "client_credentials"'


def problems(tmp_path: Path, lines: str, server: str = URL, **variables: str) -> list[str]:
    """What is wrong with a server and its table."""
    path = tmp_path / "servers.toml"
    path.write_text(f"[servers.it]\n{server}\n[servers.it.oauth]\n{lines}\n")
    try:
        load_config(path, variables)
    except ConfigError as error:
        return [
            f"{problem.path} {problem.sentence} {problem.hint}".strip()
            for problem in error.problems
        ]
    return []


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'scopes = ["a", "b:c"]',
        'client_id = "me"',
        f'client_id = "me"\nclient_secret = "x"\nclient_auth = "post"\n{ISSUER}',
        'client_metadata_url = "https://example.com/client.json"',
        'redirect_url = "http://127.0.0.1:8765/callback"',
        f'{CLIENT}\nclient_id = "me"\nclient_secret = "hush"\n{ISSUER}',
        f'{CLIENT}\nclient_id = "me"\nprivate_key = "hush"\nsigning_algorithm = "ES256"\n{ISSUER}',
    ],
)
def test_a_table_that_fits(tmp_path: Path, lines: str) -> None:
    assert problems(tmp_path, lines) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('client-id = "me"', '/client-id unknown field "client-id". Did you mean "client_id" or'),
        ('flow = "log_in"', 'Did you mean "login"?'),
        ("client_id = 3", "/client_id expected string, got integer"),
        ('scopes = "a b"', "/scopes expected array, got string"),
        ('scopes = ["a b"]', "/scopes/0 expected a scope write each one by itself"),
        ('client_secret = "hush"', '/client_secret "client_secret" needs "client_id"'),
        (
            'client_id = "a"\nclient_secret = "hush"',
            '/client_secret "client_secret" needs "issuer"',
        ),
        ('private_key = "hush"', "is for a client that logs in by itself"),
        ('issuer = "is.example"', '/issuer expected a URL like "https://login.example.com"'),
        ('issuer = "http://[x"', "/issuer expected a URL"),
        ('client_metadata_url = "https://x.example"', "expected a URL with a path"),
        ('redirect_url = "https://x.example/back"', "expected a URL of this machine"),
        ('client_id = "a"\nclient_metadata_url = "https://a.example/b"', "remove one of them"),
        (CLIENT, 'needs "client_id"'),
        (f'{CLIENT}\nclient_id = "a"\nclient_secret = "b"', 'needs "issuer"'),
        (f'{CLIENT}\nclient_id = "a"\n{ISSUER}', "got neither"),
        (
            f'{CLIENT}\nclient_id = "a"\n{ISSUER}\nclient_secret = "b"\nprivate_key = "c"',
            "got both",
        ),
        (f'{CLIENT}\nredirect_url = "http://127.0.0.1:1/a"', '"redirect_url" is for a login by a'),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path: Path, lines: str, said: str) -> None:
    found = problems(tmp_path, lines)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("/servers/it/oauth") for problem in found)


def test_the_table_is_for_a_server_with_a_url_and_without_a_header_of_its_own(
    tmp_path: Path,
) -> None:
    [problem] = problems(tmp_path, "", 'command = "it"')
    assert '"oauth" is for a url, and this server has a command' in problem
    [problem] = problems(tmp_path, "", f'{URL}\nheaders = {{ AUTHORIZATION = "Bearer x" }}')
    assert "remove one of them" in problem


def test_a_secret_of_the_table_is_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    table = f'client_id = "me"\nclient_secret = "${{IT_SECRET}}"\n{ISSUER}'
    path.write_text(f"[servers.it]\n{URL}\n[servers.it.oauth]\n{table}\n")
    server = load_config(path, {"IT_SECRET": "hushhush"})["it"]
    assert server.oauth is not None
    assert server.oauth.client_secret == "hushhush"
    assert "hushhush" not in repr(server) + repr(server.oauth) + repr(server.subject)
    assert server.redact("it is hushhush") == "it is ***"
    assert "hushhush" in server.known_secrets
    assert ("it.oauth.0", "hushhush") in list(server.named_secrets("it"))
    other = server.model_copy(update={"oauth": OAuth()})
    assert server.identity != Server(name="it", url=server.url).identity != other.identity


def test_the_line_of_a_mistake_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    inline = 'oauth = { client_secret = "hushhush", client_idd = "me" }'
    path.write_text(f"[servers.it]\n{URL}\n{inline}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    from orchestrator.workflow.source_map import located

    assert "hushhush" not in str(caught.value) + repr(
        located(caught.value.problems, path, ConfigSource)
    )


def test_a_warm_pool_gets_the_table_and_the_place_of_logins() -> None:
    how = OAuth(client_id="me", client_secret="hushhush", issuer="https://is.example")
    server = Server(name="it", url="https://it.example/mcp", oauth=how)
    document = document_of(server, {"ORCHESTRATOR_LOGINS": "/here", "HOME": "/home"})
    assert document["inherited"] == {"ORCHESTRATOR_LOGINS": "/here"}
    assert server_of(json.loads(json.dumps(document))).oauth == how
    other = document_of(server.model_copy(update={"oauth": OAuth()}), {})
    found = differing(hashes_of(document, b"key"), hashes_of(other, b"key"))
    assert sorted(found) == ["ORCHESTRATOR_LOGINS", "oauth"]


def test_every_field_of_the_table_is_known_to_be_a_secret_or_none() -> None:
    assert {*OAUTH_FIELDS} - {*SECRETS} == OAUTH_SHOWN


SUBJECT = Subject("it", "https://it.example/mcp")
NOW = time.time()


def status(subject: Subject = SUBJECT, refresh: str | None = None, **fields: Any) -> LoginStatus:
    tokens = {
        "access_token": "t",
        "scope": "a b",
        **({"refresh_token": refresh} if refresh else {}),
    }
    login = Login.model_validate(
        {"url": subject.url, "issuer": "https://is.example", "tokens": tokens, **fields}
    )
    return LoginStatus.of(subject, login, NOW)


def test_what_is_shown_of_a_login() -> None:
    out = LoginStatus.of(SUBJECT, None)
    assert (out.state, out.until) == ("logged_out", "logged out")
    ended = LoginStatus.of(SUBJECT, Login(url=SUBJECT.url, ended="it has ended"))
    assert ended.to_dict()["reason"] == "it has ended"
    client = Subject("it", SUBJECT.url, OAuth(flow="client_credentials"))
    assert LoginStatus.of(client, None).until == "by itself"
    assert status().until == "logged in"
    soon = status(expires_at=NOW + 60)
    assert soon.until.startswith("until ")
    assert soon.to_dict()["scopes"] == ["a", "b"]
    assert soon.to_dict()["expires_at"].endswith("+00:00")
    assert status(refresh="r", expires_at=NOW + 60).until.startswith("renews ")
    late = status(expires_at=NOW + 2_000_000).until
    assert late.count("-") == 2  # another day is shown with its date
    over = status(expires_at=NOW - 60)
    assert (over.state, over.until[:8]) == ("expired", "expired ")
    assert status(refresh="r", expires_at=NOW - 60).state == "logged_in"
