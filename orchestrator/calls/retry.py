"""Decides whether a call that failed is made again, and after how long.

Exponential backoff with part of each wait random, as in "Exponential Backoff And Jitter" (Brooker,
AWS Architecture Blog, 2015); `jitter = 1` is "full jitter". Libraries such as tenacity and stamina
own the loop, the sleep and the log. A retry here has to release its slot, keep its locks, follow
what a server asks for and report what it decided, which leaves one line of arithmetic for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.errors import RETRYABLE_KINDS, TaskError
from orchestrator.workflow.task import Retry

# The longest wait that a server may ask for; the task fails if it asks for more.
MAX_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What follows a failed attempt: a wait before the next one, or None, and why."""

    wait_s: float | None
    reason: str


def decide_retry(
    error: TaskError, attempts: int, retry: Retry | None, safe: bool | None, random: float
) -> RetryDecision:
    """Decide whether to retry a call after `attempts` failures; `error` is the latest.

    `safe` is that of `Call`, and `random` a number from 0 to 1 for the jitter.
    """
    if retry is None:
        return _lost(error, attempts, safe)
    if error.kind not in RETRYABLE_KINDS:
        return RetryDecision(None, f"an error of kind {error.kind} is never retried")
    if retry.on is not None and error.kind not in retry.on:
        return RetryDecision(None, f'"on" does not include {error.kind}')
    if not error.retryable:
        return RetryDecision(None, "the same call would fail again")
    if attempts >= retry.max_attempts:
        return RetryDecision(None, f"this was attempt {attempts} of {retry.max_attempts}")
    return _again(error, attempts, retry, random)


def is_lost(error: TaskError) -> bool:
    """Whether the connection broke during the call, so that its outcome is unknown."""
    return error.kind == "server_unavailable" and error.details.get("lost") is True


def _lost(error: TaskError, attempts: int, safe: bool | None) -> RetryDecision:
    """The decision without a policy: a lost call is repeated once, if that does no harm."""
    if not is_lost(error):
        return RetryDecision(None, "the task has no retry")
    if attempts > 1:
        return RetryDecision(None, "the connection broke during the second attempt, too")
    if safe:
        return RetryDecision(
            0.0, "the connection broke during the call, and its tool is repeatable"
        )
    declared = "declares neither" if safe is None else "declares the opposite"
    return RetryDecision(
        None,
        "the connection broke during the call, so its outcome is unknown; it is not repeated: only "
        f"read-only or idempotent tools are, and this one {declared}",
    )


def _again(error: TaskError, attempts: int, retry: Retry, random: float) -> RetryDecision:
    backoff_s = backoff(retry, attempts, random)
    next_attempt = f"attempt {attempts + 1} of {retry.max_attempts}"
    asked_s = error.details.get("retry_after_s")
    # Details may come from a server, so their type proves nothing; NaN fails the comparison.
    if not isinstance(asked_s, int | float) or isinstance(asked_s, bool) or not asked_s > backoff_s:
        return RetryDecision(backoff_s, f"{next_attempt} follows after the backoff")
    if asked_s > MAX_RETRY_AFTER_S:
        limit = f"{MAX_RETRY_AFTER_S:g} s"
        return RetryDecision(
            None, f"the server asks for a wait of {asked_s:g} s, more than {limit}"
        )
    return RetryDecision(
        float(asked_s), f"{next_attempt} follows after the wait the server asks for"
    )


def backoff(retry: Retry, attempts: int, random: float) -> float:
    """The wait after this many attempts, seconds: exponential, capped, part of it random."""
    try:
        longest = min(retry.initial_s * math.pow(retry.factor, attempts - 1), retry.max_s)
    # factor ** attempts leaves the range of floats long before max_attempts is reached.
    except OverflowError:
        longest = retry.max_s if retry.initial_s else 0.0
    return longest * (1 - retry.jitter * random)
