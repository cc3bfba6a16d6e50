"""Assembles an answer from a server's words, whole or in pieces, with the same result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llm_backend.errors import EngineResponseError
from llm_backend.llms.answer_parsing import AnswerParser, StopFilter
from llm_backend.llms.engines.server.chat_format import Piece, graver_reason
from llm_backend.llms.message_extras import merged
from llm_backend.llms.payloads import AgentResponse, End, Timings, ToolCallEvent, UsageEvent
from llm_backend.llms.tools.openai_calls import read_calls, tool_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llm_backend.llms.payloads import Event, ToolCall, Usage
    from llm_backend.llms.prepared_request import PreparedRequest

__all__ = ["ServerAnswer"]


class ServerAnswer:
    """Takes the pieces as they come, and returns what is certain, as events.

    Attributes:
        request: the request it answers.
        stream: whether it comes in pieces.
        begun: whether anything has come.
        response: the whole answer, once finished.
    """

    response: AgentResponse

    def __init__(
        self, request: PreparedRequest, *, stream: bool, engine: str, model: str, unopened: bool = False
    ) -> None:
        self.request, self.stream = request, stream
        self._engine, self._model, tools = engine, model, request.payload.tools_available
        self._offered = frozenset(map(tool_name, tools))
        self._parser = AnswerParser(structured=request.output is not None, tools=tools, unopened=unopened)
        # Servers should cut there, but some leave the stop text in the answer.
        self._stops = StopFilter(request.payload.generation.stop)
        self._calls: list[Mapping[str, Any]] = []
        self._extras: list[Mapping[str, Any]] = []
        self._finish_reason = ""
        self._started = time.perf_counter()
        self._first_token: float | None = None
        self._usage: Usage | None = None
        self._choice: int | None = None
        self._whole: Piece | None = None
        self.begun = self._told = self._reasoned = self._done = False

    @property
    def stopped(self) -> bool:
        """Whether a stop text ended it: nothing after that is part of the answer."""
        return self._stops.stopped

    @property
    def closed_unopened(self) -> bool:
        """Whether it closed a block of reasoning that nothing opened; ``unopened`` is that an earlier one did."""
        return self._parser.closed_unopened

    @property
    def ended(self) -> bool:
        """Whether the answer is complete."""
        said = bool(self._calls) or self._told or self._whole is not None
        return self.stopped or bool(self._finish_reason) or not self.stream or (self._done and said)

    def feed(self, piece: Piece) -> list[Event]:
        """What is certain after ``piece``."""
        self.begun = True
        if piece.choice is not None:
            self._choice = piece.choice if self._choice is None else self._choice
            if piece.choice != self._choice:
                return []  # it belongs to another answer, which extra_body may ask for
        self._whole = piece.whole or self._whole
        self._told, self._done = self._told or bool(piece.text), self._done or piece.done
        self._reasoned = self._reasoned or bool(piece.reasoning)
        if self.stream and self._first_token is None and (piece.text or piece.reasoning or piece.calls):
            self._first_token = time.perf_counter() - self._started
        self._calls += piece.calls
        self._extras.append(piece.extras)
        self._usage = piece.usage or self._usage
        self._finish_reason = graver_reason(self._finish_reason, piece.finish_reason)
        reasoning, text = _sound(piece.reasoning), _sound(piece.text)
        return _not_calls([*self._parser.reason(reasoning), *self._parser.feed(self._stops.feed(text))])

    def _missing(self, whole: Piece) -> Piece:
        """The parts of ``whole`` that did not come in pieces."""
        return Piece(
            text="" if self._told else whole.text,
            reasoning="" if self._reasoned else whole.reasoning,
            calls=[] if self._calls else whole.calls,
            extras={} if any(self._extras) else whole.extras,
        )

    def finish(self) -> Iterator[Event]:
        """The rest that was held back, the tool calls, and the figures.

        Raises:
            EngineResponseError: a tool call cannot be read.
            StructuredOutputError: the answer does not fit the payload's output schema, or was cut short.
        """
        if self._whole and not self.stopped:
            yield from self.feed(self._missing(self._whole))
        yield from _not_calls(self._parser.feed(self._stops.finish()))
        yield from _not_calls(self._parser.finish())
        found, calls = self._parser.result(), self._all_calls()
        reason = "stop" if self.stopped else self._finish_reason or "stop"
        if reason == "tool_calls" and not calls:
            message = "The server says that the model calls tools, but not which. Check the server's log."
            raise EngineResponseError(message)
        reason = "tool_calls" if calls and reason == "stop" else reason
        output = self.request.output
        parsed = output.parse(found.response, reason) if output and not calls else None
        timings = Timings(queued=0.0, first_token=self._first_token, total=time.perf_counter() - self._started)
        self.response = AgentResponse(
            response=found.response,
            thinking=found.thinking,
            code=found.code,
            tool_calls=calls,
            parsed=parsed,
            metadata={
                "engine": self._engine,
                "model": self._model,
                "finish_reason": reason,
                "session_id": self.request.payload.session_id,
                "usage": self._usage,
                "timings": timings,
            },
            extras=merged(self._extras),
        )
        yield from map(ToolCallEvent, calls)
        yield UsageEvent(usage=self._usage, timings=timings)
        yield End(reason, self.response.extras)

    def _all_calls(self) -> tuple[ToolCall, ...]:
        """The calls written in the text and those beside it; a call that came both ways is the server's, with its id.

        Raises:
            EngineResponseError: a call cannot be read.
        """
        how = {"whole": not self.stream, "cut": self._finish_reason == "length"}
        beside = () if self.stopped else read_calls(self._calls, self._offered, **how)
        twice = [(call.name, call.arguments) for call in beside]
        in_text: list[ToolCall] = []
        for call in self._parser.result().tool_calls:
            told = (call.name, call.arguments)
            if told in twice:
                twice.remove(told)
            else:
                in_text.append(call)
        return (*in_text, *beside)


def _not_calls(events: Iterable[Event]) -> list[Event]:
    """The events without calls, which come at the end: the server may still repeat them, with their ids."""
    return [event for event in events if not isinstance(event, ToolCallEvent)]


def _sound(text: str) -> str:
    """``text`` without lone surrogates, which JSON can carry but nobody can print or send back."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
