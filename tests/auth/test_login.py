"""Logging in: with a person, without one, and all that can go wrong."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.auth import login as login_module
from orchestrator.auth.browser import NOT_PASTED, Browser, PortInUseError, result_of
from orchestrator.auth.login import in_browser, log_in
from orchestrator.auth.pasted import Pasted
from orchestrator.auth.settings import OAuth, Subject
from orchestrator.transport.authorization import NotAuthorizedError
from tests.auth.world import SECRET, Visitor, World, served, store_in

pytestmark = pytest.mark.anyio
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
"""


async def failure(subject: Subject, tmp_path: Path, visitor: Visitor | None = None) -> str:
    with pytest.raises(NotAuthorizedError) as caught:
        await log_in(subject, visitor or Visitor(), store_in(tmp_path))
    login = store_in(tmp_path).read(subject)
    assert login is None or login.tokens is None
    return str(caught.value)


async def test_a_person_logs_in_and_the_login_is_kept(tmp_path: Path) -> None:
    async with World().open() as world:
        visitor, subject, store = Visitor(), world.subject(), store_in(tmp_path)
        login = await log_in(subject, visitor, store)
        assert login.token in world.tokens
        assert (login.issuer, login.url) == (world.issuer, world.url)
        assert store.read(subject) == login
        [link] = visitor.links
        query = httpx2.URL(link).params
        assert query["code_challenge_method"] == "S256"
        assert query["scope"] == "read"
        assert query["resource"] == world.url
        assert SECRET not in repr(login) + str(login)


async def test_the_next_login_asks_for_the_configured_scopes_too_and_registers_no_more(
    tmp_path: Path,
) -> None:
    async with World().open() as world:
        store = store_in(tmp_path)
        await log_in(world.subject(), Visitor(), store)
        again = Visitor()
        await log_in(world.subject(scopes=["write", "read"]), again, store)
        assert httpx2.URL(again.links[0]).params["scope"] == "read write"
        assert world.asked.count("/register") == 1
        other = Visitor()
        other.redirect_url = "http://127.0.0.1:2/callback"  # which the client is not known with
        await log_in(world.subject(), other, store)
        assert world.asked.count("/register") == 2


async def test_a_client_whose_secret_has_expired_is_registered_again(tmp_path: Path) -> None:
    async with World().open() as world:
        store = store_in(tmp_path)
        login = await log_in(world.subject(), Visitor(), store)
        assert login.client is not None
        old = login.client.model_copy(update={"client_secret_expires_at": 1})
        update = {"client": old, "registered": (old,)}
        store.write(world.subject(), login.model_copy(update=update))
        await log_in(world.subject(), Visitor(), store)
        assert world.asked.count("/register") == 2


async def test_a_registration_outlives_a_login_that_fails(tmp_path: Path) -> None:
    async with World(denies="access_denied").open() as world:
        for _ in range(3):
            await failure(world.subject(), tmp_path)
        assert world.asked.count("/register") == 1
        world.denies = ""
        login = await log_in(world.subject(), Visitor(), store_in(tmp_path))
        assert world.asked.count("/register") == 1
        other, store = Visitor(), store_in(tmp_path)
        other.redirect_url = "http://127.0.0.1:2/callback"
        world.denies = "access_denied"
        with pytest.raises(NotAuthorizedError):
            await log_in(world.subject(), other, store)
        kept = store.read(world.subject())
        assert kept is not None
        assert (kept.tokens, kept.client) == (login.tokens, login.client)  # still logged in
        world.denies = ""
        for visitor in (other, Visitor()):
            await log_in(world.subject(), visitor, store)
        assert world.asked.count("/register") == 2


async def test_a_registration_that_the_issuer_has_forgotten_is_used_once(tmp_path: Path) -> None:
    async with World(denies="unauthorized_client").open() as world:
        await failure(world.subject(), tmp_path)
        world.denies = ""
        await log_in(world.subject(), Visitor(), store_in(tmp_path))
        assert world.asked.count("/register") == 2


async def test_registrations_of_an_issuer_go_to_no_other_and_have_a_bound(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    async with World().open() as world:
        for port in range(1, 7):
            visitor = Visitor()
            visitor.redirect_url = f"http://127.0.0.1:{port}/callback"
            login = await log_in(world.subject(), visitor, store)
        assert len(login.registered) == 4
        elsewhere = World()
        async with elsewhere.open():
            world.named = elsewhere.issuer
            await log_in(world.subject(), visitor, store)
            assert elsewhere.asked.count("/register") == 1


async def test_a_login_that_cannot_be_read_is_moved_by_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        [file] = (tmp_path / "logins").glob("*.json")
        file.write_text("{")
        login = await log_in(world.subject(), Visitor(), store)
        assert store.read(world.subject()) == login
        [aside] = (tmp_path / "logins").glob("*.damaged-*")
        assert aside.read_text() == "{"
        assert f'is damaged. It is kept as "{aside}"' in caplog.text


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_a_registered_client_proves_who_it_is_to_its_issuer_only(
    tmp_path: Path, method: str
) -> None:
    async with World().open() as world:
        mine = {"client_id": "me", "client_secret": SECRET, "client_auth": method}
        await log_in(world.subject(**mine, issuer=world.issuer), Visitor(), store_in(tmp_path))
        assert "/register" not in world.asked
        assert ("authorization" in world.forms[0]) == (method == "basic")
        assert (world.forms[0].get("client_secret") == SECRET) == (method == "post")
        asked = len(world.forms)
        said = await failure(world.subject(**mine, issuer="https://is.example"), tmp_path)
        assert "the server now names the issuer" in said
        assert len(world.forms) == asked  # it was told nothing


async def test_a_client_that_describes_itself_is_not_registered(tmp_path: Path) -> None:
    async with World().open() as world:
        url = "https://example.com/client.json"
        visitor = Visitor()
        await log_in(world.subject(client_metadata_url=url), visitor, store_in(tmp_path))
        assert "/register" not in world.asked
        assert httpx2.URL(visitor.links[0]).params["client_id"] == url


@pytest.mark.parametrize("proof", [{"client_secret": SECRET}, {"private_key": KEY}])
async def test_a_client_logs_in_without_a_person(tmp_path: Path, proof: dict[str, str]) -> None:
    async with World().open() as world:
        how = {"flow": "client_credentials", "client_id": "me", "issuer": world.issuer}
        if "private_key" in proof:
            how["signing_algorithm"] = "ES256"
        login = await log_in(world.subject(**how, **proof), None, store_in(tmp_path))
        assert login.token in world.tokens
        assert ("client_assertion" in world.forms[0]) == ("private_key" in proof)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs a client_id and an issuer"),
        ({"client_id": "me", "issuer": "https://is.example"}, "a client_secret or a private_key"),
    ],
)
async def test_a_client_in_python_that_lacks_something_is_told_so(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    async with World().open() as world:
        subject = world.subject(flow="client_credentials", **settings)
        with pytest.raises(NotAuthorizedError, match=said):
            await log_in(subject, None, store_in(tmp_path))


async def test_a_key_that_cannot_sign_is_an_error_without_the_key(tmp_path: Path) -> None:
    async with World().open() as world:
        how = {"flow": "client_credentials", "client_id": "me", "issuer": world.issuer}
        subject = world.subject(**how, private_key=f"no key {SECRET}")
        with pytest.raises(NotAuthorizedError) as caught:
            await log_in(subject, None, store_in(tmp_path))
        assert SECRET not in str(caught.value)


async def test_a_person_who_refuses_is_not_logged_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(denies="access_denied").open() as world:
        said = await failure(world.subject(), tmp_path)
        assert said == "it was refused (access_denied)"
        assert caplog.messages == []


async def test_another_error_of_the_issuer_is_shown() -> None:
    with pytest.raises(NotAuthorizedError, match=r"the issuer refused it \(odd: no\\u001b"):
        result_of("http://x/?error=odd&error_description=no%1b[31m")
    with pytest.raises(NotAuthorizedError, match="expected a URL with a code"):
        result_of("what is this")


async def test_an_answer_to_another_login_is_refused(tmp_path: Path) -> None:
    class Misled(Visitor):
        async def answer(self) -> AuthorizationCodeResult:
            return AuthorizationCodeResult(code="code-0", state="another")

    async with World().open() as world:
        said = await failure(world.subject(), tmp_path, Misled())
        assert said.startswith("State parameter mismatch")
        assert world.forms == []


@pytest.mark.parametrize("status", [503, 429, 404])
async def test_an_issuer_that_does_not_work_is_named(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(down=status).open() as world:
        said = await failure(world.subject(), tmp_path)
        if status != 404:
            assert f"{world.issuer}/.well-known/oauth-authorization-server" in said
            assert said.endswith(f"answered HTTP {status}")
        assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_server_or_issuer_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with World().open() as world:
        world.named = "http://127.0.0.1:9"
        assert "http://127.0.0.1:9/" in await failure(world.subject(), tmp_path)
    assert f'"{world.url}" cannot be reached' in await failure(world.subject(), tmp_path)


async def test_a_server_over_https_sends_nobody_to_an_issuer_without(tmp_path: Path) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/mcp":
            return httpx2.Response(401)
        named = {
            "resource": "https://it.example/mcp",
            "authorization_servers": ["http://is.example"],
        }
        return httpx2.Response(200, json=named)

    subject = Subject("it", "https://it.example/mcp")
    with pytest.raises(NotAuthorizedError, match="which is not HTTPS"):
        await log_in(
            subject,
            Visitor(),
            store_in(tmp_path),
            lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(handle)),
        )


async def test_an_issuer_that_says_too_much_is_not_listened_to(tmp_path: Path) -> None:
    def handle(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"x" * 1_000_001)

    with pytest.raises(NotAuthorizedError, match="answered with too much"):
        await log_in(
            Subject("it", "https://it.example/mcp"),
            Visitor(),
            store_in(tmp_path),
            lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(handle)),
        )


async def test_nobody_is_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent(Visitor):
        async def answer(self) -> AuthorizationCodeResult:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(login_module, "PERSON_S", 0.2)
    async with World().open() as world:
        said = await failure(world.subject(), tmp_path / "new", Absent())
        assert said.startswith("nobody logged in within")
        assert "logout" not in said  # the client has just been registered
        world.denies = "access_denied"
        with monkeypatch.context() as patient:
            patient.setattr(login_module, "PERSON_S", 60)
            await failure(world.subject(), tmp_path)
        said = await failure(world.subject(), tmp_path, Absent())
        assert said.endswith("If its page did not know the client, run: orchestrator logout it")


async def test_a_login_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "logins").write_text("a file")
    async with World().open() as world:
        with pytest.raises(NotAuthorizedError, match="the login cannot be kept in"):
            await log_in(world.subject(), Visitor(), store_in(tmp_path))


async def test_a_pasted_url_logs_in(tmp_path: Path) -> None:
    visitor, shown = Visitor(), list[str]()

    async def read() -> str:
        await visitor.open(shown[0])
        return f"{visitor.location}\n"

    async with World().open() as world:
        person = Pasted(None, shown.append, read)
        login = await log_in(world.subject(), person, store_in(tmp_path))
        assert login.token in world.tokens


@pytest.mark.parametrize(
    ("line", "said"),
    [("", "no URL was pasted"), ("http://x/?code=1&state=2\n", "belongs to another login")],
)
async def test_a_pasted_line_that_is_no_answer_is_an_error(
    tmp_path: Path, line: str, said: str
) -> None:
    async def read() -> str:
        return line

    async with World().open() as world:
        with pytest.raises(NotAuthorizedError, match=said):
            await log_in(world.subject(), Pasted(None, lambda _: None, read), store_in(tmp_path))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The links that a browser was asked to open."""
    links: list[str] = []

    def open_link(link: str) -> bool:
        links.append(link)
        return True

    monkeypatch.setattr("webbrowser.open", open_link)
    return links


async def test_a_browser_comes_back_to_a_port_of_ours(tmp_path: Path, opened: list[str]) -> None:
    """The first answer to our link counts; nothing else that comes there does."""
    store, shown = store_in(tmp_path), list[str]()

    async def follow(browser: Browser, *, is_first: bool) -> None:
        while len(opened) < (1 if is_first else 2):
            await anyio.sleep(0.01)
        async with httpx2.AsyncClient(follow_redirects=True) as client:
            for wrong in ("", "?code=1&state=2", "x"):
                assert (await client.get(f"{browser.redirect_url}{wrong}")).status_code == 404
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.post(browser.redirect_url)
            page = await client.get(opened[-1])
            assert "go back to the terminal" in page.text

    async with World().open() as world:
        places = []
        for is_first in (True, False):
            async with in_browser(world.subject(), shown.append, store) as browser:
                async with anyio.create_task_group() as group:
                    group.start_soon(partial(follow, browser, is_first=is_first))
                    login = await log_in(world.subject(), browser, store)
                places.append(browser.redirect_url)
            assert login.token in world.tokens
        assert places[0] == places[1]  # which the issuer knows
        assert world.asked.count("/register") == 1
        for link, address in zip(shown, opened, strict=True):
            query = httpx2.URL(link).params
            assert query["state"] not in address
            assert query["code_challenge"] not in address
            assert urlsplit(address).path.startswith("/login/")


async def test_what_the_arguments_of_a_browser_show_leads_to_the_link_once(
    opened: list[str],
) -> None:
    link = "https://is.example/authorize?state=1&code_challenge=2"
    async with (
        Browser.listening(None, lambda _: None) as browser,
        httpx2.AsyncClient() as client,
    ):
        await browser.open(link)
        [address] = opened
        assert (await client.get(f"{address}x")).status_code == 404
        first, second = await client.get(address), await client.get(address)
        assert (first.status_code, first.headers["location"]) == (302, link)
        assert (second.status_code, "location" in second.headers) == (410, False)
        assert "If it was not you" in second.text


async def test_what_another_machine_ends_at_can_be_pasted_while_the_port_is_open(
    tmp_path: Path, opened: list[str]
) -> None:
    visitor, shown = Visitor(), list[str]()
    lines = ["", "http://x/?code=1&state=2", "what?"]

    async def read() -> str:
        while not shown:
            await anyio.sleep(0.01)
        if lines:
            return f"{lines.pop(0)}\n"
        await visitor.open(shown[0])
        return f"{visitor.location}\n"

    async with World().open() as world:
        subject = world.subject()
        async with in_browser(subject, shown.append, store_in(tmp_path), read) as browser:
            login = await log_in(subject, browser, store_in(tmp_path))
        assert login.token in world.tokens
        assert shown[1:] == [NOT_PASTED] * 2
        assert len(opened) == 1


@pytest.mark.usefixtures("opened")
async def test_a_terminal_that_ends_leaves_the_port_open() -> None:
    async def read() -> str:
        return ""

    async with (
        Browser.listening(None, lambda _: None, read) as browser,
        httpx2.AsyncClient() as client,
        anyio.create_task_group() as group,
    ):
        await browser.open("http://x/?state=1")
        group.start_soon(client.get, f"{browser.redirect_url}?code=7&state=1")
        assert (await browser.answer()).code == "7"


async def test_two_logins_at_once_have_ports_of_their_own(
    tmp_path: Path, opened: list[str]
) -> None:
    store = store_in(tmp_path)
    async with World().open() as world:
        visitor = Visitor()
        async with in_browser(world.subject(), opened.append, store) as first:
            visitor.redirect_url = first.redirect_url
            await log_in(world.subject(), visitor, store)
            async with in_browser(world.subject(), opened.append, store) as second:
                assert first.redirect_url != second.redirect_url


async def test_a_port_that_is_not_free_is_an_error() -> None:
    async with served(lambda _: None) as taken:
        subject = Subject("it", "http://x/mcp", OAuth(redirect_url=f"{taken}/back"))
        with pytest.raises(PortInUseError, match="the browser cannot come back to"):
            async with in_browser(subject, lambda _: None):
                pass


async def test_an_error_in_the_block_ends_the_listening_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with Browser.listening(None, lambda _: None):
            raise KeyError


async def test_a_system_without_a_browser_only_shows_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(link: str) -> bool:
        raise OSError(link)

    monkeypatch.setattr("webbrowser.open", fail)
    shown: list[str] = []
    async with Browser.listening(None, shown.append) as browser:
        await browser.open("http://x/?state=1")
    assert shown == ["http://x/?state=1"]
