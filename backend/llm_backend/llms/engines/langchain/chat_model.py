"""One of our agents as a LangChain chat model: the opposite of the langchain engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, is_typeddict
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import Field

from llm_backend.errors import EventLoopError, PayloadError, StructuredOutputError
from llm_backend.llms.engines.langchain.extras import as_kwargs, extras_of_calls, extras_of_turn
from llm_backend.llms.payloads import (
    AgentPayload,
    AgentResponse,
    End,
    GenerationOptions,
    MemoryEntry,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolCallEvent,
)
from llm_backend.llms.structured_output import output_format

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import UsageMetadata
    from langchain_core.outputs import Generation
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from pydantic import BaseModel

    from llm_backend.llms.agent import Agent
    from llm_backend.llms.payloads import Event, ResponseMetadata, Usage

__all__ = ["AgentChatModel"]

_Result = TypeVar("_Result")
_ROLES: dict[str, Role] = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
_AS_OBJECT = "Give that answer as JSON."  # LangGraph's agents ask for the last answer as an object
_BLOCKS = (
    "A sync method would block the event loop running in this thread. "
    "Use ainvoke, astream or abatch, or call it in another thread with asyncio.to_thread."
)
_NO_LOOP = (
    "The agent's event loop is not running, so it cannot do the work of a sync method. "
    "Call as_chat_model in the running loop that loaded the agent, and the sync methods from other threads."
)
_ASKED = ("tools", "output_schema")
_OPTIONS = {field.name: field.name for field in fields(GenerationOptions)} | {"max_tokens": "max_new_tokens"}


class AgentChatModel(BaseChatModel):
    """An agent with LangChain's interface."""

    agent: Any = Field(exclude=True)
    loop: Any = Field(default=None, exclude=True, repr=False)

    @classmethod
    def around(cls, agent: Agent) -> Self:
        """A model on ``agent``, which belongs to the caller's event loop, if one is running."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        return cls(agent=agent, loop=loop)

    @property
    def _llm_type(self) -> str:
        return "llm-backend"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """The key by which LangChain's caches tell answers apart."""
        return dict(self.agent.identity)

    def get_token_ids(self, text: str) -> list[int]:
        """The text's tokens, by ``custom_get_token_ids``: LangChain would count with GPT-2's tokenizer.

        Raises:
            PayloadError: it is not set.
        """
        if self.custom_get_token_ids is None:
            message = (
                "An agent only counts the tokens of whole prompts: use agent.count_tokens(payload). For LangChain's "
                "methods set custom_get_token_ids to a function, or give trim_messages token_counter='approximate'."
            )
            raise PayloadError(message)
        return self.custom_get_token_ids(text)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,  # noqa: ANN401  (LangChain's signature)
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call ``tools``.

        Raises:
            PayloadError: a tool is to be forced, which no agent supports.
        """
        if tool_choice not in (None, "", "auto"):
            message = f"tool_choice is {tool_choice!r}, but an agent's model chooses for itself. Leave it out."
            raise PayloadError(message)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str = "json_schema",
        strict: bool | None = None,  # noqa: ARG002  (the agent always enforces the schema)
        **kwargs: Any,  # noqa: ANN401  (options to bind)
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """A model whose answers are objects of ``schema``: instances of a pydantic class, else plain JSON values.

        In a stream, an instance comes once it is complete; JSON comes repeatedly, as far as it has been generated.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema, or a tool in OpenAI's format.
            include_raw: give ``{"raw": message, "parsed": object or None, "parsing_error": error or None}``.
            method: LangChain's name for how the schema is enforced; agents know only one.
            strict: has no effect, because agents always enforce the schema.
            kwargs: options for each answer, as ``bind`` takes them.

        Raises:
            PayloadError: another method is asked for.
            SchemaError: it is not a schema.
        """
        wanted = _as_schema(schema)
        output = output_format(wanted)
        if output is None or method != "json_schema":
            message = (
                f"method is {method!r} and schema a {type(schema).__name__}, but an agent needs a schema and enforces "
                "it by 'json_schema' only. Give a schema, and leave method out."
            )
            raise PayloadError(message)
        answer = self.bind(output_schema=output.schema, **kwargs)
        parser = _ObjectParser(output=output, grows=isinstance(wanted, Mapping))
        return answer | (RunnableLambda(parser.read_both) if include_raw else parser)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (LangChain tells it of the answer itself)
        **kwargs: object,
    ) -> ChatResult:
        try:
            response = await self.agent.invoke(_payload(messages, stop, kwargs))
        except StructuredOutputError as exc:  # the parser of a requested object will find the same fault in the message
            about = cast("ResponseMetadata", {"finish_reason": exc.finish_reason})
            response = AgentResponse(response=exc.text, metadata=about)
        return ChatResult(generations=[ChatGeneration(message=self._message(response))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (the same)
        **kwargs: object,
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        calls = 0
        try:
            async with aclosing(self.agent.stream_events(_payload(messages, stop, kwargs))) as events:
                async for event in events:
                    yield ChatGenerationChunk(message=self._chunk(event, calls))
                    calls += isinstance(event, ToolCallEvent)
        except StructuredOutputError as exc:  # the same
            yield ChatGenerationChunk(message=self._chunk(End(exc.finish_reason), calls))

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: object = None, **kwargs: object
    ) -> ChatResult:
        return self._wait_for(self._agenerate(messages, stop, run_manager, **kwargs))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: object = None, **kwargs: object
    ) -> Iterator[ChatGenerationChunk]:
        chunks = self._astream(messages, stop, run_manager, **kwargs)
        try:
            while (chunk := self._wait_for(_next(chunks))) is not None:
                yield chunk
        finally:
            self._wait_for(chunks.aclose())

    def _message(self, response: AgentResponse) -> AIMessage:
        calls = [(call, _id(call)) for call in response.tool_calls]
        reasoning = {"reasoning_content": response.thinking} if response.thinking else {}
        return AIMessage(
            content=response.response,
            additional_kwargs=reasoning | as_kwargs(response.extras, {id_: call.extras for call, id_ in calls}),
            tool_calls=[tool_call(name=call.name, args=dict(call.arguments), id=id_) for call, id_ in calls],
            usage_metadata=_usage(response.metadata.get("usage")),
            response_metadata=self._about(response.metadata["finish_reason"]),
        )

    def _chunk(self, event: Event, index: int) -> AIMessageChunk:
        """What ``event`` adds to the message; a call gets ``index`` among the message's calls."""
        match event:
            case Reasoning():  # content_blocks looks for reasoning there
                return AIMessageChunk(content="", additional_kwargs={"reasoning_content": event.text})
            case Text():
                return AIMessageChunk(content=event.text)
            case ToolCallEvent(call):
                arguments, id_ = json.dumps(dict(call.arguments)), _id(call)
                piece = tool_call_chunk(name=call.name, args=arguments, id=id_, index=index)
                kwargs = as_kwargs({}, {id_: call.extras})
                return AIMessageChunk(content="", tool_call_chunks=[piece], additional_kwargs=kwargs)
            case End():
                about, kwargs = self._about(event.finish_reason), as_kwargs(event.extras, {})
                return AIMessageChunk(
                    content="", response_metadata=about, additional_kwargs=kwargs, chunk_position="last"
                )
            case _:
                return AIMessageChunk(content="", usage_metadata=_usage(event.usage))

    def _about(self, finish_reason: str) -> dict[str, Any]:
        # Not under "model_provider": for "openai", LangChain reads messages as OpenAI's own, which hold no reasoning.
        identity = self.agent.identity
        return {"engine": identity["engine"], "model_name": identity["model"], "finish_reason": finish_reason}

    def _wait_for(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Have the agent's event loop do ``work``, and wait for it in this thread, which runs no loop.

        Raises:
            EventLoopError: this thread runs one, or the agent's is not running.
        """
        try:
            asyncio.get_running_loop()
            fault = _BLOCKS
        except RuntimeError:
            fault = "" if self.loop is not None and self.loop.is_running() else _NO_LOOP
        if fault:
            work.close()
            raise EventLoopError(fault)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        finally:
            future.cancel()  # the caller was interrupted; otherwise the work is done, and this has no effect


class _ObjectParser(JsonOutputParser):
    """Reads a message that answers an output schema; with ``grows``, it yields parts as they come."""

    output: Any = Field(exclude=True)
    grows: bool

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ANN401  (whatever it is)
        """The object, or as much of it as exists.

        Raises:
            StructuredOutputError: the message was cut short, or does not fit the schema.
        """
        message: Any = cast("ChatGeneration", result[0]).message
        if partial and message.chunk_position != "last":
            return super().parse_result(result, partial=True) if self.grows else None
        return self._read(message)

    def read_both(self, message: AIMessage) -> dict[str, Any]:
        """The message, and its object or what is wrong with it."""
        try:
            return {"raw": message, "parsed": self._read(message), "parsing_error": None}
        except StructuredOutputError as exc:
            return {"raw": message, "parsed": None, "parsing_error": exc}

    def _read(self, message: AIMessage) -> Any:  # noqa: ANN401  (the same)
        return self.output.parse(str(message.text), message.response_metadata["finish_reason"])


def _as_schema(schema: Any) -> Any:  # noqa: ANN401  (whatever LangChain accepts as a schema)
    """``schema`` as ``output_format`` takes it, which knows no tools and not every TypedDict."""
    is_tool = isinstance(schema, Mapping) and ("function" in schema or "parameters" in schema)
    return convert_to_json_schema(schema) if is_tool or is_typeddict(schema) else schema


async def _next(chunks: AsyncGenerator[ChatGenerationChunk, None]) -> ChatGenerationChunk | None:
    return await anext(chunks, None)


def _payload(messages: Sequence[BaseMessage], stop: Sequence[str] | None, options: Mapping[str, Any]) -> AgentPayload:
    chosen = {name: value for name, value in options.items() if name not in _ASKED}
    if unknown := chosen.keys() - _OPTIONS.keys():
        message = f"There is no option {min(unknown)!r}. The options are: tools, {', '.join(_OPTIONS)}."
        raise PayloadError(message)
    turns = [_entry(message) for message in messages]
    first = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    asked = turns.pop().content if turns[first:] and turns[-1].role == "user" else ""
    if turns[first:] and turns[-1].role == "assistant" and options.get("output_schema"):
        asked = _AS_OBJECT
    if not asked and not (turns and turns[-1].role == "tool"):
        message = (
            "The last message is neither a question nor a tool's result. End with a HumanMessage or a ToolMessage."
        )
        raise PayloadError(message)
    return AgentPayload(
        asked,
        system_context="\n\n".join(turn.content for turn in turns[:first]),
        memory=turns[first:],
        tools_available=options.get("tools", ()),
        output_schema=options.get("output_schema"),
        generation=GenerationOptions(
            **{_OPTIONS[name]: value for name, value in chosen.items()} | ({"stop": tuple(stop)} if stop else {})
        ),
    )


def _entry(message: BaseMessage) -> MemoryEntry:
    if message.type not in _ROLES:
        words = f"An agent knows no message of type {message.type!r}. Use one of: {', '.join(_ROLES)}."
        raise PayloadError(words)
    for block in message.content if isinstance(message.content, list) else []:
        if isinstance(block, dict) and block.get("type") not in {"text", "tool_use", "reasoning", "thinking"}:
            words = f"A message holds content of type {block.get('type')!r}, but agents read text only. Leave it out."
            raise PayloadError(words)
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    about = {"tool_call_id": message.tool_call_id} if isinstance(message, ToolMessage) else {}
    extras = extras_of_calls(message)
    return MemoryEntry(
        _ROLES[message.type],
        str(message.text),
        tool_calls=[
            ToolCall(name=call["name"], arguments=call["args"], id=call["id"], extras=extras.get(str(call["id"]), {}))
            for call in calls
        ],
        metadata=about,
        extras=extras_of_turn(message),
    )


def _id(call: ToolCall) -> str:
    """The call's id, which the answer to it must give; not every model sets one."""
    return call.id or f"call-{uuid4()}"


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
