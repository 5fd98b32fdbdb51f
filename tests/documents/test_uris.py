"""A pattern holds for a URI however it is written."""

from __future__ import annotations

import re

import pytest

from orchestrator.documents.uris import fits_all, fits_any, forms_of


@pytest.mark.parametrize(
    "uri",
    [
        "note://secret1",
        "note://%73ecret1",
        "note://%2573ecret1",
        "note://%25%37%33ecret1",
        "NOTE://Secret1",
        "note://public/../secret1",
        "note://public%2F..%2Fsecret1",
        "note://public\\..\\secret1",
    ],
)
def test_what_is_denied_is_denied_in_every_form(uri: str) -> None:
    assert fits_any(uri, ["note://secret*"])
    assert not fits_any(uri, ["note://other*"])


def test_what_is_allowed_has_to_be_in_every_form() -> None:
    patterns = ["note://public*"]
    assert fits_all("note://public/a%20b", patterns)
    for uri in ("note://secret1", "note://public%2F..%2Fsecret", "note://public/../secret"):
        assert not fits_all(uri, patterns)


def test_a_name_of_a_tool_is_one_form() -> None:
    assert forms_of("delete_file") == ["delete_file"]
    assert fits_any("delete_file", ["delete*"])
    assert not fits_any("Delete_file", ["delete*"])
    assert fits_all("delete_file", ["delete*", "x"])


def test_too_many_escapes_fit_nothing_that_is_allowed() -> None:
    uri = "note://%61"
    for _ in range(12):  # a digit of the first escape is escaped again
        uri = re.sub(r"%([0-9a-f])([0-9a-f])", lambda m: f"%%{ord(m[1]):02x}{m[2]}", uri, count=1)
    assert forms_of(uri)[-1] == ""
    assert not fits_all(uri, ["note://*"])
    assert forms_of("note://%2525252561")[-1] == "note://a"
