"""One model in memory: its weights, its tokenizer, and the one thread that runs it.

Agents of the same model share it. Loading and freeing happen under one process-wide lock, because two
``from_pretrained`` at once leave broken models behind; generation happens on one persistent thread for each
model, because ``generate`` keeps state on the model that it is called on
(https://github.com/huggingface/transformers/issues/48286).

Each generation, also one that was cancelled or failed, ends with one audit event (PEP 578) for whoever listens with
``sys.addaudithook``: ``llm_backend.generate`` with the model's directory as str, the tokens generated as int, and the
seconds that it took as float. It carries nothing that a user wrote, and costs nothing when nobody listens.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tokenizers.decoders import DecodeStream
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from backend.errors import ModelFormatError
from backend.llms.answer_parsing import StopFilter
from backend.llms.gguf_conversion import loading
from backend.llms.payloads import Timings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.llms.payloads import GenerationOptions

__all__ = [
    "GenerationCancelledError",
    "GenerationRequest",
    "LoadedModel",
    "ModelKey",
    "RawAnswer",
    "acquire",
    "encode",
    "release",
]

# A prompt is read in pieces of this many tokens, so that an abandoned request stops between two of them.
PREFILL_CHUNK = 512
GENERATE_EVENT = "llm_backend.generate"
# Below it, scores divided by it leave the range of float32; and no two tokens are so near that it is not greedy.
LOWEST_TEMPERATURE = 1e-6


class GenerationCancelledError(Exception):
    """Nobody waits for this answer any more. Never leaves the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What makes two agents share one set of weights."""

    directory: Path
    device: str
    trust_remote_code: bool = False
    load_in_8bit: bool = False
    load_in_4bit: bool = False


@dataclass(slots=True, kw_only=True)
class GenerationRequest:
    """One answer to generate.

    Attributes:
        prompt_ids: the prompt, as token ids.
        options: with ``max_new_tokens`` and ``temperature`` decided.
        on_text: is given the raw text piece by piece, on the model's thread.
        cancelled: set it to stop the work at the next token, or at the next piece of the prompt.
        submitted: when the request was made, on ``time.perf_counter``'s clock.

    """

    prompt_ids: list[int]
    options: GenerationOptions
    on_text: Callable[[str], object]
    cancelled: threading.Event = field(default_factory=threading.Event)
    submitted: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """What came of a request, apart from its text.

    Attributes:
        completion_tokens: tokens generated, the closing one included.
        finish_reason: "stop" or "length".
        timings: in seconds.

    """

    completion_tokens: int
    finish_reason: str
    timings: Timings


class LoadedModel:
    """A model and its tokenizer in memory, and the thread that generates with them."""

    def __init__(self, key: ModelKey) -> None:
        self.key = key
        self.users = 0
        self.tokenizer = _load_tokenizer(key)
        self.model = _load_weights(key)
        self.device = str(self.model.device)
        self._current: GenerationRequest | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self.model.register_forward_pre_hook(self._stop_if_cancelled)

    def submit(self, request: GenerationRequest) -> Future[RawAnswer]:
        """Queue a request; its text arrives through ``request.on_text``, and its end raises the audit event."""
        return self._thread.submit(self._run, request)

    def free(self) -> None:
        """Let go of everything; what is still running ends first."""
        self._thread.shutdown(cancel_futures=True)
        self.model = self.tokenizer = None
        gc.collect()
        torch.cuda.empty_cache()
        _return_memory_to_system()

    def _stop_if_cancelled(self, *_: object) -> None:
        if self._current is not None and self._current.cancelled.is_set():
            raise GenerationCancelledError

    def _run(self, request: GenerationRequest) -> RawAnswer:
        started = time.perf_counter()
        self._current = request
        watch = _Watch(request, self.tokenizer.backend_tokenizer, started)
        try:
            self._generate(request, watch)
        finally:
            self._current = None
            sys.audit(GENERATE_EVENT, str(self.key.directory), watch.tokens, time.perf_counter() - started)
        request.on_text(watch.stop_filter.finish())
        ended_early = watch.stop_filter.stopped or watch.last_token in self._end_tokens()
        return RawAnswer(
            completion_tokens=watch.tokens,
            finish_reason="stop" if ended_early else "length",
            timings=Timings(
                queued=started - request.submitted,
                first_token=watch.first_token_after,
                total=time.perf_counter() - started,
            ),
        )

    def _generate(self, request: GenerationRequest, watch: _Watch) -> None:
        config = copy.deepcopy(self.model.generation_config)
        config.update(
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_length=None,
            num_beams=1,
            max_new_tokens=request.options.max_new_tokens,
            prefill_chunk_size=PREFILL_CHUNK,
            use_cache=True,
        )
        if config.pad_token_id is None:
            config.pad_token_id = min(self._end_tokens(), default=0)
        prompt = torch.tensor([request.prompt_ids], device=self.model.device)
        with torch.inference_mode():
            self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=config,
                logits_processor=_sampling(request.options, self.model.device),
                stopping_criteria=StoppingCriteriaList([watch]),
            )

    def _end_tokens(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends} - {None}


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Sees each new token: decodes it, passes its text on, and ends the answer at a stop text.

    Used in place of transformers' streamers, which hang for ever when ``generate`` raises
    (https://github.com/huggingface/transformers/issues/22576).
    """

    def __init__(self, request: GenerationRequest, tokenizer: Any, started: float) -> None:  # noqa: ANN401
        self.stop_filter = StopFilter(request.options.stop)
        self.tokens = 0
        self.last_token: int | None = None
        self.first_token_after: float | None = None
        self._request = request
        self._tokenizer = tokenizer
        self._started = started
        self._decoder = DecodeStream(skip_special_tokens=True)

    def __call__(self, input_ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        self.tokens += 1
        self.last_token = int(input_ids[0, -1])
        if self.first_token_after is None:
            self.first_token_after = time.perf_counter() - self._started
        text = self._decoder.step(self._tokenizer, self.last_token)
        if text:
            self._request.on_text(self.stop_filter.feed(text))
        return torch.tensor([self.stop_filter.stopped], device=input_ids.device)


class _GumbelNoise(LogitsProcessor):  # type: ignore[misc]
    """Makes the greedy choice a sample from the softmax of the scores (Gumbel 1954, the Gumbel-max trick).

    With a generator of its own for each request, a seed repeats an answer whatever else the process draws from
    torch's global generator, and that one is left alone.
    """

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def __call__(self, _input_ids: object, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32).exponential_(generator=self._generator)
        return scores.float() - noise.log()


def _sampling(options: GenerationOptions, device: torch.device) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if not options.temperature:
        return processors
    processors.append(TemperatureLogitsWarper(max(float(options.temperature), LOWEST_TEMPERATURE)))
    if options.top_k is not None:
        processors.append(TopKLogitsWarper(options.top_k))
    if options.top_p is not None:
        processors.append(TopPLogitsWarper(options.top_p))
    processors.append(_GumbelNoise(options.seed, device))
    return processors


_LOCK = threading.Lock()
_models: dict[ModelKey, LoadedModel] = {}


def acquire(key: ModelKey, before_load: Callable[[], None]) -> LoadedModel:
    """The model of ``key``, loaded when nobody holds it yet; each call needs one ``release``. Blocks.

    ``before_load`` is called under the lock when weights are about to be loaded; it may refuse by raising.
    """
    with _LOCK:
        if key not in _models:
            before_load()
            _models[key] = LoadedModel(key)
        _models[key].users += 1
        return _models[key]


def release(model: LoadedModel) -> None:
    """Give back what ``acquire`` gave; the last user's release frees the weights. Blocks."""
    with _LOCK:
        model.users -= 1
        if model.users == 0:
            del _models[model.key]
            model.free()


def encode(tokenizer: Any, text: str, *, add_special_tokens: bool) -> list[int]:  # noqa: ANN401
    """The token ids of ``text``. May be called on any thread."""
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
    return ids


def _load_tokenizer(key: ModelKey) -> Any:  # noqa: ANN401  (transformers is not typed)
    tokenizer = AutoTokenizer.from_pretrained(
        key.directory, local_files_only=True, trust_remote_code=key.trust_remote_code
    )
    if not tokenizer.is_fast:
        message = (
            f"The model in {str(key.directory)!r} has no tokenizer.json. Convert its tokenizer to the fast format."
        )
        raise ModelFormatError(message)
    # A prompt is never cut silently; and encoding that changes no state is safe on any thread.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _load_weights(key: ModelKey) -> Any:  # noqa: ANN401  (transformers is not typed)
    quantization = {}
    if key.load_in_8bit or key.load_in_4bit:
        quantization["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=key.load_in_8bit, load_in_4bit=key.load_in_4bit
        )
    with loading():
        model, info = AutoModelForCausalLM.from_pretrained(
            key.directory,
            dtype="auto",
            local_files_only=True,
            trust_remote_code=key.trust_remote_code,
            output_loading_info=True,
            **quantization,
        )
    lacking = sorted(info["missing_keys"]) + [name for name, weight in model.named_parameters() if weight.is_meta]
    if lacking:
        message = (
            f"The model in {str(key.directory)!r} lacks {len(lacking)} of its weights, {lacking[0]!r} first. "
            "Fetch it anew, or choose another model."
        )
        raise ModelFormatError(message)
    return model.to(key.device).eval()


def _return_memory_to_system() -> None:
    """Glibc keeps freed memory for itself: without this, hundreds of megabytes stay resident."""
    # Only glibc has malloc_trim: elsewhere there is no C library to load, or no such function in it.
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
