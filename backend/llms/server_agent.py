"""What every agent does that asks an OpenAI-compatible server, whichever library carries the request."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from backend.errors import AgentClosedError, BackendError, ConfigError, EngineConnectionError, EngineResponseError
from backend.llms.answer_parsing import AnswerParser, StopFilter, split_answer
from backend.llms.openai_format import Request, as_mapping, as_mappings, card_window, only_model
from backend.llms.openai_server import Server, engine_errors, refuses_temperature
from backend.llms.payloads import AgentResponse, End, Reasoning, Timings, UsageEvent
from backend.llms.prompt_sizes import PromptSizes
from backend.llms.prompting import build_messages
from backend.llms.protocol import Agent
from backend.llms.structured_output import output_format
from backend.llms.time_limits import TimeLimit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractContextManager

    from backend.llms.config import AgentSettings
    from backend.llms.openai_format import Piece, Reply
    from backend.llms.payloads import AgentPayload, Event, ReasoningEffort, ToolCall, Usage

__all__ = ["ServerAgent"]


class ServerAgent(Agent):
    """Answers payloads by asking a server; engines add how a request travels.

    Three settings bound its waits, in seconds: ``connect_timeout``, ``read_timeout`` for each silence of the server,
    and ``timeout`` for all waits of one request together.
    """

    engine: ClassVar[str]
    _unreadable: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, settings: AgentSettings, server: Server) -> None:
        self._settings = settings
        self._server = server
        self._client: Any = self._connect()
        self._window: int | None = None
        self._sizes = PromptSizes()
        self._takes_temperature = True
        self._closed = False

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Make an agent. The server is asked only when ``settings`` name no model: it may have but one.

        Raises:
            ConfigError: the settings name no server, or no model where the server has none or several.
            EngineError: the server was asked and did not answer sensibly.
        """
        agent = cls(settings, Server.from_settings(settings))
        if agent._server.model:
            return agent
        try:
            model = only_model(await agent._list_cards(), agent._server.place)
        except BaseException:
            await agent.aclose()
            raise
        agent._server = replace(agent._server, model=model)
        return agent

    @abstractmethod
    def _connect(self) -> Any:  # noqa: ANN401  (an openai.AsyncOpenAI, whose library this module does without)
        """Make the client; it connects on the first request."""

    @abstractmethod
    async def _reply(self, request: Request) -> Reply:
        """Ask for a whole answer."""

    @abstractmethod
    def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Ask for an answer in pieces; closing the generator closes the connection."""

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self._server.model

    @property
    def identity(self) -> dict[str, str]:
        """The engine, the model, its server, and the options that settings choose."""
        options = f"{self._settings.generation_defaults()}, {self._settings.reasoning_effort!r}"
        return {"engine": self.engine, "model": self.model, "server": self._server.place, "options": options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, server={self._server.place!r})"

    async def invoke(self, payload: AgentPayload) -> AgentResponse:
        """Answer ``payload``.

        Raises:
            AgentClosedError: the agent was closed.
            PayloadError: the server's API has no place for what the payload asks, or the prompt is too long.
            StructuredOutputError: the answer does not fit the payload's output schema, or was cut.
            ModelNotFoundError: the server does not have the model.
            EngineError: the server failed, or its answer cannot be read.
        """
        self._check_open()
        started = time.perf_counter()
        reply = await self._reply_at_any_temperature(payload)
        return self._response(payload, reply, time.perf_counter() - started)

    async def stream_events(self, payload: AgentPayload) -> AsyncGenerator[Event, None]:
        """Yield the answer's parts as they arrive; a stream has no figures, so the usage is None.

        Closing the generator closes the connection to the server. Raises the same errors as ``invoke``, and
        EngineConnectionError when the answer breaks off. Tool calls are those that the model wrote into its text: a
        server that takes them out of it gives them to ``invoke``.
        """
        self._check_open()
        started = time.perf_counter()
        output = output_format(payload.output_schema)
        parser, stops = AnswerParser(structured=output is not None), StopFilter(payload.generation.stop)
        began, ended = None, ""
        async with aclosing(self._pieces_at_any_temperature(payload)) as pieces:
            async for piece in pieces:
                began = began or time.perf_counter()
                if piece.reasoning:
                    yield Reasoning(piece.reasoning)
                for event in parser.feed(stops.feed(piece.text)):
                    yield event
                ended = ended or piece.finish_reason
                if stops.stopped:
                    break
        if not (ended or stops.stopped):
            raise self._broke_off() if began else self._no_stream()
        for event in (*parser.feed(stops.finish()), *parser.finish()):
            yield event
        found, finish_reason = parser.result(), "stop" if stops.stopped else ended
        if output and not found.tool_calls:
            output.parse(found.response, finish_reason)
        now = time.perf_counter()
        yield UsageEvent(
            usage=None, timings=Timings(queued=0.0, first_token=began and began - started, total=now - started)
        )
        yield End("tool_calls" if found.tool_calls and finish_reason == "stop" else finish_reason)

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together: what the server's model card says.

        ``settings.context_window`` narrows that, and stands in for it where the card or the server says nothing.

        Raises:
            ConfigError: neither of them says it.
            EngineError: the server was asked and did not answer sensibly.
        """
        self._check_open()
        if self._window is None:
            self._window = await self._find_window()
        return self._window

    async def count_tokens(self, payload: AgentPayload) -> int:
        """How many tokens the prompt of ``payload`` has at most, as this side has no tokenizer.

        What the server counted when it answered the same beginning, and a token for each byte of what is new:
        exact for a prompt that was answered already, about four times too many for English text never sent before.
        """
        self._check_open()
        return self._sizes.estimate(build_messages(payload), payload.tools_available)

    async def supports_streaming(self) -> bool:
        """Always true."""
        self._check_open()
        return True

    async def aclose(self) -> None:
        """Close the connections to the server; closing twice is fine."""
        self._closed = True
        await self._client.close()

    def _check_open(self) -> None:
        if self._closed:
            message = f"This agent for {self.model!r} is closed. Load a new one with load_agent."
            raise AgentClosedError(message)

    def _broke_off(self) -> EngineConnectionError:
        return EngineConnectionError(
            f"The server at {self._server.place} broke off before {self.model!r} had finished its answer. "
            "Ask again, and look into the server's log."
        )

    def _no_stream(self) -> EngineResponseError:
        return EngineResponseError(
            f"The server at {self._server.place} answered with something that is no stream of events. "
            "Check base_url: the address of an OpenAI-compatible server usually ends in /v1."
        )

    def _errors(self) -> AbstractContextManager[None]:
        return engine_errors(self._server, unreadable=self._unreadable)

    def _request(self, payload: AgentPayload) -> Request:
        generation = payload.generation.over(self._settings.generation_defaults())
        effort = self._effort(payload)
        if generation.temperature is None and effort is None and self._takes_temperature:
            generation = replace(generation, temperature=0.0)
        output = output_format(payload.output_schema)
        return Request(
            messages=build_messages(payload),
            tools=payload.tools_available,
            generation=generation,
            effort=effort,
            output=output.definition if output else None,
        )

    def _effort(self, payload: AgentPayload) -> ReasoningEffort | None:
        """The reasoning that somebody asks for; None also for "none", as models that cannot reason refuse that too."""
        effort = payload.reasoning_effort or self._settings.reasoning_effort
        return effort if effort and effort.effort != "none" else None

    def _gives_way(self, exc: Exception, request: Request, payload: AgentPayload) -> bool:
        """Whether to ask again without a temperature: the model refuses the one that nobody but us chose."""
        chosen = payload.generation.over(self._settings.generation_defaults()).temperature
        if chosen is not None or request.generation.temperature is None or not refuses_temperature(exc):
            return False
        self._takes_temperature = False
        return True

    def _time_limit(self) -> TimeLimit:
        return TimeLimit(self._server.timeout, self._server.place)

    async def _reply_at_any_temperature(self, payload: AgentPayload) -> Reply:
        with self._errors():
            async with self._time_limit().waiting():
                request = self._request(payload)
                try:
                    return await self._reply(request)
                except Exception as exc:
                    if not self._gives_way(exc, request, payload):
                        raise
                return await self._reply(self._request(payload))

    async def _pieces_at_any_temperature(self, payload: AgentPayload) -> AsyncGenerator[Piece, None]:
        limit = self._time_limit()
        with self._errors():
            while True:
                request = self._request(payload)
                try:
                    async with aclosing(limit.over(self._pieces(request))) as pieces:
                        async for piece in pieces:
                            yield piece
                except Exception as exc:
                    if not self._gives_way(exc, request, payload):
                        raise
                else:
                    return

    async def _list_cards(self) -> list[Mapping[str, Any]]:
        with self._errors():
            async with self._time_limit().waiting():
                return as_mappings(as_mapping(await self._client.models.list()).get("data"))

    async def _find_window(self) -> int:
        configured = self._settings.context_window
        try:
            told = card_window(await self._list_cards(), self.model)
        except BackendError:
            if configured is None:
                raise
            told = None
        windows = [window for window in (configured, told) if window is not None]
        if not windows:
            message = (
                f"The server at {self._server.place} does not say how many tokens {self.model!r} reads. "
                f"Set context_window under [agent.{self.engine}]."
            )
            raise ConfigError(message)
        return min(windows)

    def _response(self, payload: AgentPayload, reply: Reply, total: float) -> AgentResponse:
        stops = StopFilter(payload.generation.stop)  # servers should have cut there, but some leave the stop text in
        output = output_format(payload.output_schema)
        parsed = split_answer(stops.feed(reply.text) + stops.finish(), structured=output is not None)
        calls: tuple[ToolCall, ...] = (*reply.tool_calls, *parsed.tool_calls)
        finish_reason = "stop" if stops.stopped else reply.finish_reason
        self._learn_size(payload, parsed.response, reply.usage)
        return AgentResponse(
            response=parsed.response,
            thinking="\n".join(text for text in (reply.reasoning.strip(), parsed.thinking) if text),
            code=parsed.code,
            tool_calls=calls,
            parsed=output.parse(parsed.response, finish_reason) if output and not calls else None,
            metadata={
                "engine": self.engine,
                "model": self.model,
                "finish_reason": "tool_calls" if calls and finish_reason == "stop" else finish_reason,
                "session_id": payload.session_id,
                "usage": reply.usage,
                "timings": Timings(queued=0.0, first_token=None, total=total),
            },
        )

    def _learn_size(self, payload: AgentPayload, answer: str, usage: Usage | None) -> None:
        """Keep what the server counted: for this prompt, and with the answer as the next turn will repeat it."""
        if usage is None:
            return
        messages = build_messages(payload)
        answered = [*messages, {"role": "assistant", "content": answer}]
        self._sizes.learn(messages, payload.tools_available, usage.prompt_tokens)
        self._sizes.learn(answered, payload.tools_available, usage.total_tokens)
