"""What messages, tables and files show of a text."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from orchestrator.documents.encode import shown_json
from orchestrator.documents.text import MAX_NAME, name_of, quoted, visible

pytestmark = pytest.mark.untraced

ACTIVE = {
    "escape": "\x1b",
    "delete": "\x7f",
    "control sequence introducer": "\x9b",
    "soft hyphen": "\xad",
    "combining grapheme joiner": "\u034f",
    "Arabic letter mark": "\u061c",
    "Hangul filler": "\u1160",
    "Khmer vowel": "\u17b4",
    "Mongolian variation selector": "\u180b",
    "zero width space": "\u200b",
    "right-to-left override": "\u202e",
    "line separator": "\u2028",
    "isolate": "\u2066",
    "Braille blank": "\u2800",
    "another Hangul filler": "\u3164",
    "variation selector": "\ufe0f",
    "byte order mark": "\ufeff",
    "halfwidth filler": "\uffa0",
    "tag": "\U000e0041",
    "further variation selector": "\U000e0101",
    "private use": "\ue000",
    "half a surrogate": "\ud800",
}


@pytest.mark.parametrize("character", ACTIVE.values(), ids=ACTIVE)
def test_a_character_that_a_person_cannot_see_is_escaped(character: str) -> None:
    for shown in (visible(f"a{character}b"), quoted(f"a{character}b"), shown_json(character)):
        assert character not in shown
        assert "\\u" in shown or "\\x" in shown


def test_text_that_can_be_seen_stays() -> None:
    text = 'Zürich 東京 "a" \\ <b> 😀 é'
    assert visible(text) == text
    assert json.loads(shown_json({text: text})) == {text: text}


def test_no_control_or_format_character_stays_whatever_it_is() -> None:
    every = (chr(code) for code in range(sys.maxunicode + 1))
    unseen = "".join(c for c in every if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp"))
    assert visible(unseen).isascii()


def test_a_document_for_a_terminal_is_ascii_and_the_same_document() -> None:
    value = {"ü\x9b": ["😀\u202e", "\x7f", "\ud83d"]}
    text = shown_json(value, 2, ascii_only=True)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == value


def test_a_long_name_is_cut_after_it_was_made_visible() -> None:
    assert len(name_of("n" * 100_000)) == MAX_NAME
    assert name_of("n\u200b") == "n\\u200b"
