"""Agents over models that run in this process, with transformers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import jinja2
import torch

from backend.errors import (
    AgentClosedError,
    BackendError,
    ConfigError,
    ContextWindowError,
    EngineError,
    InsufficientMemoryError,
    MissingExtraError,
    ModelFormatError,
    PayloadError,
)
from backend.llms.answer_parsing import AnswerParser
from backend.llms.engines.huggingface_model import (
    GenerationCancelledError,
    GenerationRequest,
    LoadedModel,
    ModelKey,
    acquire,
    encode,
    release,
)
from backend.llms.model_store import resolve_model
from backend.llms.payloads import AgentResponse, End, Usage, UsageEvent
from backend.llms.prompting import build_messages, build_text_messages, plain_prompt
from backend.llms.protocol import only_text
from backend.llms.safety import ensure_ram, get_available_vram, model_memory_requirements, pick_device

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from backend.llms.config import AgentSettings
    from backend.llms.engines.huggingface_model import RawAnswer
    from backend.llms.model_store import ResolvedModel
    from backend.llms.payloads import AgentPayload, Event

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "HuggingFaceAgent"]

DEFAULT_MAX_NEW_TOKENS = 512


class HuggingFaceAgent:
    """An agent whose model runs in this process. Make one with ``create``.

    Answers are generated on the model's own thread, so the event loop stays free. Greedy decoding unless a
    temperature above 0 is chosen.
    """

    def __init__(self, settings: AgentSettings, resolved: ResolvedModel, loaded: LoadedModel) -> None:
        self._settings = settings
        self._resolved = resolved
        self._loaded = loaded
        self._closed = False
        self._running: dict[Future[RawAnswer], threading.Event] = {}
        self._context_window = _context_window(loaded, settings)

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Find, check and load the model, all in a worker thread.

        Raises:
            ModelNotFoundError: nothing has the model's name.
            ModelFormatError: it is no whole model.
            InsufficientMemoryError: it does not fit into the memory that is free.
            MissingExtraError: a quantised load needs bitsandbytes, which is not installed.
            ConfigError: the device does not exist, or the context window is wider than the model's.

        """
        work = asyncio.get_running_loop().run_in_executor(None, _load, settings)
        try:
            resolved, loaded = await asyncio.shield(work)
        except asyncio.CancelledError:
            # The thread goes on; whoever gave up must not leave the weights in memory for ever.
            work.add_done_callback(_release_result)
            raise
        try:
            return cls(settings, resolved, loaded)
        except BaseException:
            await asyncio.to_thread(release, loaded)
            raise

    async def invoke(self, payload: AgentPayload) -> AgentResponse:
        """Answer ``payload``.

        Raises:
            AgentClosedError: the agent is closed, or was closed while it answered.
            ContextWindowError: the prompt is longer than the context window.
            PayloadError: the model's chat template refuses the conversation.
            EngineError: the model failed.

        """
        pieces: list[str] = []
        parser, request = await self._request(payload, pieces.append)
        raw = await self._finished(self._submit(request), request)
        parser.feed("".join(pieces))
        parser.finish()
        parsed = parser.result()
        return AgentResponse(
            response=parsed.response,
            thinking=parsed.thinking,
            code=parsed.code,
            tool_calls=parsed.tool_calls,
            metadata={
                "engine": "huggingface",
                "model": self._resolved.name,
                "weights_digest": self._resolved.weights_digest,
                "device": self._loaded.device,
                "finish_reason": "tool_calls" if parsed.tool_calls else raw.finish_reason,
                "session_id": payload.session_id,
                "usage": _usage(request, raw),
                "timings": raw.timings,
            },
        )

    async def invoke_with_tools(self, payload: AgentPayload, tools: Sequence[Mapping[str, Any]]) -> AgentResponse:
        """Answer ``payload`` with ``tools`` in place of its own; raises as ``invoke`` does."""
        return await self.invoke(replace(payload, tools_available=tools))

    def stream(self, payload: AgentPayload) -> AsyncGenerator[str, None]:
        """Yield the answer's text as it is generated; raises as ``invoke`` does."""
        return only_text(self.stream_events(payload))

    async def stream_events(self, payload: AgentPayload) -> AsyncGenerator[Event, None]:
        """Yield all that the answer holds as it is generated; raises as ``invoke`` does."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        listening = True

        def pass_on(piece: str | None) -> None:
            if listening:  # afterwards nobody reads, and the loop may be closed
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        parser, request = await self._request(payload, pass_on)
        future = self._submit(request)
        future.add_done_callback(lambda _: pass_on(None))
        try:
            while (piece := await pieces.get()) is not None:
                for event in parser.feed(piece):
                    yield event
            raw = await self._finished(future, request)
            for event in parser.finish():
                yield event
            yield UsageEvent(usage=_usage(request, raw), timings=raw.timings)
            yield End("tool_calls" if parser.result().tool_calls else raw.finish_reason)
        finally:
            listening = False
            request.cancelled.set()

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together, as the model says or the settings narrow it."""
        self._refuse_when_closed()
        return self._context_window

    async def count_tokens(self, payload: AgentPayload) -> int:
        """How many tokens ``invoke`` would give the model for ``payload``: exactly, by its template and tokenizer.

        Raises:
            PayloadError: the model's chat template refuses the conversation.
        """
        self._refuse_when_closed()
        prompt_ids, _, _ = await asyncio.to_thread(self._encode, self._loaded.tokenizer, payload)
        return len(prompt_ids)

    async def supports_streaming(self) -> bool:
        """Whether answers can be streamed: always."""
        self._refuse_when_closed()
        return True

    async def aclose(self) -> None:
        """Stop what is running and give the weights back; the last agent of a model frees them."""
        if self._closed:
            return
        self._closed = True
        for cancelled in list(self._running.values()):
            cancelled.set()
        await asyncio.shield(asyncio.to_thread(release, self._loaded))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            message = f"This agent of {self._resolved.name!r} is closed. Load a new one with load_agent()."
            raise AgentClosedError(message)

    async def _request(
        self, payload: AgentPayload, on_text: Callable[[str], object]
    ) -> tuple[AnswerParser, GenerationRequest]:
        self._refuse_when_closed()
        options = payload.generation.over(self._settings.generation_defaults())
        # Taken now: an agent that is closed meanwhile has none.
        tokenizer = self._loaded.tokenizer
        prompt_ids, thinking, stops = await asyncio.to_thread(self._encode, tokenizer, payload)
        self._refuse_when_closed()
        room = self._context_window - len(prompt_ids)
        if room < 1:
            message = (
                f"The prompt has {len(prompt_ids)} tokens, but {self._resolved.name!r} reads at most "
                f"{self._context_window}, answer included. Shorten the message or the memory."
            )
            raise ContextWindowError(message, prompt_tokens=len(prompt_ids), context_window=self._context_window)
        limit = min(options.max_new_tokens or DEFAULT_MAX_NEW_TOKENS, room)
        options = replace(options, max_new_tokens=limit, stop=(*options.stop, *stops))
        return AnswerParser(thinking=thinking), GenerationRequest(
            prompt_ids=prompt_ids, options=options, on_text=on_text
        )

    def _encode(
        self,
        tokenizer: Any,  # noqa: ANN401  (transformers is not typed)
        payload: AgentPayload,
    ) -> tuple[list[int], bool, tuple[str, ...]]:
        """The prompt's token ids, whether it opens a block of reasoning, and texts that end the answer."""
        template, tools = tokenizer.chat_template, payload.tools_available
        if template is None:
            prompt, stops = plain_prompt(build_text_messages(payload, tools))
            return encode(tokenizer, prompt, add_special_tokens=True), False, stops
        knows_tools = "tools" in str(template)
        effort = payload.reasoning_effort or self._settings.reasoning_effort
        try:
            prompt = tokenizer.apply_chat_template(
                build_messages(payload, arguments="object") if knows_tools else build_text_messages(payload, tools),
                tools=[dict(tool) for tool in tools] if knows_tools and tools else None,
                add_generation_prompt=True,
                tokenize=False,
                **({"enable_thinking": effort.effort != "none", "reasoning_effort": effort.effort} if effort else {}),
            )
        except jinja2.TemplateError as exc:
            message = (
                f"The chat template of {self._resolved.name!r} refuses this conversation: {exc}. Change its roles."
            )
            raise PayloadError(message) from exc
        return encode(tokenizer, prompt, add_special_tokens=False), prompt.rstrip().endswith("<think>"), ()

    def _submit(self, request: GenerationRequest) -> Future[RawAnswer]:
        future = self._loaded.submit(request)
        self._running[future] = request.cancelled
        future.add_done_callback(self._running.pop)
        return future

    async def _finished(self, future: Future[RawAnswer], request: GenerationRequest) -> RawAnswer:
        try:
            with _engine_errors(self._resolved.name, self._loaded.key.device):
                return await asyncio.wrap_future(future)
        except (asyncio.CancelledError, GenerationCancelledError):
            request.cancelled.set()
            if not _is_cancelled():
                self._refuse_when_closed()
            raise


def _usage(request: GenerationRequest, raw: RawAnswer) -> Usage:
    return Usage(prompt_tokens=len(request.prompt_ids), completion_tokens=raw.completion_tokens)


def _is_cancelled() -> bool:
    """Whether it is the task that is cancelled, and not only the work that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _load(settings: AgentSettings) -> tuple[ResolvedModel, LoadedModel]:
    resolved = resolve_model(settings.model, revision=settings.revision)
    needed = model_memory_requirements(resolved.directory, settings.context_window).total
    key = ModelKey(
        directory=resolved.directory,
        device=_device(settings.device, needed),
        trust_remote_code=settings.trust_remote_code,
        load_in_8bit=settings.load_in_8bit,
        load_in_4bit=settings.load_in_4bit,
    )
    with _load_errors(resolved, key.device):
        return resolved, acquire(key, lambda: ensure_ram(needed if key.device == "cpu" else 0))


def _release_result(work: asyncio.Future[tuple[ResolvedModel, LoadedModel]]) -> None:
    if not work.cancelled() and work.exception() is None:
        threading.Thread(target=release, args=[work.result()[1]]).start()


def _device(wanted: str, needed: int) -> str:
    if wanted == "auto":
        return pick_device(needed)
    kind, _, index = wanted.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(index or 0) >= there:
        message = f"The device {wanted!r} does not exist here: torch sees {there} of that kind. Use 'auto' or 'cpu'."
        raise ConfigError(message)
    return "cuda:0" if wanted == "cuda" else wanted  # one name for one device, so that agents on it share weights


def _context_window(loaded: LoadedModel, settings: AgentSettings) -> int:
    says: Any = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    wanted = settings.context_window
    if says is not None and wanted is not None and wanted > says:
        message = f"context_window is {wanted}, but the model reads at most {says} tokens. Give at most {says}."
        raise ConfigError(message)
    return wanted or int(says)  # with neither, model_memory_requirements has refused the model


@contextmanager
def _load_errors(resolved: ResolvedModel, device: str) -> Iterator[None]:
    """Turn what loading a model can raise into our errors."""
    try:
        yield
    except BackendError:
        raise
    except ImportError as exc:
        message = f"Loading {resolved.name!r} needs a library that is not installed: {exc}"
        raise MissingExtraError(message, name=exc.name) from exc
    except torch.OutOfMemoryError as exc:
        raise _out_of_memory(resolved.name, device) from exc
    except Exception as exc:
        message = (
            f"The model {resolved.name!r} in {str(resolved.directory)!r} cannot be loaded "
            f"({_reason(exc)}). Fetch it anew, or choose another model"
            + (", or set trust_remote_code to true if you trust its code." if "custom code" in str(exc) else ".")
        )
        raise ModelFormatError(message) from exc


@contextmanager
def _engine_errors(model: str, device: str) -> Iterator[None]:
    """Turn what generating can raise into our errors."""
    try:
        yield
    except (BackendError, GenerationCancelledError):
        raise
    except torch.OutOfMemoryError as exc:
        raise _out_of_memory(model, device) from exc
    except Exception as exc:
        message = f"The model {model!r} failed while answering ({_reason(exc)}). Try another model or device."
        raise EngineError(message) from exc


def _reason(exc: Exception) -> str:
    """Name the foreign error, with the first line of what it says: some go on for a page."""
    return f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"


def _out_of_memory(model: str, device: str) -> InsufficientMemoryError:
    free = get_available_vram(torch.device(device).index or 0)
    message = (
        f"The device {device!r} ran out of memory over {model!r}, with {free} bytes left. "
        "Use a smaller model, a shorter prompt, or device 'cpu'."
    )
    return InsufficientMemoryError(message, required=None, available=free)
