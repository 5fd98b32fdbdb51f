"""What may be shown of how a server is reached."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from orchestrator.servers.config import Server
from orchestrator.servers.config_file import load_config
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.redaction import (
    HIDDEN,
    description,
    forms_of,
    hideable,
    redact,
    secrets_of,
)


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ([], "tool"),
        (["--token", "abc"], "tool --token ***"),
        (["--token", "${TOKEN}"], "tool --token ${TOKEN}"),
        (["--token", "--verbose"], "tool --token --verbose"),
        (["--token=abc"], "tool --token=***"),
        (["--token=${TOKEN}"], "tool --token=${TOKEN}"),
        (["-e", "API_KEY=abc", "-e", "MODE=fast"], "tool -e API_KEY=*** -e MODE=fast"),
        (["--header", "Authorization: Bearer abc"], "tool --header Authorization: ***"),
        (["--header", "Authorization: Bearer ${T}"], "tool --header Authorization: Bearer ${T}"),
        (["postgres://me:pw@host/db?x=y"], "tool postgres://host/db"),
        (["--url=https://me:pw@host/a#b", "c"], "tool --url=https://host/a c"),
        (["key", "/path/to/token.txt"], "tool key /path/to/token.txt"),
    ],
)
def test_a_command_is_shown_without_its_secrets(args: list[str], shown: str) -> None:
    assert description({"command": "tool", "args": args}) == shown


def test_what_is_no_command_is_described_as_far_as_it_goes() -> None:
    assert description({}) == ""
    assert description({"command": "tool", "args": "no list"}) == "tool"
    assert description({"url": "https://x/y?z"}) == "https://x/y"


def test_the_secrets_are_those_that_the_names_and_places_tell() -> None:
    found = secrets_of(
        url="https://me:password1@x/?token=query-value",
        args=["--token", "arg-value", "--name", "plain-value"],
        env={"API_KEY": "env-value", "MODE": "plain-mode"},
        headers={"X-Any": "Bearer header-value"},
    )
    assert set(hideable(found)) == {
        "me:password1",
        "password1",
        "query-value",
        "arg-value",
        "env-value",
        "Bearer header-value",
        "header-value",
    }


def test_the_longest_secret_goes_first_and_short_ones_stay() -> None:
    secrets = hideable(["abcd", "abcdefgh", "xyz", " padded\n"])
    assert secrets == (" padded\n", "abcdefgh", "padded", "abcd")
    assert redact("abcdefgh abcd xyz padded", secrets) == "*** *** xyz ***"


SECRET = "p\"ä's/w+ord\\42 =?"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        repr([SECRET, "x"]),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%C3%A4", "%c3%a4").lower(),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_hidden_in_every_form(form: str) -> None:
    forms = forms_of([SECRET])
    for value in (f"before {form} after", [{"a": form}], {form: 1}):
        text = json.dumps(redact(value, forms), ensure_ascii=False)
        for part in ("w+ord", "w%2Bord", "w%2bord", base64.b64encode(SECRET.encode()).decode()):
            assert part not in text
        assert HIDDEN in text


@pytest.mark.parametrize("before", ["", "u:", "me:", "user:"])
def test_a_secret_is_hidden_within_longer_base64(before: str) -> None:
    text = base64.b64encode(f"{before}a-long-secret-value".encode()).decode()
    shown = redact(text, forms_of(["a-long-secret-value"]))
    assert HIDDEN in shown
    assert len(shown) < len(HIDDEN) + 12  # what is left are the letters of the user, and padding


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the key is tok-12345", "the key is ***"),
        ("the key is tok-12345...", "the key is ***..."),
        ("tok-12345... and more", "***... and more"),
        ("...456789-end was used", "...*** was used"),
        ("456789-end was used", "*** was used"),
        ("tok-1 is short", "tok-1 is short"),
        ("a tok-12345 b", "a tok-12345 b"),
    ],
)
def test_the_part_of_a_secret_that_a_cut_has_left_is_hidden(text: str, shown: str) -> None:
    forms = forms_of(["tok-123456789-end"])
    assert redact(text, forms, cut=True) == shown
    assert redact(text, forms) == text


def test_a_server_does_not_show_its_secrets() -> None:
    server = Server(name="s", command="tool", args=["--token", "abcdef"], env={"API_KEY": "ghijkl"})
    assert repr(server) == str(server) == "Server('s', 'tool --token ***')"
    assert "abcdef" not in f"{[server]}"


def test_a_variable_with_an_ordinary_name_is_hidden_in_messages_only(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    path.write_text('[servers.s]\ncommand = "tool"\nargs = ["${HOME}/x", "${MY_TOKEN}"]\n')
    server = load_config(path, {"HOME": "/home/me", "MY_TOKEN": "abcdef123"})["s"]
    assert server.redact("/home/me abcdef123") == "*** ***"
    assert redact("/home/me abcdef123", server.known_secrets) == "/home/me ***"


@pytest.mark.parametrize("name", ["orchestrator", "httpx2", "mcp.client.streamable_http"])
def test_logs_have_no_secrets_and_nothing_active(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = "https://me:password1@host/mcp?key=abc"
    ServerPool({"s": Server(url=url, headers={"Authorization": "Bearer abcdef123"})})
    logger = logging.getLogger(name)
    with caplog.at_level(logging.INFO, logger=name):
        logger.info("HTTP Request: POST %s with %r", url, {"Authorization": "Bearer abcdef123"})
        try:
            raise ValueError("abcdef123 \x1b[31m")
        except ValueError:
            logger.exception("failed")
    for hidden in ("password1", "abc", "\x1b"):
        assert hidden not in caplog.text
    assert "https://host/mcp" in caplog.text
    assert "\\u001b[31m" in caplog.text


def test_a_long_argument_takes_linear_time() -> None:
    """In quadratic time this would take minutes."""
    server = Server(name="a", command="x", args=["x" * 500_000 + "://user:s3cr3t@host"])
    assert "user:s3cr3t" in server.hidden
    assert "s3cr3t" not in server.description
