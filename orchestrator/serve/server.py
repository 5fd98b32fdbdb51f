"""A toolset as an MCP server, for clients of both revisions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
import jsonschema_rs
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut
from orchestrator.engine.question import AnswerCallback, Question
from orchestrator.engine.questions import fitting
from orchestrator.errors import AnswerError, RefusedError
from orchestrator.serve.answers import Answer, ServedTool
from orchestrator.serve.forms import form_of, message_of, value_in
from orchestrator.serve.toolset import Toolset

NAME = "orchestrator"
LOOK_EVERY_S = 1.0
MAX_NOTE = 1000
SCHEME = "run://"
STATELESS = "2026"  # from this revision on, a server asks by its answer and not within the call
_Context = ServerRequestContext[Any]


class _Announcing(Server[Any]):
    """Says on HTTP in 2025-11-25, too, that its list of tools changes."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **more: Any
    ) -> Any:
        told = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(told, *args, **more)


class ToolsetServer:
    """Serves a toolset.

    Attributes:
        mcp: The server of the SDK.
    """

    def __init__(self, toolset: Toolset, version: str = "") -> None:
        self._toolset = toolset
        self._bus = InMemorySubscriptionBus()
        self._sessions: set[Any] = set()
        self._asks = anyio.Lock()
        self._listed: list[ServedTool] = []  # what clients know
        self.mcp = _Announcing(
            NAME,
            version=version,
            instructions=toolset.instructions(),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=_no_resources,
            on_list_resource_templates=_templates,
            on_read_resource=self._read,
            on_subscriptions_listen=ListenHandler(self._bus),
        )
        self.mcp.add_notification_handler(
            "notifications/initialized", types.NotificationParams, self._note_session
        )
        # Clients send the state of a question back, and must not be able to make one up.
        security = RequestStateSecurity.ephemeral()
        self.mcp.middleware.append(RequestStateBoundary(security, default_audience=NAME))

    async def _note_session(self, ctx: _Context, _: Any) -> None:
        session = ctx.session
        self._sessions.add(session)
        # The SDK has no public way to hear that a session is over.
        session._connection.exit_stack.callback(self._sessions.discard, session)

    async def announce(self) -> None:
        """Tell clients when the list of tools has changed, until that is cancelled."""
        version: object = None
        first = await self._toolset.tools()  # it starts the servers
        self._listed = self._listed or first  # a client may have listed meanwhile, and counts
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            if (now := await self._toolset.version()) == version:
                continue
            version, tools = now, await self._toolset.tools(wait_s=0)
            if tools != self._listed:
                self._listed = tools
                await self.tell_changed()

    async def tell_changed(self) -> None:
        """Tell clients that the list of tools has changed."""
        await self._bus.publish(ToolsListChanged())
        for session in tuple(self._sessions):
            await session.send_tool_list_changed()

    async def _list_tools(self, _: _Context, __: Any) -> types.ListToolsResult:
        self._listed = await self._toolset.tools()
        return types.ListToolsResult(tools=list(map(_tool, self._listed)))

    async def _call_tool(
        self, ctx: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tell = ctx.session.report_progress
        is_new = ctx.protocol_version >= STATELESS
        wrong: list[str] = []  # what forms held that does not fit; their questions stay open
        if params.request_state is not None:
            answer = await self._answered(ctx, params, wrong)
        else:
            ask = None if is_new else self._asking(ctx, wrong)
            given = params.arguments
            answer = await self._toolset.call(params.name, given, on_progress=tell, answer=ask)
        result = answer.result
        if is_new and result is not None and result.status == "paused" and _can_fill_in(ctx):
            # One that was not answered is not asked again and again.
            asked = _asked_before(params)
            left = [each for each in result.questions if _key(each) not in asked]
            if left and all(form_of(each) is not None for each in left):
                return _questions(result.run_id, left)
        listed = {tool.name: tool.output_schema for tool in self._listed}
        return _result(_told(answer, wrong), listed.get(params.name))

    async def _answered(
        self, ctx: _Context, params: types.CallToolRequestParams, wrong: list[str]
    ) -> Answer:
        """Go on with a run whose questions the client has answered."""
        state = json.loads(params.request_state or "{}")
        replies = []
        for name, kept in state["questions"].items():
            given = (params.input_responses or {}).get(name)
            if not isinstance(given, types.ElicitResult) or given.action == "cancel":
                continue
            question = Question(**kept)
            reply = {"task": question.task, "item": question.item}
            if given.action == "decline":
                replies.append(reply | {"refuse": True})
            elif (value := _fitting(question, given.content, wrong)) is not None:
                replies.append(reply | {"value": value})
        tell = ctx.session.report_progress
        return await self._toolset.go_on(params.name, state["run_id"], replies, on_progress=tell)

    def _asking(self, ctx: _Context, wrong: list[str]) -> AnswerCallback | None:
        """Who answers questions within a call: the client, if it can show forms."""
        if not _can_fill_in(ctx):
            return None

        async def ask(question: Question) -> Any:
            form = form_of(question)
            if form is None:
                return None
            message, request = message_of(question), ctx.request_id
            try:
                async with self._asks:  # several forms at once are more than most clients show
                    given = await ctx.session.elicit_form(message, form, related_request_id=request)
            except MCPError:  # it cannot after all: the question stays open
                return None
            if given.action == "decline":
                raise RefusedError
            is_given = given.action == "accept"
            return _fitting(question, given.content, wrong) if is_given else None

        return ask

    async def _read(
        self, _: _Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        run_id = uri.removeprefix(SCHEME)
        answer = await self._toolset.resource(run_id) if uri.startswith(SCHEME) else None
        if answer is None or (answer.is_error and "error" in answer.document):
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
        text = to_json(answer.document)
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[contents])


def _tool(tool: ServedTool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=dict(tool.input_schema),
        output_schema=None if tool.output_schema is None else dict(tool.output_schema),
        annotations=types.ToolAnnotations.model_validate({"title": tool.title, **tool.annotations}),
    )


def _result(answer: Answer, schema: Mapping[str, Any] | None) -> types.CallToolResult:
    # As text too: half of the clients read nothing else.
    text = types.TextContent(text=to_json(answer.document))
    structured = json.loads(text.text)
    # Clients of the TypeScript SDK hold failures against the schema too, and show only that.
    if (
        answer.is_error
        and schema is not None
        and not jsonschema_rs.is_valid(dict(schema), structured)
    ):
        structured = None
    return types.CallToolResult(
        content=[text], structured_content=structured, is_error=answer.is_error
    )


def _fitting(question: Question, content: Mapping[str, Any] | None, wrong: list[str]) -> Any:
    """The answer that a filled form holds; None if it does not fit, with the reason in `wrong`."""
    value = value_in(question, content)
    try:
        fitting(question, value)
    except AnswerError as error:
        wrong.append(str(error))
        return None
    return value


def _told(answer: Answer, wrong: Sequence[str]) -> Answer:
    """The answer of a run that is paused since what a person replied does not fit, saying so."""
    document = answer.document
    if not wrong or document.get("status") != "paused":
        return answer
    note = f"{'; '.join(wrong)}; ask the user again, and give it with answer_question"
    note = "; ".join([*filter(None, [document.get("note")]), note])
    return replace(answer, document=document | {"note": cut(note, MAX_NOTE)})


def _can_fill_in(ctx: _Context) -> bool:
    capabilities = ctx.session.client_capabilities
    can = None if capabilities is None else capabilities.elicitation
    return can is not None and (can.form is not None or can.url is None)


def _key(question: Question) -> str:
    return f"{question.kind} {question.about} {question.where} {question.turn}"


def _asked_before(params: types.CallToolRequestParams) -> set[str]:
    if params.request_state is None:
        return set()
    kept = json.loads(params.request_state)["questions"].values()
    return {_key(Question(**each)) for each in kept}


def _questions(run_id: str, questions: Sequence[Question]) -> types.InputRequiredResult:
    requests, kept = {}, {}
    for index, question in enumerate(questions):
        form = form_of(question)
        assert form is not None
        params = types.ElicitRequestFormParams(message=message_of(question), requested_schema=form)
        requests[f"q{index}"] = types.ElicitRequest(params=params)
        kept[f"q{index}"] = question.to_dict() | {"turn": question.turn, "about": question.about}
    state = to_json({"run_id": run_id, "questions": kept})
    return types.InputRequiredResult(input_requests=requests, request_state=state)


async def _no_resources(_: _Context, __: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[])


async def _templates(_: _Context, __: Any) -> types.ListResourceTemplatesResult:
    about = types.ResourceTemplate(
        name="run",
        uri_template=f"{SCHEME}{{run_id}}",
        description="The result document of a run.",
        mime_type="application/json",
    )
    return types.ListResourceTemplatesResult(resource_templates=[about])
