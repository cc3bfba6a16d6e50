"""The base of agents whose model runs elsewhere: behind a server, or in a chat model that the caller built."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar

from llm_backend.errors import AgentClosedError, EngineConnectionError, EngineError, EngineResponseError
from llm_backend.llms.agent import Agent, as_payload
from llm_backend.llms.engines.server.answer import ServerAnswer
from llm_backend.llms.engines.server.dialect import refused_by
from llm_backend.llms.engines.server.prompt_sizes import PromptSizes
from llm_backend.llms.engines.server.time_limits import TimeLimit
from llm_backend.llms.payloads import MemoryEntry
from llm_backend.llms.prepared_request import prepare
from llm_backend.llms.prompting import turn_message
from llm_backend.llms.tools.openai_calls import name_calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from llm_backend.llms.engines.server.chat_format import Piece, Request
    from llm_backend.llms.payloads import AgentPayload, AgentResponse, Event, ReasoningEffort
    from llm_backend.llms.prepared_request import PreparedRequest
    from llm_backend.llms.settings.agent_settings import AgentSettings

__all__ = ["RemoteAgent"]


class RemoteAgent(Agent):
    """Assembles answers from pieces; subclasses say whom to ask for them, and how."""

    engine: ClassVar[str]
    _advice: ClassVar[str]  # for users of a closed agent
    _tells_schema: ClassVar[bool]  # in the prompt, if nothing else in a request does

    def __init__(self, settings: AgentSettings, place: str) -> None:
        self._settings = settings
        self._place = place  # the other end's address, as named in errors
        self._sizes = PromptSizes()
        self._refused: frozenset[str] = frozenset()  # what the other end does not accept (dialect.py)
        self._closed = self._unopened = False

    @property
    def model(self) -> str:
        """The model's name at the other end."""
        return str(self._settings.model)

    @abstractmethod
    def _request(self, prepared: PreparedRequest, refused: AbstractSet[str], *, stream: bool) -> Request:
        """The request, without what the other end has ``refused``."""

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """Translate the other end's errors into ours."""

    @abstractmethod
    def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Ask for an answer, whole unless ``request.stream``; closing the generator closes the connection."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, server={self._place!r})"

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Answer ``payload``.

        Raises:
            AgentClosedError: the agent was closed.
            PayloadError: the server's API cannot express the payload, or the prompt is too long.
            StructuredOutputError: the answer does not fit the payload's output schema, or was cut.
            ModelNotFoundError: the server does not have the model.
            EngineError: the server failed, or its answer cannot be read.
        """
        answer = self._new_answer(payload, stream=False)
        async for _ in self._events(answer):
            pass
        return answer.response

    async def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:
        """Yield the answer's parts as they arrive, and tool calls at its end.

        Closing the generator closes the connection to the server. Raises the same errors as ``invoke``, and
        EngineConnectionError if the answer breaks off. The usage is None if the server does not give it for streams, or
        if reading stopped at a stop text.
        """
        async with aclosing(self._events(self._new_answer(payload, stream=True))) as events:
            async for event in events:
                yield event

    async def supports_streaming(self) -> bool:
        """Always true."""
        self._check_open()
        return True

    async def aclose(self) -> None:
        """Stop answering; closing twice is fine."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            message = f"This agent for {self.model!r} is closed. {self._advice}."
            raise AgentClosedError(message)

    def _prepared(self, payload: AgentPayload | str) -> PreparedRequest:
        self._check_open()
        prepared = prepare(as_payload(payload), tells_schema=self._tells_schema)
        name_calls(prepared.messages)
        return prepared

    def _new_answer(self, payload: AgentPayload | str, *, stream: bool) -> ServerAnswer:
        request = self._prepared(payload)
        return ServerAnswer(request, stream=stream, engine=self.engine, model=self.model, unopened=self._unopened)

    async def _events(self, answer: ServerAnswer) -> AsyncGenerator[Event, None]:
        async with aclosing(self._accepted(answer.request, stream=answer.stream)) as pieces:
            async for piece in pieces:
                for event in answer.feed(piece):
                    yield event
                if answer.stopped:
                    break
        if not answer.ended:
            raise self._unfinished(answer)
        for event in answer.finish():
            yield event
        self._unopened = self._unopened or answer.closed_unopened
        self._learn_size(answer.request, answer.response)

    def _unfinished(self, answer: ServerAnswer) -> EngineError:
        if answer.begun:
            return EngineConnectionError(
                f"The server at {self._place} broke off before {self.model!r} had finished its answer. "
                "Try again, and check the server's log."
            )
        return EngineResponseError(
            f"The server at {self._place} answered with something that is not an event stream. "
            "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
        )

    def _effort(self, payload: AgentPayload) -> ReasoningEffort | None:
        """The reasoning requested; None also for "none", because models that cannot reason refuse even that."""
        effort = payload.reasoning_effort or self._settings.reasoning_effort
        return effort if effort and effort.effort != "none" else None

    async def _accepted(self, prepared: PreparedRequest, *, stream: bool) -> AsyncGenerator[Piece, None]:
        """Ask; if the server refuses what can be expressed otherwise or left out, do that, now and later."""
        limit, refused, begun = self._time_limit(), self._refused, False
        with self._errors():
            while True:
                request = self._request(prepared, refused, stream=stream)
                try:
                    async with aclosing(limit.over(self._pieces(request))) as pieces:
                        async for piece in pieces:
                            begun, self._refused = True, self._refused | refused
                            yield piece
                except Exception as exc:
                    self._check_open()  # closing it interrupts its work
                    named = refused_by(exc, request.ours)
                    if begun or not named:
                        raise
                    refused |= named
                else:
                    return

    def _time_limit(self) -> TimeLimit:
        return TimeLimit(self._settings.timeout, self._place)

    def _learn_size(self, prepared: PreparedRequest, response: AgentResponse) -> None:
        """Keep the server's count for this prompt, and for it with the answer, as the next turn will repeat it."""
        if usage := response.metadata["usage"]:
            messages, tools = prepared.messages, prepared.payload.tools_available
            answer = turn_message(MemoryEntry("assistant", response.response, tool_calls=response.tool_calls))
            self._sizes.learn(messages, tools, usage.prompt_tokens)
            self._sizes.learn(name_calls([*messages, answer]), tools, usage.total_tokens)
