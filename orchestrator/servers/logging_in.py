"""Asks a person to log in where a call needs it. It imports no SDK, as the pool does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.calls.call import Attempt
from orchestrator.errors import CallError

# Details of an error: that a person has to log in, and why.
LOGIN, REASON = "login_required", "login_reason"
# That a person confirms for one call.
MAX_LOGINS = 2
_T = TypeVar("_T")


async def logged_in(
    do: Callable[[Attempt], Awaitable[_T]],
    attempt: Attempt,
    before_again: Callable[[], Awaitable[object]] | None = None,
) -> _T:
    """What is given by what is done for a call; where a person has to log in for it, they are asked
    to, and it is done again: what was not authorized was not executed.

    Args:
        do: What is done.
        attempt: The state of the call.
        before_again: Is done before each time but the first.

    Raises:
        CallError: As it is raised there, or nobody logs in.
    """
    for _ in range(MAX_LOGINS):
        try:
            return await do(attempt)
        except CallError as error:
            if attempt.elicit is None or not error.error.details.get(LOGIN):
                raise
            # The same for all calls that wait for it, so that it is asked once.
            why, hint = error.error.details.get(REASON), error.error.details.get("hint")
            _, refused = await attempt.elicit(f"{why}. {hint}, and confirm when it is done.", None)
            if refused:
                raise
        if before_again is not None:
            await before_again()
    return await do(attempt)
