"""Agents over models that run in this process, with transformers."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llm_backend.errors import AgentClosedError, ContextWindowError
from llm_backend.llms.agent import Agent, as_payload, is_cancelled
from llm_backend.llms.answer_parsing import AnswerParser
from llm_backend.llms.engines.huggingface.constrained_decoding import constrain
from llm_backend.llms.engines.huggingface.decoding import GenerationRequest
from llm_backend.llms.engines.huggingface.loaded_models import release
from llm_backend.llms.engines.huggingface.loading import choose_context_window, engine_errors, load_model
from llm_backend.llms.engines.huggingface.model import GenerationCancelledError
from llm_backend.llms.payloads import AgentResponse, End, UsageEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from concurrent.futures import Future

    from llm_backend.llms.engines.huggingface.decoding import RawAnswer
    from llm_backend.llms.engines.huggingface.model import LoadedModel
    from llm_backend.llms.engines.huggingface.prompts import Prompt
    from llm_backend.llms.models.store import ResolvedModel
    from llm_backend.llms.payloads import AgentPayload, Effort, Event
    from llm_backend.llms.settings.agent_settings import AgentSettings
    from llm_backend.llms.structured_output import OutputFormat

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "HuggingFaceAgent"]

DEFAULT_MAX_NEW_TOKENS = 512
# The variables that a chat template must use to control a model's reasoning.
_REASONING_WORDS = ("enable_thinking", "reasoning_effort")


class HuggingFaceAgent(Agent):
    """An agent whose model runs in this process. Make one with ``create``.

    Answers are generated on the model's own thread, so the event loop stays free. Decoding is greedy unless a
    temperature above 0 is set.
    """

    def __init__(self, settings: AgentSettings, resolved: ResolvedModel, loaded: LoadedModel) -> None:
        self._settings = settings
        self._resolved = resolved
        self._loaded = loaded
        self._closed = self._unopened = False
        self._running: dict[Future[RawAnswer], GenerationRequest] = {}
        template = str(loaded.tokenizer.chat_template)
        self._governs_reasoning = any(word in template for word in _REASONING_WORDS)
        self._context_window = choose_context_window(resolved.name, loaded, settings.context_window)

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Find, check and load the model, all in a worker thread.

        Raises:
            ModelNotFoundError: nothing has the model's name.
            ModelFormatError: it is not a complete model.
            InsufficientMemoryError: it does not fit into free memory.
            MissingExtraError: a quantised load needs bitsandbytes, which is not installed.
            ConfigError: the device does not exist or cannot quantise, or the context window is wider than the model's.
            EngineError: this process is a fork of one that has loaded a model.

        """
        work = asyncio.get_running_loop().run_in_executor(None, load_model, settings)
        try:
            resolved, loaded = await asyncio.shield(work)
        except asyncio.CancelledError:
            # The thread continues; a caller that gave up must not leave the weights in memory forever.
            work.add_done_callback(_release_result)
            raise
        try:
            return cls(settings, resolved, loaded)
        except BaseException:
            await asyncio.to_thread(release, loaded, settings.keep_alive)
            raise

    @property
    def identity(self) -> dict[str, str]:
        """The engine, the model, its files and how they were loaded, and the options chosen by settings."""
        options = f"{self._settings.generation_defaults()}, {self._settings.reasoning_effort!r}"
        loaded = f"{self._loaded.key}"
        return {"engine": "huggingface", "model": self._resolved.name, "loaded": loaded, "options": options}

    async def invoke(self, payload: AgentPayload | str) -> AgentResponse:
        """Answer ``payload``.

        Raises:
            AgentClosedError: the agent is closed, or was closed while it answered.
            ContextWindowError: the prompt is longer than the context window.
            PayloadError: the model's chat template refuses the conversation, or the output schema cannot be enforced.
            StructuredOutputError: ``max_new_tokens`` or a stop text cut the JSON that was asked for.
            EngineBusyError: ``max_queued`` requests are already waiting for this model.
            EngineError: the model failed.

        """
        payload, pieces = as_payload(payload), list[str]()
        prompt, parser, request = await self._request(payload, pieces.append)
        raw = await self._finished(self._submit(request), request)
        parser.feed("".join(pieces))
        parser.finish()
        parsed = parser.result()
        self._unopened = self._unopened or parser.closed_unopened
        return AgentResponse(
            response=parsed.response,
            thinking=parsed.thinking,
            code=parsed.code,
            tool_calls=parsed.tool_calls,
            parsed=prompt.output.parse(parsed.response, raw.finish_reason) if prompt.output else None,
            metadata={
                "engine": "huggingface",
                "model": self._resolved.name,
                "weights_digest": self._resolved.weights_digest,
                "device": self._loaded.device,
                "dtype": self._loaded.key.dtype,
                "quantization": self._loaded.key.quantization,
                "finish_reason": "tool_calls" if parsed.tool_calls else raw.finish_reason,
                "session_id": payload.session_id,
                "usage": raw.usage,
                "timings": raw.timings,
                "notes": self._notes(payload, prompt, parsed.thinking),
            },
        )

    async def stream_events(self, payload: AgentPayload | str) -> AsyncGenerator[Event, None]:
        """Yield all events of the answer as it is generated; raises as ``invoke`` does."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        listening = True

        def pass_on(piece: str | None) -> None:
            if loop.is_closed():
                request.cancelled.set()  # nobody can read or close the stream any more
            elif listening:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        prompt, parser, request = await self._request(as_payload(payload), pass_on)
        future = self._submit(request)
        future.add_done_callback(lambda _: pass_on(None))
        try:
            while (piece := await pieces.get()) is not None:
                for event in parser.feed(piece):
                    yield event
            raw = await self._finished(future, request)
            for event in parser.finish():
                yield event
            self._unopened = self._unopened or parser.closed_unopened
            if prompt.output:
                prompt.output.parse(parser.result().response, raw.finish_reason)
            yield UsageEvent(usage=raw.usage, timings=raw.timings)
            yield End("tool_calls" if parser.result().tool_calls else raw.finish_reason)
        finally:
            listening = False
            _give_up(future, request)

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together, as the model says or the settings narrow it."""
        self._check_usable()
        return self._context_window

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """How many tokens ``invoke`` would give the model for ``payload``: exact, by its template and tokenizer.

        Raises:
            PayloadError: the model's chat template refuses the conversation.
        """
        return len((await self._prompt(as_payload(payload))).ids)

    async def supports_streaming(self) -> bool:
        """Whether answers can be streamed: always."""
        self._check_usable()
        return True

    async def aclose(self) -> None:
        """Stop what is running and release the weights.

        They are freed ``keep_alive`` seconds after the model's last agent has closed.
        """
        if self._closed:
            return
        self._closed = True
        for future, request in list(self._running.items()):
            _give_up(future, request)
        await asyncio.shield(asyncio.to_thread(release, self._loaded, self._settings.keep_alive))

    def _check_usable(self) -> None:
        if self._closed:
            message = f"This agent of {self._resolved.name!r} is closed. Load a new one with load_agent()."
            raise AgentClosedError(message)
        self._loaded.refuse_fork()

    async def _request(
        self, payload: AgentPayload, on_text: Callable[[str], object]
    ) -> tuple[Prompt, AnswerParser, GenerationRequest]:
        options = payload.generation.over(self._settings.generation_defaults())
        prompt = await self._prompt(payload)
        self._check_usable()
        room = self._context_window - len(prompt.ids)
        if room < 1:
            message = (
                f"The prompt has {len(prompt.ids)} tokens, but {self._resolved.name!r} reads at most "
                f"{self._context_window}, answer included. Shorten the message or the memory."
            )
            raise ContextWindowError(message, prompt_tokens=len(prompt.ids), context_window=self._context_window)
        limit = min(options.max_new_tokens or DEFAULT_MAX_NEW_TOKENS, room)
        stops = (*options.stop, *prompt.stops, *self._loaded.stop_texts)
        options = replace(options, max_new_tokens=limit, stop=stops)
        request = GenerationRequest(
            prompt_ids=prompt.ids,
            options=options,
            on_text=on_text,
            constraint=await self._constraint(prompt.output, len(prompt.ids)) if prompt.output else None,
        )
        parser = AnswerParser(
            thinking=prompt.thinking,
            structured=prompt.output is not None,
            tools=payload.tools_available,
            unopened=self._unopened,
        )
        return prompt, parser, request

    async def _constraint(self, output: OutputFormat, prompt_length: int) -> Any:  # noqa: ANN401  (a LogitsProcessor)
        with engine_errors(self._resolved.name, self._loaded.key.device):
            constraint = await asyncio.to_thread(
                constrain,
                self._loaded.tokenizer,
                output.schema,
                prompt_length=prompt_length,
                vocabulary_size=self._loaded.model.config.get_text_config().vocab_size,
                end_tokens=self._loaded.end_tokens(),
            )
        self._check_usable()
        return constraint

    async def _prompt(self, payload: AgentPayload) -> Prompt:
        self._check_usable()
        prompts = self._loaded.prompts  # taken now, because they are gone if the agent is closed meanwhile
        return await asyncio.to_thread(prompts.make, payload, self._effort(payload), self._resolved.name)

    def _effort(self, payload: AgentPayload) -> Effort | None:
        chosen = payload.reasoning_effort or self._settings.reasoning_effort
        return chosen.effort if chosen else None

    def _notes(self, payload: AgentPayload, prompt: Prompt, thinking: str) -> tuple[str, ...]:
        """Notes on what in the request had no effect on this model, or only some."""
        effort, name, reason = self._effort(payload), repr(self._resolved.name), None
        if effort == "none":
            reason = f"{name} reasons anyway" if thinking else None
        elif effort and payload.output_schema is not None:
            reason = "an answer by output_schema is JSON from the start"
        elif effort and not self._governs_reasoning:
            reason = f"the chat template of {name} has no such setting"
        notes = [f"The reasoning effort {effort!r} has no effect: {reason}."] if reason else []
        if not prompt.reads_calls:
            notes.append(
                f"Tool calls in the format of {name} cannot be read here, and stay in the answer. Let an inference "
                "server read them (engine openai)."
            )
        return tuple(notes)

    def _submit(self, request: GenerationRequest) -> Future[RawAnswer]:
        future = self._loaded.submit(request, self._settings.max_queued)
        self._running[future] = request
        future.add_done_callback(self._running.pop)
        return future

    async def _finished(self, future: Future[RawAnswer], request: GenerationRequest) -> RawAnswer:
        try:
            with engine_errors(self._resolved.name, self._loaded.key.device):
                return await asyncio.wrap_future(future)
        except (asyncio.CancelledError, GenerationCancelledError):
            _give_up(future, request)
            if not is_cancelled():
                self._check_usable()
            raise


def _give_up(future: Future[RawAnswer], request: GenerationRequest) -> None:
    """Stop an answer that nobody waits for: remove it from the queue at once, or stop it at the next token."""
    request.cancelled.set()
    future.cancel()


def _release_result(work: asyncio.Future[tuple[ResolvedModel, LoadedModel]]) -> None:
    if not work.cancelled() and work.exception() is None:
        threading.Thread(target=release, args=[work.result()[1], 0]).start()
