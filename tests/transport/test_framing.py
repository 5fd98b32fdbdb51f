"""Lines out of bytes, however they are cut."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.transport import framing
from orchestrator.transport.framing import KEPT_BYTES, Lines, TooLong

pytestmark = pytest.mark.untraced


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_lines_come_out_whole_however_the_bytes_are_cut(parts: list[bytes], step: int) -> None:
    wanted = [part.replace(b"\n", b"") for part in parts]
    data = b"".join(line + b"\n" for line in wanted) + b"unfinished"
    lines = Lines(1000)
    found: list[Any] = []
    for start in range(0, len(data), step):
        found += lines.feed(data[start : start + step])
    assert found == wanted


@pytest.mark.parametrize(("size", "fits"), [(10, True), (11, False)])
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(size: int, fits: bool) -> None:
    [line] = Lines(10).feed(b"x" * size + b"\n")
    assert isinstance(line, bytes) is fits


def test_what_is_too_long_is_measured_and_not_kept_and_the_next_line_is_whole() -> None:
    lines, chunk = Lines(100_000), b"x" * 65_536
    tracemalloc.start()
    assert list(lines.feed(b'{"id":7,')) == []
    for _ in range(1000):
        assert list(lines.feed(chunk)) == []
    [long, next_line] = lines.feed(b"end\nnext\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(long, TooLong)
    assert long.size == 65_536_000 + 11
    assert long.head[:8] == b'{"id":7,'
    assert long.tail[-4:] == b"xend"
    assert len(long.head) == len(long.tail) == KEPT_BYTES
    assert next_line == b"next"
    assert peak < 1_000_000


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_what_contains_too_much_is_not_kept_either(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(framing, "MAX_CONTAINERS", 100)
    monkeypatch.setattr(framing, "KEPT_BYTES", 10)
    fits, crowded = b'{"id":7,' + b"x" * 100 + b"[" * 99, b'{"id":7,' + b"[" * 100 + b"x" * 100
    data = b"".join(line + b"\n" for line in (fits, crowded, fits))
    lines = Lines(1000)
    kept: list[Any] = []
    for start in range(0, len(data), step):
        kept += lines.feed(data[start : start + step])
    assert kept == [fits, TooLong(len(crowded), crowded[:10], crowded[-10:], True), fits]


@pytest.mark.parametrize(
    ("head", "tail", "answers"),
    [
        (b'{"jsonrpc":"2.0","id":12,"result":{"co', b"x", 12),
        (b' { "id" : "a\\"b" , "jsonrpc": "2.0", "result"', b"x", 'a"b'),
        (b'{"jsonrpc":"2.0","result":{"content":[{"id":3,', b'"}]},"id":4}', 4),
        (b'{"result":{"id":3,', b'"},"id":4,"jsonrpc":"2.0"}\r', 4),
        (b'{"result":{"id":3,', b'"x","id":4}}', None),
        (b'{"result":{"id":3,', b"x" * 50, None),
        (b'{"id":"\xff\x01","result"', b"", None),
    ],
)
def test_what_a_long_answer_answers_is_seen_at_its_ends(
    head: bytes, tail: bytes, answers: int | str | None
) -> None:
    long = TooLong(10**9, head, tail)
    assert long.answers == answers
    assert not long.asks


@pytest.mark.parametrize(
    "head",
    [
        b'{"method":"notifications/message","params":{"data":"xx',
        b'{"jsonrpc":"2.0","method":"notifications/message"',
        b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"',
        b'{"id":7,"jsonrpc":"2.0", "method":"sampling/createMessage"',
    ],
)
def test_a_long_request_of_the_server_answers_nothing(head: bytes) -> None:
    assert TooLong(10**9, head, b"").asks
