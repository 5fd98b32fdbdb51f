"""Tokens in use: renewed once, lost never, shown nowhere."""

from __future__ import annotations

import json
import logging
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from orchestrator import CallError, Orchestrator, Question, RefusedError, Server
from orchestrator.auth.authorizer import Authorizer
from orchestrator.auth.login import log_in
from orchestrator.auth.record import Login
from orchestrator.auth.settings import OAuth
from orchestrator.auth.store import LoginStore
from orchestrator.transport.authorization import NotAuthorizedError
from tests.auth.world import SECRET, Visitor, World, served, store_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoginStore:
    """The store that servers use, too."""
    made = store_in(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_LOGINS", str(tmp_path / "logins"))
    return made


def server(world: World, **settings: Any) -> Server:
    return Server(name="it", url=world.url, protocol="legacy", **settings)


@asynccontextmanager
async def ready(world: World, store: LoginStore, **settings: Any) -> AsyncIterator[Orchestrator]:
    """An orchestrator for a server that somebody has logged in to."""
    async with world.open():
        await log_in(world.subject(), Visitor(), store)
        async with Orchestrator({"it": server(world, **settings)}) as orchestrator:
            yield orchestrator


def age(world: World, store: LoginStore, *, by_s: float = 7200) -> None:
    """Let time pass for a login; the server knows its token no more."""
    login = store.read(world.subject())
    assert login is not None
    assert login.expires_at is not None
    older = login.model_copy(update={"expires_at": login.expires_at - by_s})
    store.write(world.subject(), older)
    world.revoke()


PLAN = {"tasks": [{"id": f"t{number}", "tool": "it:echo"} for number in range(20)]}


async def test_twenty_calls_whose_token_is_refused_share_one_refresh(store: LoginStore) -> None:
    world = World()
    async with ready(world, store) as orchestrator:
        assert (await orchestrator.run(PLAN)).status == "success"
        world.revoke()
        result = await orchestrator.run(PLAN)
        assert result.status == "success"
        assert all(task.attempts == 1 for task in result.tasks.values())
        assert world.count_of("refresh_token") == 1


async def test_a_token_is_renewed_before_it_expires(store: LoginStore) -> None:
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        async with Orchestrator({"it": server(world)}) as orchestrator:
            assert (await orchestrator.run(PLAN)).status == "success"
        assert world.count_of("refresh_token") == 1
        sent = [each.headers.get("authorization", "") for each in world.came]
        assert not [header for header in sent if header.endswith("-1")]


async def test_processes_share_one_refresh(store: LoginStore) -> None:
    """Each has an authorizer of its own, and all use the refresh token that is good once."""
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        authorizers = [Authorizer(world.subject(), store) for _ in range(5)]
        tokens: list[str | None] = []

        async def ask(authorizer: Authorizer) -> None:
            tokens.append(await authorizer.token())

        async with anyio.create_task_group() as group:
            for authorizer in authorizers:
                group.start_soon(ask, authorizer)
        assert world.count_of("refresh_token") == 1
        assert len(set(tokens)) == 1
        assert tokens[0] in world.tokens


async def test_a_login_in_another_process_is_used_at_once(store: LoginStore) -> None:
    async with World().open() as world, Orchestrator({"it": server(world)}) as orchestrator:
        with pytest.raises(CallError, match="orchestrator login it"):
            await orchestrator.call("it:echo")
        await log_in(world.subject(), Visitor(), store)
        assert await orchestrator.call("it:echo") == {"value": {}}
        world.revoke()
        world.refreshes.clear()
        await log_in(world.subject(), Visitor(), store)
        assert await orchestrator.call("it:echo") == {"value": {}}
        assert world.count_of("refresh_token") == 0


async def test_a_logout_in_another_process_counts_at_once(store: LoginStore) -> None:
    world = World()
    async with ready(world, store) as orchestrator:
        assert await orchestrator.call("it:echo") == {"value": {}}
        assert store.remove(world.subject())
        with pytest.raises(CallError, match="it wants a login"):
            await orchestrator.call("it:echo")
        assert not store.remove(world.subject())  # what is kept now is only what is wanted


async def test_who_is_not_logged_in_is_told_how(store: LoginStore) -> None:
    async with World().open() as world, Orchestrator({"it": server(world)}) as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", "tool": "it:echo"}]})
        error = result.tasks["a"].error
        assert error is not None
        assert (error.kind, error.retryable) == ("server_unavailable", False)
        assert error.details["login_required"] is True
        assert error.details["body"] == '{"error": "not good enough: "}'
        assert error.details["hint"] == "Run: orchestrator login it"
        assert "did not start: it answered HTTP 401 Said: it wants a login" in error.message
    kept = store.read(world.subject())
    assert kept is not None
    assert kept.wanted == "read"  # for whoever logs in


async def test_a_run_leaves_a_login_as_it_is_that_cannot_be_used(
    store: LoginStore, tmp_path: Path
) -> None:
    world = World()
    async with ready(world, store) as orchestrator:
        [file] = (tmp_path / "logins").glob("*.json")
        file.write_text("{")
        store._files.note_change(world.subject().key)
        for _ in range(2):
            with pytest.raises(CallError) as caught:
                await orchestrator.call("it:echo")
            assert f'its login cannot be used: "{file}" is damaged' in str(caught.value)
            assert str(caught.value).endswith("Run: orchestrator login it")
        assert file.read_text() == "{"
        assert not list((tmp_path / "logins").glob("*.damaged-*"))


async def test_a_server_of_http_sse_asks_for_a_login_too(store: LoginStore) -> None:
    async with World().open() as world:
        old = Server(name="it", url=world.url, transport="sse")
        async with Orchestrator({"it": old}) as orchestrator:
            with pytest.raises(CallError, match="Run: orchestrator login it"):
                await orchestrator.call("it:echo")
        await log_in(world.subject(), Visitor(), store)
        async with Orchestrator({"it": old}) as orchestrator:
            with pytest.raises(CallError, match="405"):  # it speaks something else
                await orchestrator.call("it:echo")


async def test_a_call_that_gives_up_does_not_lose_the_login(store: LoginStore) -> None:
    """What was sent to renew a token is waited for: the next call has it."""
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        authorizer, asked = Authorizer(world.subject(), store), anyio.Event()

        async def before() -> None:
            asked.set()
            await anyio.sleep(0.05)

        world.before_token = before
        async with anyio.create_task_group() as group:
            group.start_soon(authorizer.token)
            await asked.wait()
            group.cancel_scope.cancel()
        kept = store.read(world.subject())
        assert kept is not None
        assert kept.token in world.tokens


async def test_an_issuer_that_is_down_ends_no_login(store: LoginStore) -> None:
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        authorizer = Authorizer(world.subject(), store)
        for status in (503, 429, 404):
            world.down = status
            with pytest.raises(NotAuthorizedError) as caught:
                await authorizer.token()
            assert (caught.value.needs_login, caught.value.retryable) == (False, True)
        world.down = 0
        assert await authorizer.token() in world.tokens


async def test_an_ended_login_is_asked_about_once(store: LoginStore) -> None:
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        world.refreshes.clear()
        authorizer = Authorizer(world.subject(), store)
        for _ in range(3):
            with pytest.raises(NotAuthorizedError, match="and cannot be renewed") as caught:
                await authorizer.renewed(await authorizer.token(), httpx2.Response(401))
            assert caught.value.needs_login
        assert world.count_of("refresh_token") == 1
        kept = store.read(world.subject())
        assert kept is not None
        assert (kept.token, kept.client is not None) == (None, True)


async def test_a_client_that_the_issuer_has_forgotten_is_registered_again(
    store: LoginStore,
) -> None:
    async with World(unknown="invalid_client").open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        with pytest.raises(NotAuthorizedError, match="cannot be renewed"):
            await Authorizer(world.subject(), store).token()
        kept = store.read(world.subject())
        assert kept is not None
        assert (kept.token, kept.client) == (None, None)
        await log_in(world.subject(), Visitor(), store)
        assert world.asked.count("/register") == 2


async def test_secrets_for_an_issuer_go_nowhere_else(store: LoginStore) -> None:
    """A redirect of the issuer to another origin is not followed, and ends no login."""
    came: list[Any] = []

    async def note(request: Any) -> tuple[int, None, dict[str, str]]:
        came.append(request)
        return 200, None, {}

    async with served(note) as other, World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        authorizer = Authorizer(world.subject(), store)
        world.away = f"{other}/token"
        with pytest.raises(NotAuthorizedError, match="answered HTTP 307") as caught:
            await authorizer.token()
        assert caught.value.retryable
        with pytest.raises(NotAuthorizedError, match="not followed"):
            await log_in(world.subject(), Visitor(), store)
        assert came == []
        world.away = f"{world.issuer}/elsewhere"
        with pytest.raises(NotAuthorizedError, match="answered HTTP 404"):
            await authorizer.token()
        assert world.asked[-1] == "/elsewhere"  # of its own origin
        world.away = ""
        assert await authorizer.token() in world.tokens


@pytest.mark.parametrize(
    ("says", "said", "needs_login"),
    [
        ((400, {"error": "invalid_request"}), 'answered HTTP 400 "invalid_request" when its', True),
        ((401, "<p>Log in to the proxy"), "answered HTTP 401 when its login was", True),
        ((400, {"error": 7}), "answered HTTP 400 when its login was", True),
        ((200, "<p>Accept our terms"), "answered HTTP 200 when its login was", False),
        ((200, ["access_token"]), "answered HTTP 200 when its login was", False),
    ],
)
async def test_only_an_issuer_that_says_so_ends_a_login(
    store: LoginStore, says: tuple[int, Any], said: str, needs_login: bool
) -> None:
    async with World(says=says).open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        authorizer = Authorizer(world.subject(), store)
        with pytest.raises(NotAuthorizedError, match=said) as caught:
            await authorizer.token()
        assert (caught.value.needs_login, caught.value.retryable) == (needs_login, not needs_login)
        world.says = None
        assert await authorizer.token() in world.tokens


@pytest.mark.parametrize(
    "says", [(200, {"error": "bad_refresh_token"}), (400, {"error": "invalid_grant"})]
)
async def test_an_issuer_that_says_so_ends_a_login(
    store: LoginStore, says: tuple[int, Any]
) -> None:
    async with World(says=says).open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        with pytest.raises(NotAuthorizedError, match="and cannot be renewed"):
            await Authorizer(world.subject(), store).token()
        kept = store.read(world.subject())
        assert kept is not None
        assert kept.tokens is None


async def test_a_refusal_that_does_not_name_the_token_ends_no_login(store: LoginStore) -> None:
    """Without a refresh token it would be lost for nothing, as when a gateway is ill."""
    world = World(gives_refresh=False, wants_more={"write": "write"})
    async with ready(world, store) as orchestrator:
        assert await orchestrator.call("it:echo") == {"value": {}}
        good = dict(world.tokens)
        world.revoke()
        for _ in range(2):
            with pytest.raises(CallError, match="it refuses its login, which is kept") as caught:
                await orchestrator.call("it:echo")
            assert caught.value.error.details["hint"] == "Run: orchestrator login it"
        world.tokens |= good
        assert await orchestrator.call("it:echo") == {"value": {}}
        world.revoke()
        world.blames = "invalid_token"
        with pytest.raises(CallError, match="its login has ended"):
            await orchestrator.call("it:echo")
        kept = store.read(world.subject())
        assert kept is not None
        assert kept.tokens is None


async def test_a_token_that_nobody_renews_is_used_until_it_expires(store: LoginStore) -> None:
    async with World(gives_refresh=False).open() as world:
        login = await log_in(world.subject(), Visitor(), store)
        store.write(world.subject(), login.model_copy(update={"expires_at": time.time() + 15}))
        assert await Authorizer(world.subject(), store).token() == login.token


async def test_a_login_without_a_refresh_token_ends(store: LoginStore) -> None:
    async with World(gives_refresh=False).open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        with pytest.raises(NotAuthorizedError, match=r"^its login has ended$"):
            await Authorizer(world.subject(), store).token()


async def test_a_client_without_a_person_logs_in_by_itself_and_again(
    store: LoginStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(gives_refresh=False, wants_more={"write": "write"}).open() as world:
        how: dict[str, Any] = {"client_id": "me", "client_secret": SECRET}
        oauth = OAuth(flow="client_credentials", issuer=world.issuer, **how)
        async with Orchestrator({"it": server(world, oauth=oauth)}) as orchestrator:
            assert (await orchestrator.run(PLAN)).status == "success"
            assert world.count_of("client_credentials") == 1
            assert await orchestrator.call("it:write") == {"value": {}}  # with more scopes
            assert world.count_of("client_credentials") == 2
            world.revoke()
            assert (await orchestrator.run(PLAN)).status == "success"
            assert world.count_of("client_credentials") == 3
        subject = server(world, oauth=oauth).subject
        login = store.read(subject)
        assert login is not None
        store.write(subject, login.model_copy(update={"expires_at": time.time()}))
        assert await Authorizer(subject, store).token() in world.tokens
        assert world.count_of("client_credentials") == 4
        [file] = (tmp_path / "logins").glob("*.json")
        file.write_text("{")
        assert await Authorizer(subject, store).renewed(None, httpx2.Response(401)) in world.tokens
        assert store.read(subject) is not None
        [aside] = (tmp_path / "logins").glob("*.damaged-*")
        assert aside.read_text() == "{"
        file.write_text("{")

        def fail(_: object) -> None:
            raise OSError("it is read-only")

        monkeypatch.setattr(store, "set_aside", fail)
        authorizer = Authorizer(subject, store)
        assert await authorizer.renewed(None, httpx2.Response(401)) in world.tokens
        assert file.read_text() == "{"


async def test_where_nothing_can_be_written_tokens_are_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logins").write_text("no directory")
    store = store_in(tmp_path)
    async with World().open() as world:
        how: dict[str, Any] = {"client_id": "me", "client_secret": SECRET}
        oauth = OAuth(flow="client_credentials", issuer=world.issuer, **how)
        authorizer = Authorizer(world.subject(**oauth.model_dump()), store)
        token = await authorizer.renewed(None, httpx2.Response(401))
        assert token in world.tokens
        assert await authorizer.token() == token
        with pytest.raises(NotAuthorizedError, match="it wants a login"):
            await Authorizer(world.subject(), store).renewed(None, httpx2.Response(401))
        assert "logins cannot be kept in" in caplog.text
        assert not store.remove(world.subject())


async def test_a_task_asks_for_a_login_and_goes_on(store: LoginStore) -> None:
    world, asked = World(wants_more={"write": "write"}), list[str]()

    async def answer(question: Question) -> bool:
        asked.append(question.message)
        await log_in(world.subject(), Visitor(), store)
        return True

    each = {"id": "c", "tool": "it:write", "for_each": [1, 2, 3]}
    plan = {"tasks": [{"id": "a", "tool": "it:write"}, {"id": "b", "tool": "it:echo"}, each]}
    async with ready(world, store, oauth=OAuth()) as orchestrator:
        result = await orchestrator.run(plan, answer=answer)
        assert result.status == "success"
        assert result.tasks["a"].attempts == 1
        [message] = asked  # one for all that wait for it
        assert "it wants more rights than its login has" in message
        assert message.endswith("Run: orchestrator login it, and confirm when it is done.")
        assert set(world.tokens.values()) == {"read", "read write"}


async def test_a_server_that_does_not_start_without_a_login_starts_after_it(
    store: LoginStore,
) -> None:
    asked = list[str]()
    async with World().open() as world:

        async def answer(question: Question) -> bool:
            asked.append(question.message)
            await log_in(world.subject(), Visitor(), store)
            return True

        async with Orchestrator({"it": server(world, oauth=OAuth())}) as orchestrator:
            result = await orchestrator.run(PLAN, answer=answer)
            assert result.status == "success"
            assert all(task.attempts == 1 for task in result.tasks.values())
            fix = "Run: orchestrator login it, and confirm when it is done."
            assert asked == [f"it asks: it wants a login. {fix}"]

        await Authorizer(world.subject(), store).keep(Login(url=world.url))
        async with Orchestrator({"it": server(world, oauth=OAuth())}) as orchestrator:
            result = await orchestrator.run(PLAN)  # nobody is there
            assert result.status == "paused"
            assert len(result.questions) == 1

        async with Orchestrator({"it": server(world, oauth=OAuth())}) as orchestrator:
            result = await orchestrator.run(PLAN, answer=lambda _: True)  # and nobody logs in
            assert result.status == "failed"


async def test_a_login_that_is_never_enough_is_asked_for_once(store: LoginStore) -> None:
    world, asked = World(wants_more={"write": "write"}), list[str]()

    async def answer(question: Question) -> bool:
        asked.append(question.message)
        return True

    async with ready(world, store, elicitation="ask") as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", "tool": "it:write"}]}, answer=answer)
        assert result.status == "failed"
        assert len(asked) == 1


async def test_a_refused_login_fails_its_task_only(store: LoginStore) -> None:
    async def answer(_: Question) -> bool:
        raise RefusedError

    world = World(wants_more={"write": "write"})
    plan = {"tasks": [{"id": "a", "tool": "it:write"}, {"id": "b", "tool": "it:echo"}]}
    async with ready(world, store, oauth=OAuth()) as orchestrator:
        result = await orchestrator.run(plan, answer=answer)
        assert (result.tasks["a"].status, result.tasks["b"].status) == ("error", "success")
        error = result.tasks["a"].error
        assert error is not None
        assert error.details["login_required"] is True


async def test_a_run_without_anybody_to_ask_is_paused(store: LoginStore) -> None:
    world = World(wants_more={"write": "write"})
    async with ready(world, store, oauth=OAuth()) as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", "tool": "it:write"}]})
        assert result.status == "paused"
        [question] = result.questions
        assert "orchestrator login it" in question.message


async def test_no_token_is_anywhere_but_in_its_file(
    store: LoginStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server gives tokens back: in results, and in what it says when it refuses one."""
    caplog.set_level(logging.DEBUG)
    events: list[Any] = []
    journal, recording = tmp_path / "runs.db", tmp_path / "recording.json"
    world = World(wants_more={"write": "write"})
    tasks = [{"id": name, "tool": f"it:{name}"} for name in ("echo", "leak", "write")]
    async with world.open():
        await log_in(world.subject(), Visitor(), store)
        places: list[dict[str, Any]] = [{"journal": journal}, {"record": recording}]
        for where in places:
            async with Orchestrator(
                {"it": server(world)}, observers=[events.append], **where
            ) as orchestrator:
                world.revoke()
                result = await orchestrator.run({"tasks": tasks})
                assert result.tasks["leak"].output == {"value": "***"}
                assert result.status == "partial"
                texts = [json.dumps(result.to_dict()), repr(orchestrator), repr(result)]
                texts += map(repr, events)
                texts += [repr(each) for each in orchestrator._pool._supervisors.values()]
                assert not [text for text in texts if SECRET in text]
    assert SECRET not in caplog.text
    login = store.read(world.subject())
    assert SECRET not in repr(login) + repr(Authorizer(world.subject(), store))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    found = [path for path in files if SECRET.encode() in path.read_bytes()]
    assert [path.parent for path in found] == [tmp_path / "logins"]
    assert stat.S_IMODE(found[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(found[0].parent.stat().st_mode) == 0o700


async def test_another_origin_gets_no_token(store: LoginStore) -> None:
    came: list[Any] = []

    async def note(request: Any) -> tuple[int, None, dict[str, str]]:
        came.append(request)
        return 200, None, {}

    world = World()
    async with served(note) as other, ready(world, store) as orchestrator:
        world.elsewhere = f"{other}/mcp"
        with pytest.raises(CallError, match="edirect"):
            await orchestrator.call("it:moved")
    assert came == []


async def test_a_login_is_for_one_url_one_name_and_one_issuer(store: LoginStore) -> None:
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        subject = world.subject()
        assert store.read(subject) is not None
        others = [
            world.subject(issuer="https://is.example"),
            type(subject)("other", subject.url),
            type(subject)("it", f"{subject.url}/"),
        ]
        assert [store.read(other) for other in others] == [None] * 3
        # Even if it were kept under their names.
        login = store.read(subject)
        assert login is not None
        store.write(others[0], login)
        store.write(others[2], login)
        assert [store.read(other) for other in others] == [None] * 3


async def test_nobody_needs_a_login_for_a_server_with_a_header(store: LoginStore) -> None:
    async with World().open() as world:
        world.tokens["mine"] = "read"
        mine = server(world, headers={"authorization": "Bearer mine"})
        async with Orchestrator({"it": mine}) as orchestrator:
            assert await orchestrator.call("it:echo") == {"value": {}}
        wrong = server(world, headers={"Authorization": "Bearer wrong"})
        async with Orchestrator({"it": wrong}) as orchestrator:
            with pytest.raises(CallError, match="HTTP 401"):
                await orchestrator.call("it:echo")
    assert store.read(world.subject()) is None


async def test_a_renewal_has_an_end(store: LoginStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.auth.authorizer.RENEWAL_S", 0.2)
    async with World().open() as world:
        await log_in(world.subject(), Visitor(), store)
        age(world, store)
        world.before_token = anyio.sleep_forever
        with pytest.raises(NotAuthorizedError, match="was not renewed within") as caught:
            await Authorizer(world.subject(), store).token()
        assert caught.value.retryable


async def test_another_process_is_not_waited_for_for_ever(
    store: LoginStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.auth.store.LOCKED_S", 0.2)
    subject = World(url="http://x/mcp").subject()
    async with store.locked(subject):
        with pytest.raises(NotAuthorizedError, match="another process has been logging in"):
            async with store.locked(subject):
                pass


async def test_the_memo_has_no_answers_of_another_login(store: LoginStore, tmp_path: Path) -> None:
    world = World()
    flow = {"tasks": [{"id": "a", "tool": "it:echo", "cache": {"ttl_s": 60, "open_world": True}}]}

    async def is_cached() -> bool:
        async with Orchestrator({"it": server(world)}, journal=tmp_path / "runs.db") as opened:
            result = await opened.run(flow)
            assert result.status == "success"
            return result.tasks["a"].cached

    async with world.open():
        await log_in(world.subject(), Visitor(), store)
        assert [await is_cached(), await is_cached()] == [False, True]
        age(world, store)
        assert await is_cached()  # a renewal is the same login
        await log_in(world.subject(), Visitor(), store)
        assert [await is_cached(), await is_cached()] == [False, True]


async def test_an_account_is_that_of_the_login_that_is_kept(
    store: LoginStore, tmp_path: Path
) -> None:
    async with World().open() as world:
        subject = world.subject()
        assert await store.account(subject) == ""
        login = await log_in(subject, Visitor(), store)
        assert await store.account(subject) == login.account != ""
        store.write(subject, login.over("it has ended"))
        assert await store.account(subject) == ""
        [file] = (tmp_path / "logins").glob("*.json")
        file.write_text("{")
        assert await LoginStore(tmp_path / "logins").account(subject) == ""


async def test_old_tokens_are_forgotten(store: LoginStore) -> None:
    async with World().open() as world:
        authorizer = Authorizer(world.subject(), store)
        for number in range(9):
            login = Login.model_validate(
                {"url": world.url, "tokens": {"access_token": f"token-{number}"}}
            )
            store.write(world.subject(), login)
            await authorizer.current()
        assert authorizer.hide("token-1 token-8") == "token-1 ***"
