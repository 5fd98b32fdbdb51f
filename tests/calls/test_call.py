"""A call is a frozen value that goes through JSON and back."""

from __future__ import annotations

import json
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.calls.call import Attempt, Call
from orchestrator.errors import CallError, ErrorKind
from orchestrator.schema.coercion import Conversion
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.task import Retry

NUMBERS = st.floats(0, 1e6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RETRIES = st.builds(
    Retry,
    max_attempts=st.integers(1, 9),
    initial_s=NUMBERS,
    factor=st.floats(1, 9),
    max_s=NUMBERS,
    jitter=st.floats(0, 1),
    on=st.none() | st.lists(st.sampled_from(get_args(ErrorKind)), min_size=1),
)
CALLS = st.builds(
    Call,
    task=st.text(),
    server=st.text(),
    tool=st.text(),
    arguments=st.dictionaries(st.text(), JSON, max_size=3),
    timeout_s=NUMBERS,
    priority=st.lists(NUMBERS | st.integers(), max_size=3).map(tuple),
    writes=st.booleans(),
    conversions=st.lists(st.builds(Conversion), max_size=2).map(tuple),
    item=st.none() | st.integers(0, 9),
    locks=st.lists(st.builds(Hold), max_size=3).map(tuple),
    retry=st.none() | RETRIES,
    safe=st.none() | st.booleans(),
    timeout_resets_on_progress=st.booleans(),
    is_fallback=st.booleans(),
    run=st.text(),
    deadline_s=st.none() | NUMBERS,
    turn=st.integers(0, 9),
)


@given(CALLS)
def test_a_call_goes_through_json_and_back_unchanged(call: Call) -> None:
    assert Call.from_dict(json.loads(json.dumps(call.to_dict()))) == call


def test_a_call_cannot_be_changed() -> None:
    call: Any = Call("a", "s", "t", {})
    with pytest.raises(AttributeError):
        call.arguments = {"other": 1}


def test_each_call_of_a_run_has_an_idempotency_key_of_its_own() -> None:
    call = Call("a", "s", "t", {}, run="r")
    calls = [
        call,
        call._replace(item=0),
        call._replace(item=1),
        call._replace(is_fallback=True),
        call._replace(task="b"),
        call._replace(turn=1),
        call._replace(task="a/1"),
        call._replace(task="a/fallback"),
        call._replace(run="r2"),
    ]
    assert len({each.idempotency_key for each in calls}) == len(calls)
    same = call._replace(arguments={"x": 1}, retry=Retry(), safe=True)
    assert same.idempotency_key == call.idempotency_key
    assert UUID(call.idempotency_key).version == 5  # and nothing of the run can be read in it


def test_a_cancelled_attempt_says_which_call_it_was() -> None:
    attempt = Attempt()
    attempt.check_cancelled(Call("a", "s", "t", {}))
    attempt.cancel()
    with pytest.raises(CallError, match="the call of s:t was cancelled"):
        attempt.check_cancelled(Call("a", "s", "t", {}))
