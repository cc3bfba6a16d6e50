"""Constrained decoding: a local model can only generate what fits a JSON schema.

Done by llguidance, a small wheel without dependencies, which refuses a schema that it cannot enforce.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from transformers import LogitsProcessor

from llm_backend.errors import EngineError, SchemaError, shown
from llm_backend.llms.availability import import_library

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["constrain"]

_NEEDED_BY = "Structured output of the huggingface engine"
# Without white space between parts: a small model that may write some may never stop.
_STYLE = {"whitespace_flexible": False}
_LOCK = threading.Lock()
_vocabularies: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # by tokenizer; building one takes half a second


def constrain(
    tokenizer: Any,  # noqa: ANN401  (transformers is not typed)
    schema: Mapping[str, Any],
    *,
    prompt_length: int,
    vocabulary_size: int,
    end_tokens: Collection[int],
) -> LogitsProcessor:
    """The logits processor that keeps one answer within ``schema``. May be called on any thread.

    Args:
        tokenizer: the model's fast tokenizer.
        schema: a JSON schema.
        prompt_length: how many tokens precede the answer.
        vocabulary_size: how many tokens the model scores.
        end_tokens: the tokens that end its answers.

    Raises:
        SchemaError: the schema cannot be enforced.
        MissingExtraError: llguidance is not installed.
    """
    llguidance = import_library("llguidance", "llm", _NEEDED_BY)
    with _LOCK:
        if tokenizer not in _vocabularies:
            bridge = import_library("llguidance.hf", "llm", _NEEDED_BY)
            size = max(vocabulary_size, len(tokenizer))
            _vocabularies[tokenizer] = bridge.from_tokenizer(
                tokenizer, n_vocab=size, eos_token=list(end_tokens) or None
            )
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_STYLE)
    matcher = llguidance.LLMatcher(_vocabularies[tokenizer], grammar, log_level=0)
    if matcher.is_error():
        message = f"The output schema cannot be enforced: {shown(matcher.get_error())}. Express it differently."
        raise SchemaError(message)
    return _Constraint(matcher, prompt_length)


class _Constraint(LogitsProcessor):  # type: ignore[misc]
    """Follows one answer token by token, and allows only tokens that may come next."""

    def __init__(self, matcher: Any, prompt_length: int) -> None:  # noqa: ANN401  (llguidance is loaded by name)
        self._matcher = matcher
        self._seen = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        new, self._seen = input_ids[0, self._seen :].tolist(), input_ids.shape[1]
        if not self._matcher.consume_tokens(new):
            message = f"Constrained decoding gave up: {shown(self._matcher.get_error())}. Simplify the output schema."
            raise EngineError(message)
        octets = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = (octets[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        refused = bits.flatten()[: scores.shape[1]] == 0
        return scores.masked_fill(refused.to(scores.device), float("-inf"))
