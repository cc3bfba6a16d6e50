"""A model in memory: its weights, its tokenizer, and the one thread that runs it.

Generation happens on one persistent thread per model, because ``generate`` keeps state on the model on which it is
called (https://github.com/huggingface/transformers/issues/48286).

Each generation, even one that was cancelled or failed, ends with one audit event (PEP 578), which ``sys.addaudithook``
receives: ``llm_backend.generate`` with the model's directory as str, the tokens generated as int, and the seconds
taken as float. It carries nothing that a user wrote, and costs nothing if nobody listens.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, StoppingCriteriaList

from llm_backend.errors import EngineError, ModelFormatError
from llm_backend.llms.engines.huggingface.decoding import RawAnswer, Watch, logits_processors
from llm_backend.llms.engines.huggingface.inference_thread import InferenceThread
from llm_backend.llms.engines.huggingface.prompts import PromptMaker
from llm_backend.llms.models.gguf_conversion import loading, refuse_lacking_weights
from llm_backend.llms.payloads import Timings, Usage

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from llm_backend.llms.engines.huggingface.decoding import GenerationRequest
    from llm_backend.llms.settings.agent_settings import Quantization

__all__ = ["GENERATE_EVENT", "GenerationCancelledError", "LoadedModel", "ModelKey"]

# A prompt is read in pieces of this many tokens, so that an abandoned request stops between two of them. In pieces of
# 512, 256, 128, reading 1,531 tokens took 2.6, 2.3, 2.6 s (4.6, 4.4, 4.9 s of CPU; median of 7 rounds), and a request
# cancelled after 0.3 s stopped 0.17, 0.17, 0.10 s later (of 6), or 1.5, 0.5, 0.3 s at a load average of 5:
# SmolLM2-135M in bfloat16, two cores.
PREFILL_CHUNK = 256
GENERATE_EVENT = "llm_backend.generate"
# How long the interpreter's exit waits for a model's thread: one step, or one piece of a prompt, takes far less.
EXIT_PATIENCE = 10.0


class GenerationCancelledError(Exception):
    """Nobody is waiting for this answer any more. Never leaves the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """Identifies a set of weights; agents with equal keys share one.

    Attributes:
        directory: the model's directory; a hub model has one per revision.
        files: what tells the current files from ones that replace them.
        device: "cpu", "mps" or "cuda:N".
        dtype: the type of the weights in memory, a name that torch knows.
        quantization: "none", "int8" or "int4".
        trust_remote_code: whether the model's own code may run.
    """

    directory: Path
    files: tuple[tuple[str, int, int], ...]
    device: str
    dtype: str
    quantization: Quantization = "none"
    trust_remote_code: bool = False


class LoadedModel:
    """A model and its tokenizer in memory, and the thread that generates with them.

    ``cache_tokens`` is the number of tokens of context for which there was memory at loading; ``stop_texts`` are those
    that end an answer according to the model's files.
    """

    def __init__(self, key: ModelKey, cache_tokens: int) -> None:
        self.key = key
        self.cache_tokens = cache_tokens
        self.tokenizer = _load_tokenizer(key)
        self.prompts = PromptMaker(self.tokenizer)
        self.model = _load_weights(key)
        self.stop_texts = _take_stop_texts(self.model)
        self.device = str(self.model.device)
        self.process = os.getpid()
        self._current: GenerationRequest | None = None
        self._stopping = False
        self._thread: InferenceThread[RawAnswer] = InferenceThread(key.directory.name, _return_memory)
        self.model.register_forward_pre_hook(self._stop_if_cancelled)

    def refuse_fork(self) -> None:
        """Refuse to be used in a fork of the process that loaded it, where none of its threads exist.

        Raises:
            EngineError: this process is such a fork.
        """
        if self.process != os.getpid():
            message = (
                f"The model in {str(self.key.directory)!r} was loaded by process {self.process}, and this is a fork "
                "of it, where no model can run. Start processes with the method 'spawn', or fork before loading."
            )
            raise EngineError(message)

    def submit(self, request: GenerationRequest, max_queued: int) -> Future[RawAnswer]:
        """Queue a request; its text arrives through ``request.on_text``, and its end raises the audit event.

        Raises:
            EngineBusyError: ``max_queued`` requests are already waiting.
        """
        return self._thread.submit(lambda: self._run(request), max_queued)

    def stop(self) -> None:
        """Abandon what is running and waiting, at the interpreter's exit."""
        self._stopping = True
        self._thread.abandon(EXIT_PATIENCE)

    def free(self) -> None:
        """Release everything, once what is running has ended."""
        self._thread.end()
        self.model = self.tokenizer = None
        del self.prompts
        gc.collect()
        torch.cuda.empty_cache()
        _return_memory()

    def _stop_if_cancelled(self, *_: object) -> None:
        if self._stopping or (self._current is not None and self._current.cancelled.is_set()):
            raise GenerationCancelledError

    def _run(self, request: GenerationRequest) -> RawAnswer:
        started = time.perf_counter()
        self._current = request
        watch = Watch(request, self.tokenizer.backend_tokenizer, started, self.end_tokens())
        try:
            self._generate(request, watch)
        finally:
            self._current = None
            sys.audit(GENERATE_EVENT, str(self.key.directory), watch.tokens, time.perf_counter() - started)
        request.on_text(watch.stop_filter.finish())
        ended_early = watch.stop_filter.stopped or watch.last_token in self.end_tokens()
        return RawAnswer(
            usage=Usage(prompt_tokens=len(request.prompt_ids), completion_tokens=watch.tokens),
            finish_reason="stop" if ended_early else "length",
            timings=Timings(
                queued=started - request.submitted,
                first_token=watch.first_token_after,
                total=time.perf_counter() - started,
            ),
        )

    def _generate(self, request: GenerationRequest, watch: Watch) -> None:
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
            eos_token_id=sorted(self.end_tokens()) or None,
        )
        if config.pad_token_id is None:
            config.pad_token_id = min(self.end_tokens(), default=0)
        prompt = torch.tensor([request.prompt_ids], device=self.model.device)
        with torch.inference_mode():
            self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=config,
                logits_processor=logits_processors(request, self.model.device),
                stopping_criteria=StoppingCriteriaList([watch]),
            )

    def end_tokens(self) -> set[int]:
        """The tokens that end an answer: those named in the model's files, and the tokenizer's own."""
        ends = self.model.generation_config.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}


def _take_stop_texts(model: Any) -> tuple[str, ...]:  # noqa: ANN401  (transformers is not typed)
    """Take the stop texts out of the model's files, because with them ``generate`` would need a tokenizer."""
    stops, model.generation_config.stop_strings = model.generation_config.stop_strings or (), None
    return (stops,) if isinstance(stops, str) else tuple(stops)


def _load_tokenizer(key: ModelKey) -> Any:  # noqa: ANN401  (transformers is not typed)
    tokenizer = AutoTokenizer.from_pretrained(
        key.directory, local_files_only=True, trust_remote_code=key.trust_remote_code
    )
    if not tokenizer.is_fast:
        message = (
            f"The model in {str(key.directory)!r} has no tokenizer.json. Convert its tokenizer to the fast format."
        )
        raise ModelFormatError(message)
    # A prompt must never be cut silently; and encoding without changing state is safe on any thread.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _load_weights(key: ModelKey) -> Any:  # noqa: ANN401  (transformers is not typed)
    with loading():
        model, info = AutoModelForCausalLM.from_pretrained(
            key.directory,
            dtype=getattr(torch, key.dtype),
            local_files_only=True,
            trust_remote_code=key.trust_remote_code,
            output_loading_info=True,
            **_quantised(key),
        )
        refuse_lacking_weights(repr(str(key.directory)), model, info)
        if key.quantization == "none":
            return model.to(key.device).eval()
        return _settled(model.eval())


def _quantised(key: ModelKey) -> dict[str, Any]:
    """Options for a quantised load; weights packed by bitsandbytes cannot be moved, so they load in place."""
    bits: dict[Quantization, dict[str, Any]] = {
        "none": {},
        "int8": {"load_in_8bit": True},
        "int4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": key.dtype},
    }
    chosen = bits[key.quantization]
    return {"quantization_config": BitsAndBytesConfig(**chosen), "device_map": {"": key.device}} if chosen else {}


def _settled(model: Any) -> Any:  # noqa: ANN401  (transformers is not typed)
    """Reduce a quantised model to what it needs.

    What was not packed may still be a view of the whole file, mapped into memory; and in 4 bits the first step packs
    the weights again, as the CPU wants them. Until its end, a load keeps what it freed: at the peak SmolLM2-135M in 4
    bits took 190 to 250 MB beside the mapped file, where 113 MB stay (two cores, transformers 5.23).
    """
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.clone()
    with torch.inference_mode():
        model(torch.zeros((1, 1), dtype=torch.long, device=model.device))
    _return_memory()
    return model


def _return_memory() -> None:
    """Have glibc return what nobody uses any more: it keeps the heap of the longest prompt, or of a load, for good."""
    with suppress(AttributeError, OSError, TypeError):  # elsewhere there is no C library to load, or no such function
        ctypes.CDLL(None).malloc_trim(0)
