"""A person logs in with a browser on another machine, and pastes the URL that it ends at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.auth.browser import result_of, state_of
from orchestrator.transport.authorization import NotAuthorizedError

# Nobody listens there: the browser shows the URL in its error, and that is what is pasted.
REDIRECT_URL = "http://127.0.0.1:33418/callback"


class Pasted:
    """Shows a link, and reads a line.

    Args:
        redirect_url: Where the browser is sent to; None: to this machine, where nobody listens.
        show: Receives the link.
        read: The next line; empty at the end of the input.
    """

    def __init__(
        self,
        redirect_url: str | None,
        show: Callable[[str], None],
        read: Callable[[], Awaitable[str]],
    ) -> None:
        self.redirect_url = redirect_url or REDIRECT_URL
        self._show, self._read = show, read
        self._state = ""

    async def open(self, link: str) -> None:
        """Have a person follow a link."""
        self._state = state_of(link)
        self._show(link)

    async def answer(self) -> AuthorizationCodeResult:
        """What was pasted.

        Raises:
            NotAuthorizedError: Nothing, or no such URL, or one of another login.
        """
        line = (await self._read()).strip()
        if not line:
            raise NotAuthorizedError("no URL was pasted")
        result = result_of(line)
        if result.state != self._state:
            raise NotAuthorizedError("the URL belongs to another login: try again")
        return result
