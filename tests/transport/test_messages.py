"""Which request a text answers that is no JSON: its id is seen where only the rest is broken."""

from __future__ import annotations

import json

import pytest
from mcp.types import JSONRPCNotification, JSONRPCResponse

from orchestrator.transport.framing import Id
from orchestrator.transport.messages import MAX_BATCH, Unreadable, read

RESULT = '{"content": [{"type": "text", "text": "x"}], "id": 5}'
RECORDS = "[" + ", ".join(f'{{"id": {number}, "name": "n"}}' for number in range(9)) + "]"


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        # The mistake is before the id, behind it, or in a string that does not end.
        (r'{"result": {"a": [1, {\"b": null}]}, "id": 7, "JSONRPC": "2.0"}', 7),
        ('{"result": [{"params": [{,"id": 5}]}], "jsonrpc": "2.0", "id": 7, "isError": false}', 7),
        ('{"jsonrpc": "2.0", "id": 7, \'"error": {"code": -32602, "message": "no"}}', 7),
        ('{"jsonrpc": {"a": 1}, \'"result": {"id": 5}, "id": 7.0}', 7),
        ('{"jsonrpc": "xxx\\", "id": "7", "result": {"content": [{"type": "text"}]}}', "7"),
        (f'{{"result": {RESULT[:-1]}, "id": 7}}', None),  # two ids, and no saying which
        (f'{{"jsonrpc": "2.0", "id": 7, "result": {RESULT[:20]}', 7),
        (f'{{"jsonrpc": "2.0", "result": {{"structuredContent": {RECORDS}, \', "id": 7}}', 7),
        (f'{{"jsonrpc": "2.0", \'result": {RECORDS}, "id": "a\\"b"}}', 'a"b'),
        (r'{"result": {"path": "C:\\"}, "id": 7, "x": NaN, ' + "'}", 7),
        (r'{"x": ' + "'" + r', "result": {"path": "C:\\"}, "id": "\\"}', "\\"),
        ('[{"jsonrpc": "2.0", "id": 7, "result": {\'}}]', 7),
        ('[{"id": 7, "result": {}}, {"id": 8, "result": \'}]', None),
        ('{"id": 7, "JSONRPC": "2.0", "RESULT": {"content": [{"type": "t', 7),
        # What is no answer, or says of none that it is one.
        ('{"id": 7, "method": "ping", "params": \'}', None),
        ('{"params": {\'}, "method": "ping", "jsonrpc": "2.0", "id": 7}', None),
        ('{"level": "info", "id": 7, \'result\': 5}', None),
        ('got {"jsonrpc": "2.0", "id": 7, "result": {}}', None),
        ('{"result": {"id": 7}, "ID": 8, \'}', None),
        ('{"jsonrpc": "2.0", "id": 7e1, "result": \'}', None),
        ('{"jsonrpc": "2.0", "id": null, "result": \'}', None),
        ('{"jsonrpc": "2.0", "id": ' + "9" * 5000 + ', "result": \'}', None),
        ('{"jsonrpc": "2.0", "result": \'}, "id": 7', None),
        ('{"jsonrpc": "2.0", "result": {}, "id": 7', None),  # of which more digits may be missing
        ("{'jsonrpc': '2.0', 'id': 7, 'result': {}}", None),
        ("[" * 5000 + '"id": 7, "result": 1', None),
    ],
)
def test_the_id_of_a_broken_answer_is_seen_in_its_outermost_object(
    text: str, answers: Id | None
) -> None:
    [found] = read(text)
    assert isinstance(found, Unreadable)
    assert found.id == answers
    assert [found] == list(read(text.encode()))


def test_an_id_is_looked_for_at_the_ends_of_a_long_text_only() -> None:
    value = {"jsonrpc": "2.0", "result": {"x": "y" * 2_000_000}, "id": 7}
    text = json.dumps(value).replace('"x"', "'x'")
    [found] = read(text)
    assert isinstance(found, Unreadable)
    assert found.id == 7


def test_messages_without_a_line_break_between_them_are_read_one_by_one() -> None:
    """Threads that share one stdout write a message, and its line break afterwards."""
    whole = [
        JSONRPCResponse(jsonrpc="2.0", id=7, result={"x": "a\ufffdb"}),
        JSONRPCNotification(jsonrpc="2.0", method="ping"),
        JSONRPCResponse(jsonrpc="2.0", id=8, result={}),
    ]
    texts = [message.model_dump_json(by_alias=True, exclude_unset=True) for message in whole]
    for between in ("", " ", "\t\r"):
        text = between.join(texts).replace("\ufffd", r"\ud83d")
        assert list(read(text)) == whole
        assert list(read(text.encode())) == whole
    found = list(read(texts[0] + '{"jsonrpc": "2.0", "id": 8, "result": null}'))
    assert [getattr(message, "id", None) for message in found] == [7, 8]
    assert isinstance(found[1], Unreadable)
    for broken in (texts[0] + "}", texts[0] + " 5", texts[0] + '{"x"'):
        [one] = read(broken)
        assert isinstance(one, Unreadable)
        assert one.id == 7
    assert len(list(read("{}" * 2 * MAX_BATCH))) == MAX_BATCH
