"""One of our agents as a chat model of LangChain's: the other direction of the langchain engine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from backend.errors import EventLoopError, PayloadError
from backend.llms.payloads import AgentPayload, GenerationOptions, MemoryEntry, Role, ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import UsageMetadata
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from backend.llms.payloads import AgentResponse
    from backend.llms.protocol import Agent

__all__ = ["AgentChatModel"]

_Result = TypeVar("_Result")
_ROLES: dict[str, Role] = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
_OPTIONS = {field.name: field.name for field in fields(GenerationOptions)} | {"max_tokens": "max_new_tokens"}


class AgentChatModel(BaseChatModel):
    """An agent, as LangChain asks for answers.

    A stream is text only, as the agent's own: with tools bound, the answer comes in one piece with its calls.
    """

    agent: Any = Field(exclude=True)
    loop: Any = Field(default=None, exclude=True, repr=False)

    @classmethod
    def around(cls, agent: Agent) -> Self:
        """A model on ``agent``, which lives in the event loop of the caller if there is one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        return cls(agent=agent, loop=loop)

    @property
    def _llm_type(self) -> str:
        return "llm-backend"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,  # noqa: ANN401  (LangChain's signature)
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call ``tools``.

        Raises:
            PayloadError: a tool is to be forced, which no agent can.
        """
        if tool_choice not in (None, "", "auto"):
            message = f"tool_choice is {tool_choice!r}, but an agent's model chooses for itself. Leave it out."
            raise PayloadError(message)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (LangChain tells it of the answer itself)
        **kwargs: Any,  # noqa: ANN401  (options of whoever bound them)
    ) -> ChatResult:
        response = await self.agent.invoke(_payload(messages, stop, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(**_message_fields(response)))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,  # noqa: ARG002  (the same)
        **kwargs: Any,  # noqa: ANN401  (the same)
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        payload = _payload(messages, stop, kwargs)
        if payload.tools_available:
            response = await self.agent.invoke(payload)
            yield ChatGenerationChunk(message=AIMessageChunk(**_message_fields(response), chunk_position="last"))
            return
        async with aclosing(self.agent.stream(payload)) as pieces:
            async for piece in pieces:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,
        **kwargs: Any,  # noqa: ANN401  (the same)
    ) -> ChatResult:
        return self._wait_for(self._agenerate(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: object = None,
        **kwargs: Any,  # noqa: ANN401  (the same)
    ) -> Iterator[ChatGenerationChunk]:
        chunks = self._astream(messages, stop, run_manager, **kwargs)
        try:
            while (chunk := self._wait_for(_next(chunks))) is not None:
                yield chunk
        finally:
            self._wait_for(chunks.aclose())

    def _wait_for(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Have the agent's event loop do ``work``, and wait for it in this thread, which has none.

        Raises:
            EventLoopError: this thread has one, or the agent's does not run.
        """
        try:
            self._require_bridge()
        except EventLoopError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        finally:
            future.cancel()  # whoever waited was interrupted; else it is done, and this changes nothing

    def _require_bridge(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self.loop is not None and self.loop.is_running():
                return
            message = (
                "The agent's event loop does not run, so a sync method has nobody to do its work. "
                "Call as_chat_model in the running loop that loaded the agent, and the sync methods from other threads."
            )
        else:
            message = (
                "A sync method would block the event loop that runs in this thread. "
                "Use ainvoke, astream or abatch, or call it in another thread with asyncio.to_thread."
            )
        raise EventLoopError(message)


async def _next(chunks: AsyncGenerator[ChatGenerationChunk, None]) -> ChatGenerationChunk | None:
    return await anext(chunks, None)


def _payload(messages: Sequence[BaseMessage], stop: Sequence[str] | None, options: Mapping[str, Any]) -> AgentPayload:
    chosen = {name: value for name, value in options.items() if name != "tools"}
    if unknown := chosen.keys() - _OPTIONS.keys():
        message = f"There is no option {min(unknown)!r}. The options are: tools, {', '.join(_OPTIONS)}."
        raise PayloadError(message)
    turns = [_entry(message) for message in messages]
    first = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    asked = turns.pop().content if turns[first:] and turns[-1].role == "user" else ""
    if not asked and not (turns and turns[-1].role == "tool"):
        message = "The last message is no question and no tool's result. End with a HumanMessage or a ToolMessage."
        raise PayloadError(message)
    return AgentPayload(
        asked,
        system_context="\n\n".join(turn.content for turn in turns[:first]),
        memory=turns[first:],
        tools_available=options.get("tools", ()),
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
    return MemoryEntry(
        _ROLES[message.type],
        str(message.text),
        tool_calls=[ToolCall(name=call["name"], arguments=call["args"], id=call["id"]) for call in calls],
        metadata=about,
    )


def _message_fields(response: AgentResponse) -> dict[str, Any]:
    about = response.metadata
    return {
        "content": response.response,
        "additional_kwargs": {"reasoning_content": response.thinking} if response.thinking else {},
        "tool_calls": [
            # Whoever answers a call has to name it, and not every model gives it a name.
            {"type": "tool_call", "name": call.name, "args": dict(call.arguments), "id": call.id or f"call-{uuid4()}"}
            for call in response.tool_calls
        ],
        "response_metadata": {
            "model_name": about.get("model"),
            "model_provider": about.get("engine"),
            "finish_reason": about.get("finish_reason"),
        },
        "usage_metadata": _usage(about),
    }


def _usage(about: Mapping[str, Any]) -> UsageMetadata | None:
    usage = about.get("usage")
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
