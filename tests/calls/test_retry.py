"""Whether a call is made again is one pure decision."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.calls.retry import MAX_RETRY_AFTER_S, RetryDecision, backoff, decide_retry
from orchestrator.errors import ERROR_KINDS, RETRYABLE_KINDS, ErrorKind, TaskError
from orchestrator.workflow.task import Retry


def error(kind: ErrorKind = "tool_error", *, retryable: bool = True, **details: Any) -> TaskError:
    return TaskError(kind, "no", retryable, details)


def retry(**fields: Any) -> Retry:
    return Retry(**{"jitter": 0.0, **fields})


LOST = error("server_unavailable", lost=True)


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_four_kinds_are_retried_and_the_others_never(kind: ErrorKind) -> None:
    decision = decide_retry(error(kind), 1, retry(), None, 0.0)
    assert (decision.wait_s is not None) == (kind in RETRYABLE_KINDS)
    assert kind in decision.reason or decision.wait_s is not None


def test_on_narrows_the_kinds() -> None:
    only = retry(on=["timeout"])
    assert decide_retry(error("timeout"), 1, only, None, 0.0).wait_s == 0.5
    assert decide_retry(error(), 1, only, None, 0.0) == RetryDecision(
        None, '"on" does not include tool_error'
    )


def test_an_error_that_would_come_again_is_not_retried() -> None:
    decision = decide_retry(error(retryable=False), 1, retry(), None, 0.0)
    assert decision == RetryDecision(None, "the same call would fail again")


def test_the_last_attempt_is_the_last() -> None:
    assert decide_retry(error(), 2, retry(max_attempts=3), None, 0.0).wait_s == 1.0
    decision = decide_retry(error(), 3, retry(max_attempts=3), None, 0.0)
    assert decision == RetryDecision(None, "this was attempt 3 of 3")


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [(7, 7.0), (7.5, 7.5), (0.1, 0.5), (MAX_RETRY_AFTER_S, 300.0), (301, None), (True, 0.5)],
)
def test_the_wait_that_a_server_asks_for_is_honoured(asked: Any, wait_s: float | None) -> None:
    decision = decide_retry(error(retry_after_s=asked), 1, retry(), None, 0.0)
    assert decision.wait_s == wait_s


@pytest.mark.parametrize(
    ("safe", "attempts", "again", "word"),
    [
        (True, 1, True, "repeatable"),
        (True, 2, False, "second attempt"),
        (False, 1, False, "declares the opposite"),
        (None, 1, False, "declares neither"),
    ],
)
def test_without_a_policy_a_lost_call_is_repeated_once_if_its_tool_says_it_may(
    safe: bool | None, attempts: int, again: bool, word: str
) -> None:
    decision = decide_retry(LOST, attempts, None, safe, 0.0)
    assert decision.wait_s == (0.0 if again else None)
    assert word in decision.reason


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_without_a_policy_nothing_else_is_repeated(kind: ErrorKind) -> None:
    assert decide_retry(error(kind), 1, None, True, 0.0).wait_s is None


def test_backoff_grows_by_its_factor_up_to_its_cap() -> None:
    policy = retry(initial_s=1, factor=3, max_s=20)
    assert [backoff(policy, n, 0.0) for n in (1, 2, 3, 4, 5)] == [1, 3, 9, 20, 20]


def test_the_defaults_wait_half_a_second_then_twice_as_long_up_to_thirty() -> None:
    waits = [backoff(Retry(), attempts, 0.0) for attempts in range(1, 9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(Retry(), 1, 1.0) == 0.45


def test_a_wait_that_is_too_large_for_a_number_is_the_longest_one() -> None:
    assert backoff(retry(factor=1e300, max_s=20), 1_000_000, 0.0) == 20
    assert backoff(retry(initial_s=0, factor=1e300), 1_000_000, 0.0) == 0


@given(
    st.floats(0, 100), st.floats(1, 10), st.floats(0, 100), st.floats(0, 1), st.floats(0, 1),
    st.integers(1, 50),
)  # fmt: skip
def test_jitter_only_ever_shortens_a_wait(
    initial_s: float, factor: float, max_s: float, jitter: float, random: float, attempts: int
) -> None:
    whole = Retry(initial_s=initial_s, factor=factor, max_s=max_s, jitter=0.0)
    shaken = Retry(initial_s=initial_s, factor=factor, max_s=max_s, jitter=jitter)
    longest = backoff(whole, attempts, random)
    assert longest <= max_s
    assert longest * (1 - jitter) <= backoff(shaken, attempts, random) * (1 + 1e-12)
    assert backoff(shaken, attempts, random) <= longest
