"""Tasks that read resources and get prompts: what they give, and what is checked before."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import Lockfile, Orchestrator, Server, Workflow, WorkflowError
from orchestrator.errors import CallError
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.offers import MAX_ENTRIES
from orchestrator.servers.problems import unknown_resource
from orchestrator.servers.sdk_requests import EXCHANGES
from orchestrator.servers.sdk_results import InvalidResultError
from orchestrator.servers.uri_templates import KnownResources, learn_resources

pytestmark = pytest.mark.anyio


class Notes:
    """A server of notes, which counts what was read at the same time."""

    def __init__(self) -> None:
        self.server = made = MCPServer("notes", log_level="WARNING")
        self.reading = self.most = self.failures = 0

        @made.resource("note://{name}/json", mime_type="application/json")
        async def note(name: str) -> str:
            self.reading += 1
            self.most = max(self.most, self.reading)
            await anyio.sleep(0)
            self.reading -= 1
            return json.dumps({"name": name})

        @made.resource("note://flaky")
        def flaky() -> str:
            self.failures += 1
            if self.failures < 3:
                raise RuntimeError("not yet")
            return "at last"

        @made.resource("note://slow")
        async def slow() -> str:
            await anyio.sleep_forever()
            raise AssertionError

        @made.resource("note://plain")
        def plain() -> str:
            return "hello"

        @made.prompt()
        def review(title: str, tone: str = "kind") -> str:
            return f"Review {title}, be {tone}"

        @made.tool()
        def review_tool() -> str:
            return "a tool"


async def run(*tasks: dict[str, Any], notes: Notes | None = None, **fields: Any) -> Any:
    target = Server(target=(notes or Notes()).server, protocol="legacy")
    async with Orchestrator({"s": target}) as orchestrator:
        return await orchestrator.run({"name": "w", "tasks": list(tasks), **fields})


async def test_resources_and_prompts_are_outputs_like_any_other() -> None:
    result = await run(
        {"id": "each", "read": "s:note://$ITEM/json", "for_each": ["a", "b"]},
        {"id": "plain", "read": "s:note://${OUTPUT[each][0].name && 'plain'}"},
        {
            "id": "asked",
            "prompt": "s:review",
            "arguments": {"title": "$OUTPUT[each][1].name", "tone": "$OUTPUT[number]"},
        },
        {"id": "number", "value": 7},
        {"id": "text", "value": "$OUTPUT[asked][0].content.text"},
    )
    assert result.status == "success", [task.error for task in result.tasks.values()]
    assert result["each"].output == [{"name": "a"}, {"name": "b"}]
    assert result["plain"].output == "hello"
    assert result["asked"].output == [
        {"role": "user", "content": {"type": "text", "text": "Review b, be 7"}}
    ]
    assert result["text"].output == "Review b, be 7"


async def test_the_policies_of_a_task_hold_for_what_it_reads() -> None:
    notes = Notes()
    result = await run(
        {"id": "again", "read": "s:note://flaky", "retry": {"max_attempts": 3, "initial_s": 0}},
        {"id": "late", "read": "s:note://slow", "timeout_s": 0.01, "fallback": {"value": "late"}},
        {
            "id": "locked",
            "read": "s:note://$ITEM/json",
            "for_each": ["a", "b", "c"],
            "locks": ["one"],
        },
        {"id": "unwanted", "prompt": "s:review", "when": "`false`"},
        notes=notes,
    )
    assert (result["again"].output, result["again"].attempts) == ("at last", 3)
    late = result["late"]
    assert (late.output, late.error.kind) == ("late", "timeout")
    assert notes.most == 1
    assert result["unwanted"].status == "skipped"


async def test_what_the_server_refuses_fails_the_task() -> None:
    result = await run({"id": "a", "read": "s:other://x"})
    assert result["a"].error.kind == "invalid_arguments"
    assert 'cannot read "other://x": Unknown resource' in result["a"].error.message


async def findings(*tasks: dict[str, Any]) -> list[tuple[str, str, str]]:
    async with Orchestrator({"s": Notes().server}) as orchestrator:
        found = await orchestrator.findings({"name": "w", "tasks": list(tasks)})
    return [(each.path, each.code, each.sentence) for each in found if each.severity != "note"]


async def test_prompts_and_their_arguments_are_checked_against_the_list_of_the_server() -> None:
    assert await findings(
        {"id": "a", "prompt": "s:reviw"},
        {"id": "b", "prompt": "s:review"},
        {"id": "c", "prompt": "s:review", "arguments": {"titel": "x", "tone": 5}},
        {"id": "d", "prompt": "t:review"},
        {"id": "e", "read": "s:$OUTPUT[b]"},
        {"id": "f", "read": "t:x://y"},
        {"id": "g", "prompt": "s:review_tool"},
    ) == [
        ("/tasks/3/prompt", "unknown_server", 'unknown server "t"'),
        ("/tasks/5/read", "unknown_server", 'unknown server "t"'),
        ("/tasks/0/prompt", "unknown_prompt", 'unknown prompt "s:reviw". Did you mean "review"?'),
        (
            "/tasks/6/prompt",
            "unknown_prompt",
            'unknown prompt "s:review_tool". Did you mean "review"?',
        ),
        ("/tasks/1/arguments", "missing_argument", 's:review: missing argument "title"'),
        ("/tasks/2/arguments", "missing_argument", 's:review: missing argument "title"'),
        (
            "/tasks/2/arguments/titel",
            "unexpected_argument",
            's:review: unexpected argument "titel". Did you mean "title"?',
        ),
        (
            "/tasks/2/arguments/tone",
            "wrong_argument",
            "s:review: expected string, got integer 5 at .tone",
        ),
        (
            "/tasks/4/read",
            "wrong_argument",
            "s:$OUTPUT[b]: expected string, got array from $OUTPUT[b]",
        ),
    ]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("note://plain", ""),
        ("note://any/json", ""),
        ("note://$ITEM/json", ""),
        ("$ITEM", ""),
        ("note://$ITEM", ""),
        ("note://plane", 'fits "s:note://plane". Did you mean "note://plain"'),
        ("other://things/$ITEM", "no template that fits"),
        ("note://a/b/json", 'fits "s:note://a/b/json". Did you mean "note://{name}/json"'),
    ],
)
async def test_resources_are_compared_with_those_that_the_server_lists(uri: str, said: str) -> None:
    found = await findings({"id": "a", "read": f"s:{uri}", "for_each": ["x"]})
    found = [each for each in found if each[1] == "unknown_resource"]
    assert len(found) == bool(said)
    assert not found or (said in found[0][2] and found[0][0] == "/tasks/0/read")


@pytest.mark.parametrize(
    ("known", "uri", "may"),
    [
        (KnownResources(False), "a://b", False),
        (KnownResources(True), "a://b", True),
        (KnownResources(True, ("a://b",)), "a://b", True),
        (KnownResources(True, ("a://b",)), "a://$ITEM", True),
        (KnownResources(True, ("a://b",)), "a://c$ITEM", False),
        (KnownResources(True, (), ("a://{x}",)), "a://c$ITEM", True),
        (KnownResources(True, (), ("a://c/{x}",)), "a://$ITEM", True),
        (KnownResources(True, (), ("a://c/{x}",)), "a://d$ITEM", False),
    ],
)
def test_a_server_may_have_what_its_lists_leave_open(
    known: KnownResources, uri: str, may: bool
) -> None:
    assert known.may_have(uri) is may


async def test_a_server_without_resources_or_a_list_of_them_is_told_from_another() -> None:
    class Some:
        """A pool of servers of which one cannot list, and one has no resources."""

        def __init__(self) -> None:
            self.catalog = Catalog({})

        def usable(self, server: str) -> bool:
            return server != "down"

        async def offered(self, server: str, kind: str) -> Any:
            if server == "broken":
                raise CallError("timeout", kind)
            if server == "large":
                return [{"uri": "a://b"}] * MAX_ENTRIES
            return None

    pool: Any = Some()
    await learn_resources(pool, ["down", "broken", "large", "none"])
    assert pool.catalog.resources == {"none": KnownResources(False)}
    problem = unknown_resource("none", KnownResources(False), "a://b")
    assert problem.message == 'server "none" has no resources, and is to read "none:a://b"'
    listed = KnownResources(True, (), ("a://{key}/{?page}",))
    problem = unknown_resource("s", listed, "a://{key}/{?page}")
    assert "is a template, and is read as it stands" in problem.message
    assert '"a://$INPUT.key/$INPUT.page"' in problem.hint


async def test_an_unknown_prompt_is_refused_before_anything_is_called() -> None:
    with pytest.raises(WorkflowError, match='unknown prompt "s:reviw"'):
        await run({"id": "a", "prompt": "s:reviw"})
    missing = await run({"id": "a", "prompt": "s:review"})
    assert missing["a"].error.kind == "invalid_arguments"
    assert 'missing property "title"' in missing["a"].error.message


async def test_allow_and_deny_hold_for_prompts_and_uris() -> None:
    target = Server(target=Notes().server, allow=["note://plain"])
    tasks = [
        {"id": "ok", "read": "s:note://plain"},
        {"id": "known_late", "read": "s:note://$INPUT.name/json"},
    ]
    workflow = {"name": "w", "inputs": {"name": {"default": "a"}}, "tasks": tasks}
    async with Orchestrator({"s": target}) as orchestrator:
        result = await orchestrator.run(workflow)
        assert result["ok"].output == "hello"
        late = result["known_late"].error
        assert late is not None
        assert 'does not allow resource "s:note://a/json"' in late.message
        tasks += [{"id": "no", "prompt": "s:review"}, {"id": "nor", "read": "s:note://flaky"}]
        with pytest.raises(WorkflowError) as caught:
            await orchestrator.run(workflow)
    assert [problem.path for problem in caught.value.problems] == [
        "/tasks/2/prompt",
        "/tasks/3/read",
    ]
    assert "no pattern of allow fits it" in str(caught.value)
    target = Server(target=Notes().server, deny=["note://fl*"])
    async with Orchestrator({"s": target}) as orchestrator:
        with pytest.raises(WorkflowError, match=r'"note://fl\*" of deny fits it'):
            await orchestrator.run({"tasks": [{"id": "nor", "read": "s:note://flaky"}]})


async def test_a_dry_run_reads_nothing() -> None:
    async with Orchestrator({"s": Notes().server}) as orchestrator:
        result = await orchestrator.dry_run(
            {"name": "w", "tasks": [{"id": "a", "read": "s:note://slow"}]}
        )
    assert (result.status, result["a"].output) == ("success", None)


@pytest.mark.parametrize(
    ("contents", "output"),
    [
        ([{"text": '{"a": 1}'}], {"a": 1}),
        ([{"text": "5"}], "5"),
        ([{"text": "5", "mimeType": "application/json; charset=utf-8"}], 5),
        ([{"text": '"x"', "mimeType": "application/vnd.api+json"}], "x"),
        ([{"text": "no", "mimeType": "application/json"}], "no"),
        ([{"text": "a"}, {"text": "b"}], "a\nb"),
        ([{"text": "{}"}, {"text": "[]"}], [{}, []]),
        ([{"text": "a"}, {"blob": "AA=="}], [{"text": "a"}, {"blob": "AA=="}]),
        ([], None),
    ],
)
def test_a_resource_is_json_if_it_is_json_else_its_text_else_its_contents(
    contents: list[Any], output: Any
) -> None:
    assert EXCHANGES["read"].output({"contents": contents}, "s:x") == output


@pytest.mark.parametrize(
    ("kind", "result", "message"),
    [
        ("read", {}, "expected array as contents, got null"),
        ("read", {"contents": [5]}, "expected object as contents.0, got integer 5"),
        ("prompt", {"messages": {}}, "expected array as messages, got empty object"),
    ],
)
def test_a_result_without_its_list_is_invalid(kind: str, result: Any, message: str) -> None:
    with pytest.raises(InvalidResultError, match=message):
        EXCHANGES[kind].output(result, "s:x")


def test_messages_that_are_nested_too_deep_are_no_output() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"x": deep}
    with pytest.raises(CallError, match="nested deeper than"):
        EXCHANGES["prompt"].output({"messages": [deep]}, "s:x")


def problems_of(task: dict[str, Any]) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"name": "w", "tasks": [{"id": "a", **task}]})
    return [f"{problem.path}: {problem.sentence}" for problem in caught.value.problems]


def test_fields_that_mean_nothing_are_errors() -> None:
    server_uri = '/tasks/0/read: expected "server:uri", got "$INPUT.x"'
    assert problems_of({"read": "$INPUT.x"}) == [server_uri]
    assert problems_of({"read": "n$INPUT.x:y"}) == [
        '/tasks/0/read: expected server:uri, got string "n$INPUT.x:y"'
    ]
    assert problems_of({"prompt": "x"}) == ['/tasks/0/prompt: expected "server:name", got "x"']
    assert problems_of({"read": "s:u", "arguments": {}}) == [
        '/tasks/0/arguments: "arguments" means nothing in a task with "read", '
        "which takes nothing but its URI"
    ]
    assert problems_of({"read": "s:u", "prompt": "s:p"}) == [
        '/tasks/0: "read" and "prompt" exclude each other: keep one, and write a task for the other'
    ]
    assert problems_of({"read": "s:u://$ITEM"}) == [
        '/tasks/0/read: "$ITEM" is only readable for an item of a for_each'
    ]


async def test_with_a_lock_file_a_server_that_is_only_read_has_to_be_in_it() -> None:
    lock = Lockfile.made_of([])
    async with Orchestrator({"s": Notes().server}, lock) as orchestrator:
        with pytest.raises(WorkflowError, match='server "s" is not in'):
            await orchestrator.run({"tasks": [{"id": "a", "read": "s:note://plain"}]})
