"""What may be shown of how a server is reached."""

from __future__ import annotations

import pytest

from orchestrator.servers.redaction import description, hideable, redact, secrets_of


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
