"""What servers say about prompts that do not fit."""

from __future__ import annotations

import pytest

from llm_backend.errors import ContextWindowError, PayloadError
from llm_backend.llms.engines.server.context_overflow import Overflow, read_overflow

# What servers say, and the tokens of prompt, answer and window in it. OpenAI and Azure, vLLM (wordings of several
# versions), llama.cpp, SGLang, TGI, LM Studio, Anthropic, OpenRouter, Mistral, Google, xAI, Moonshot, Cerebras,
# Fireworks, Ollama, Bedrock, Cohere, Alibaba; and three that say something else.
SAID: list[tuple[str, tuple[int | None, int | None, int | None] | None]] = [
    (
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
            "Please reduce the length of the messages."
        ),
        (9000, None, 8192),
    ),
    (
        "maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages)",
        (9000, None, 8192),
    ),
    (
        (
            "This model's maximum context length is 8192 tokens. However, you requested 8292 tokens (100 in the "
            "messages, 8192 in the completion). Please reduce the length of the messages or completion."
        ),
        (100, 8192, 8192),
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is "
            "8192 tokens and your request has 100 input tokens (8192 > 8192 - 100)."
        ),
        (100, 8192, 8192),
    ),
    (
        (
            "This model's maximum context length is 2048 tokens. However, you requested 2040 output tokens and "
            "your prompt contains at least 9 input tokens, for a total of at least 2049 tokens. Please reduce the"
            " length of the input prompt or the number of requested output tokens."
        ),
        (9, 2040, 2048),
    ),
    (
        (
            "You passed 9000 input tokens and requested 512 output tokens. However, the model's context length is"
            " only 8192 tokens, resulting in a maximum input length of 7680 tokens. Please reduce the length of "
            "the input prompt."
        ),
        (9000, 512, 8192),
    ),
    (
        (
            "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure that "
            "`max_model_len` is no smaller than the number of text tokens."
        ),
        (9000, None, 8192),
    ),
    ("request (6031 tokens) exceeds the available context size (2048 tokens), try increasing it", (6031, None, 2048)),
    (
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        (None, None, None),
    ),
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", (9000, None, 8192)),
    (
        (
            "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a "
            "total of 9000 tokens: 8500 tokens from the input messages and 500 tokens for the completion. Please "
            "reduce the number of tokens in the input messages or the completion to fit within the limit."
        ),
        (8500, 500, 8192),
    ),
    (
        "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens and 500 `max_new_tokens`",
        (2000, 500, 2048),
    ),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 6031", (6031, None, 1024)),
    (
        (
            "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with "
            "context length of only 4096 tokens, which is not enough. Try to load the model with a larger context"
            " length, or provide a shorter input"
        ),
        (9000, None, 4096),
    ),
    (
        (
            "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: "
            "5014>= n_ctx: 4096). Try to load the model with a larger context length, or provide a shorter input."
        ),
        (5014, None, 4096),
    ),
    ("prompt is too long: 208310 tokens > 200000 maximum", (208310, None, 200000)),
    (
        (
            "input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease input length or"
            " `max_tokens` and try again"
        ),
        (195000, 8192, 200000),
    ),
    (
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens "
            "(139000 of text input, 1000 in the output). Please reduce the length of either one."
        ),
        (139000, 1000, 131072),
    ),
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        (40000, None, 32768),
    ),
    (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        (1200000, None, 1048576),
    ),
    ("The input token count 1200000 exceeds the maximum number of tokens allowed 1048576.", (1200000, None, 1048576)),
    ("This model's maximum prompt length is 131072 but the request contains 140000 tokens.", (140000, None, 131072)),
    ("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)", (9000, None, 8192)),
    (
        "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        (9000, None, 8192),
    ),
    ("The prompt is too long: 9000, model maximum context length: 8191", (9000, None, 8191)),
    (
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        (None, None, None),
    ),
    ("prompt too long; exceeded max context length by 12 tokens", (None, None, None)),
    ("Input is too long for requested model.", (None, None, None)),
    (
        (
            "too many tokens: total number of tokens in the prompt exceeds the limit of 4081 tokens. Please use a"
            " shorter prompt."
        ),
        (None, None, 4081),
    ),
    ("Range of input length should be [1, 30720]", (None, None, 30720)),
    ("the input length exceeds the context length", (None, None, None)),
    (
        (
            "This model's maximum context length is 4,096 tokens, however you requested 5,000 tokens (4,000 in "
            "your prompt; 1,000 for the completion). Please reduce your prompt; or completion length."
        ),
        (4000, 1000, 4096),
    ),
    (
        (
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you "
            "provided 100000."
        ),
        None,
    ),
    (
        (
            "AzureException BadRequestError - Input tokens exceed the configured limit of 272000 tokens. "
            "Your messages resulted in 509178 tokens. Please reduce the length of the messages."
        ),
        (509178, None, 272000),
    ),
    ("Requested tokens (2285) exceed context window of 2048", (2285, None, 2048)),
    ("Illegal param: prefill 744 tokens exceed n_ctx_per_seq, try increasing total context size", (744, None, None)),
    ("The total length of all messages is too long.", (None, None, None)),
    ("Context size has been exceeded.", (None, None, None)),
    (
        (
            'litellm.BadRequestError: AnthropicException - b\'{"type":"error","error":{"message":"input length and '
            "`max_tokens` exceed context limit: 179413 + 32768 > 200000, decrease input length\"}}'"
        ),
        (179413, 32768, 200000),
    ),
    (
        "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
        (131393, None, 131040),
    ),
    ("prompt exceeded maximum tokens", (None, None, None)),
    (
        (
            "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
            "prompt. (parameter=input_tokens, value=2049)"
        ),
        (2049, None, 2048),
    ),
    (
        (
            "This model's maximum context length is 2048 tokens. However, your prompt contains 500148 characters "
            "(more than 165888 characters, which is the upper bound for 2048 input tokens). Please reduce the length "
            "of the input prompt. (parameter=input_text, value=500148)"
        ),
        (2049, None, 2048),
    ),
    (
        "The engine prompt length 2048 exceeds the max_model_len 2048. Please reduce prompt.",
        (2048, None, 2048),
    ),
    (
        (
            "The decoder prompt (length 2048) plus the number of requested output tokens (at least 1) is longer than "
            "the maximum model length of 2048. Make sure that `max_model_len` is no smaller than the number of text "
            "tokens (prompt + requested output tokens)."
        ),
        (2048, None, 2048),
    ),
    ("max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", (None, None, None)),
    ("max_tokens must be at least 1, got -983.", (None, None, None)),
    ("Unknown parameter: context_length", None),
    ("context_window: Extra inputs are not permitted", None),
    ("Too many tokens, please wait before trying again.", None),
    ("The request took too long to process", None),
    ("Exceeded maximum number of retries", None),
    ("a bad idea", None),
    (
        (
            "Request too large for model `llama` in organization `x` on tokens per minute (TPM): Limit 6000, "
            "Requested 8000, please reduce your message size and try again."
        ),
        None,
    ),
]


@pytest.mark.parametrize(("words", "expected"), SAID, ids=lambda value: str(value)[:30])
def test_overflow_in_words(words: str, expected: tuple[int | None, int | None, int | None] | None) -> None:
    """Each server's overflow is recognised, with the figures that it gives, and nothing else is."""
    overflow = read_overflow(words)
    assert (overflow and (overflow.prompt, overflow.answer, overflow.window)) == expected


def test_overflow_in_codes_and_figures() -> None:
    """A code is enough, and figures beside the words win over those in them."""
    assert read_overflow("?", ["contextlengthexceeded"]) == Overflow(None, None, None)
    overflow = read_overflow("request (1 tokens)", ["exceedcontextsizeerror"], 6031, 2048)
    assert overflow == Overflow(6031, None, 2048)


@pytest.mark.parametrize(
    ("overflow", "kind", "words"),
    [
        (Overflow(None, None, 8), PayloadError, "The prompt is longer than 'm' reads: w. Shorten the message"),
        (Overflow(9, None, 8), ContextWindowError, "The prompt is longer than 'm' reads: w. Shorten the message"),
        (
            Overflow(3, 6, 8),
            ContextWindowError,
            "The prompt (3 tokens) and an answer of up to 6 tokens do not fit together into the 8 tokens",
        ),
        (Overflow(3, None, 8), ContextWindowError, "The prompt (3 tokens) and an answer do not fit together"),
    ],
)
def test_error_of_an_overflow(overflow: Overflow, kind: type[PayloadError], words: str) -> None:
    """The error says whether the prompt or the answer's limit is too long, with the figures."""
    error = overflow.error("m", "w")
    assert type(error) is kind
    assert str(error).startswith(words)
    if isinstance(error, ContextWindowError):
        assert (error.prompt_tokens, error.context_window) == (overflow.prompt, overflow.window)
