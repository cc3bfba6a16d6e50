"""How scores become tokens, and tokens become text: the parts that ``generate`` gets for one request."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tokenizers.decoders import DecodeStream
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llm_backend.llms.answer_parsing import MARKS, StopFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from llm_backend.llms.payloads import GenerationOptions, Timings, Usage

__all__ = ["GenerationRequest", "RawAnswer", "Watch", "logits_processors"]

# Below it, divided scores leave the range of float32; and no two tokens are so close that it is not greedy.
LOWEST_TEMPERATURE = 1e-6


@dataclass(slots=True, kw_only=True)
class GenerationRequest:
    """One answer to generate.

    Attributes:
        prompt_ids: the prompt, as token ids.
        options: with ``max_new_tokens`` and ``temperature`` set.
        on_text: receives the raw text piece by piece, on the model's thread.
        constraint: changes the scores before each token is chosen, as constrained decoding does.
        cancelled: set it to stop at the next token, or at the next piece of the prompt.
        submitted: when the request was made, on ``time.perf_counter``'s clock.

    """

    prompt_ids: list[int]
    options: GenerationOptions
    on_text: Callable[[str], object]
    constraint: LogitsProcessor | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    submitted: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """The outcome of a request, apart from its text.

    Attributes:
        usage: tokens of the prompt, and of the answer including the closing one.
        finish_reason: "stop" or "length".
        timings: in seconds.

    """

    usage: Usage
    finish_reason: str
    timings: Timings


class Watch(StoppingCriteria):  # type: ignore[misc]
    """Takes each new token, decodes it, passes its text on, and ends the answer at a stop text.

    Used instead of transformers' streamers, which hang forever if ``generate`` raises
    (https://github.com/huggingface/transformers/issues/22576).
    """

    def __init__(
        self,
        request: GenerationRequest,
        tokenizer: Any,  # noqa: ANN401  (tokenizers is not typed)
        started: float,
        end_tokens: Collection[int] = (),
    ) -> None:
        self.stop_filter = StopFilter(request.options.stop)
        self.tokens = 0
        self.last_token: int | None = None
        self.first_token_after: float | None = None
        self._request = request
        self._tokenizer = tokenizer
        self._started = started
        self._decoder = DecodeStream(skip_special_tokens=True)
        # Some tokenizers treat marks as special tokens, not as text; others do so with stop texts. What ends a message
        # for one model ends the answer for another, where it is not text.
        marks = {tokenizer.token_to_id(mark): mark for mark in MARKS}
        self._marks = {token: mark for token, mark in marks.items() if token not in end_tokens}
        self._stops = {tokenizer.token_to_id(stop) for stop in request.options.stop}

    def __call__(self, input_ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        """Take the newest token; true if the answer ends with it."""
        self.tokens += 1
        self.last_token = int(input_ids[0, -1])
        if self.first_token_after is None:
            self.first_token_after = time.perf_counter() - self._started
        if self.last_token in self._stops:
            self.stop_filter.stopped = True
        elif text := self._marks.get(self.last_token) or self._decoded(self.last_token):
            self._request.on_text(self.stop_filter.feed(text))
        return torch.tensor([self.stop_filter.stopped], device=input_ids.device)

    def _decoded(self, token: int) -> str | None:
        """The characters that ``token`` completes."""
        try:
            text: str | None = self._decoder.step(self._tokenizer, token)
        except Exception:  # noqa: BLE001  (it has no exception class of its own)
            # Invalid UTF-8 changed how the bytes before it are read, some of which were already passed on:
            # https://github.com/vllm-project/vllm/issues/17448
            self._decoder = DecodeStream(skip_special_tokens=True)
            text = self._decoder.step(self._tokenizer, token)
        return text


def logits_processors(request: GenerationRequest, device: torch.device) -> LogitsProcessorList:
    """Everything that changes a request's scores, in order: first what it may say, then how tokens are sampled."""
    options = request.options
    processors = LogitsProcessorList([request.constraint] if request.constraint else [])
    if not options.temperature:
        return processors
    processors.append(TemperatureLogitsWarper(max(float(options.temperature), LOWEST_TEMPERATURE)))
    if options.top_k is not None:
        processors.append(TopKLogitsWarper(options.top_k))
    if options.top_p is not None:
        processors.append(TopPLogitsWarper(options.top_p))
    processors.append(_GumbelNoise(options.seed, device))
    return processors


class _GumbelNoise(LogitsProcessor):  # type: ignore[misc]
    """Turns the greedy choice into a sample from the softmax of the scores (Gumbel 1954, the Gumbel-max trick).

    Each request has its own generator, so a seed repeats an answer whatever else the process draws from torch's
    global generator, which is left alone.
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
