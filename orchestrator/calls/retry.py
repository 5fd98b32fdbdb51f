"""Whether a call that failed is made again, and when.

The rule of this file: decisions only, as pure functions; who makes the call waits and repeats.

Exponential backoff with part of each wait random, as in "Exponential Backoff And Jitter" (Brooker,
AWS Architecture Blog, 2015); with `jitter = 1` it is "full jitter". Libraries that do this, such as
tenacity and stamina, own the loop, the sleep and the log, while a retry here has to leave its slot,
keep its locks, obey what a server asks for, and tell what it decided. What is left is one line of
arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.errors import RETRYABLE_KINDS, TaskError
from orchestrator.workflow.policies import Retry

# The longest wait that a server may ask for; with more the task fails, and its error says so.
MAX_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows a failed attempt.

    Attributes:
        wait_s: How long to wait before the next one, seconds; None if there is none.
        reason: Why, for people.
    """

    wait_s: float | None
    reason: str


def decide_retry(
    error: TaskError, attempts: int, retry: Retry | None, safe: bool | None, random: float
) -> Decision:
    """Whether a call is made again.

    Args:
        error: Why the last attempt failed.
        attempts: How many were made.
        retry: What the task says.
        safe: Whether the tool declares that repeating it does no harm; None if it says nothing.
        random: A number from 0 to 1.
    """
    if retry is None:
        return _lost(error, attempts, safe)
    if error.kind not in RETRYABLE_KINDS:
        return Decision(None, f"an error of kind {error.kind} is never retried")
    if retry.on is not None and error.kind not in retry.on:
        return Decision(None, f"'on' does not name {error.kind}")
    if not error.retryable:
        return Decision(None, "the same call would fail again")
    if attempts >= retry.max_attempts:
        return Decision(None, f"it was attempt {attempts} of {retry.max_attempts}")
    return _again(error, attempts, retry, random)


def is_lost(error: TaskError) -> bool:
    """Whether a call went down with its connection, so that nobody knows if it was carried out."""
    return error.kind == "server_unavailable" and error.details.get("lost") is True


def _lost(error: TaskError, attempts: int, safe: bool | None) -> Decision:
    """Without a policy: a call that was lost is repeated once, if that can do no harm."""
    if not is_lost(error):
        return Decision(None, "no retry is asked for")
    if attempts > 1:
        return Decision(None, "the call was lost with its connection for the second time")
    if safe:
        return Decision(0.0, "the call was lost with its connection, and its tool is repeatable")
    said = "says nothing" if safe is None else "declares the opposite"
    return Decision(
        None,
        "the call was lost with its connection, and may have been carried out; it is not repeated, "
        f"since its tool has to declare itself read-only or idempotent and {said}",
    )


def _again(error: TaskError, attempts: int, retry: Retry, random: float) -> Decision:
    backoff_s = backoff(retry, attempts, random)
    next_one = f"attempt {attempts + 1} of {retry.max_attempts}"
    asked_s = error.details.get("retry_after_s")
    if not isinstance(asked_s, int | float) or isinstance(asked_s, bool) or not asked_s > backoff_s:
        return Decision(backoff_s, f"{next_one} after the backoff")
    if asked_s > MAX_RETRY_AFTER_S:
        reason = f"the server asks to wait {asked_s:g} s, more than {MAX_RETRY_AFTER_S:g} s"
        return Decision(None, reason)
    return Decision(float(asked_s), f"{next_one} when the server asked to be called again")


def backoff(retry: Retry, attempts: int, random: float) -> float:
    """The wait after so many attempts, seconds: exponential, capped, part of it random."""
    try:
        longest = min(retry.initial_s * math.pow(retry.factor, attempts - 1), retry.max_s)
    except OverflowError:
        longest = retry.max_s if retry.initial_s else 0.0
    return longest * (1 - retry.jitter * random)
