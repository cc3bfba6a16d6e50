"""From a payload to a local model's tokens: by its chat template, with every text encoded as plain text.

What callers, users and tools say may contain the template's own marks. Each such mark in a text is broken by a seam,
a sequence of characters that nobody can guess, before the template sees it; the tokenizer splits there and drops the
seam. So only the template's own marks become tokens, and texts without marks are encoded as usual.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tokenizers import Tokenizer, pre_tokenizers

from llm_backend.errors import PayloadError, shown
from llm_backend.llms.answer_parsing import MARKS, AnswerParser
from llm_backend.llms.engines.huggingface.arrangement import arrange, arrangements, stand_ins
from llm_backend.llms.prepared_request import prepare
from llm_backend.llms.prompting import plain_prompt, write_calls, write_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_backend.llms.engines.huggingface.arrangement import Arrangement
    from llm_backend.llms.payloads import AgentPayload, Effort
    from llm_backend.llms.structured_output import OutputFormat

__all__ = ["Prompt", "PromptMaker"]

Message: TypeAlias = "dict[str, Any]"

# Sixteen of the 32 characters that Unicode reserves for a program's own use (https://www.unicode.org/faq/private_use).
_SEAM = "".join(chr(0xFDD0 + secrets.randbelow(32)) for _ in range(16))
_ESCAPED_SEAM = json.dumps(_SEAM)[1:-1]
# Words in a message meant for the template, which obeys some of them and removes them from the text:
# https://huggingface.co/HuggingFaceTB/SmolLM3-3B
_SWITCHES = re.compile(r"(?<!\S)/(?:think|no_think|system_override)(?!\S)")
_PROBE = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "Probes.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string", "description": "A text."}}},
    },
}
_PROBED = {"id": "call00000", "type": "function", "function": {"name": "probe", "arguments": {"text": "said"}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model reads before it answers, and the format of its answer.

    Attributes:
        ids: token ids.
        output: the output format of the payload, if it has one.
        thinking: whether the prompt opened a block of reasoning.
        stops: texts that end the answer.
        reads_calls: whether calls in the template's format can be read.
    """

    ids: list[int]
    output: OutputFormat | None
    thinking: bool = False
    stops: tuple[str, ...] = ()
    reads_calls: bool = True


class PromptMaker:
    """Builds the prompts of one model, from its fast ``tokenizer`` of transformers. On any thread."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401  (transformers is not typed)
        self._tokenizer = tokenizer
        self._template = _Template(tokenizer)

    def make(self, payload: AgentPayload, effort: Effort | None, model: str) -> Prompt:
        """The prompt of ``payload``; errors refer to the model as ``model``.

        Raises:
            PayloadError: the chat template refuses the conversation, or omits a part of it in every arrangement.
            SchemaError: the output schema is invalid.
        """
        if self._template.source != self._tokenizer.chat_template:
            self._template = _Template(self._tokenizer)
        template = self._template
        request = prepare(payload, tells_schema=True, arguments="object")
        messages, output = template.seamed(request.messages), request.output
        tools = template.seamed(list(payload.tools_available))
        if template.source is None:
            text, stops = plain_prompt(write_tools(write_calls(messages), tools))
            return Prompt(ids=template.encoded(text, add_special_tokens=True), output=output, stops=stops)
        text, given = template.told(messages, tools, "none" if output else effort, model)
        thinking = template.knows_thinking and text.rstrip().endswith("<think>")
        if thinking and output:
            text, thinking = f"{text.rstrip()}\n\n</think>\n\n", False
        ids = template.encoded(text, add_special_tokens=False)
        return Prompt(ids=ids, output=output, thinking=thinking, reads_calls=not given or template.reads_calls)


class _Template:
    """A tokenizer's chat template, and the tokens that are marks, which no text may contain."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401  (transformers is not typed)
        self.source = tokenizer.chat_template
        self._tokenizer = tokenizer
        text = str(self.source)
        self.knows_thinking = "<think>" in text
        added = tokenizer.added_tokens_decoder.values()
        marks = {token.content for token in added if token.special or _is_mark(token.content, text)}
        marks |= {mark for mark in MARKS if mark in text}
        self._normalizer = tokenizer.backend_tokenizer.normalizer
        if self._normalizer:
            marks |= set(map(self._normalizer.normalize_str, marks))
        # A mark of one character, such as a line break with its own token, can be neither broken nor misused.
        marks = {mark for mark in marks if len(mark.strip()) > 1}
        pattern = "|".join(map(re.escape, sorted(marks, key=len, reverse=True))) or r"(?!)"
        self._marks = re.compile(pattern.replace("\u2581", "[ \u2581]"))  # the character that many use for a space

    def seamed(self, said: Any) -> Any:  # noqa: ANN401  (any part of a message)
        """The same with a seam in each mark that its texts contain."""
        if isinstance(said, str):
            while (broken := self._marks.sub(self._broken, said)) != said:  # one mark may stand within another
                said = broken
            # Letters may become a mark only after normalization: full-width ones, say, or capitals.
            if self._normalizer and self._marks.search(self._normalizer.normalize_str(said)):
                return _SEAM.join(said)
            return said
        if isinstance(said, Mapping):
            return {self.seamed(key): self.seamed(value) for key, value in said.items()}
        return [self.seamed(value) for value in said] if isinstance(said, list | tuple) else said

    def encoded(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of ``text``, without its seams."""
        encoder = self._seamless if _SEAM in text else self._tokenizer.backend_tokenizer
        ids: list[int] = encoder.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def told(
        self, messages: list[Message], tools: list[dict[str, Any]], effort: Effort | None, model: str
    ) -> tuple[str, bool]:
        """The template's rendering of a conversation, and whether the template received the tools.

        Raises:
            PayloadError: it refuses the conversation, or omits a part of it.
        """
        options = {"enable_thinking": effort != "none", "reasoning_effort": effort} if effort else {}
        how = self._arrangement(messages, tools, options, model)
        told, given = arrange(messages, tools, how)
        try:
            text = self._render(told, given, options)
        except Exception as exc:  # a template may do anything with a text
            message = (
                f"The chat template of {model!r} refuses a text of this conversation: {shown(str(exc))}. Change it."
            )
            raise PayloadError(message) from exc
        for turn in told:
            if not _is_said(turn["content"], text):
                said = shown(turn["content"].replace(_SEAM, ""))
                message = (
                    f"The chat template of {model!r} leaves out or changes what the {turn['role']} says: {said!r}. "
                    "Word it differently."
                )
                raise PayloadError(message)
        return text, given is not None

    def _arrangement(
        self, messages: list[Message], tools: list[dict[str, Any]], options: dict[str, Any], model: str
    ) -> Arrangement:
        """The closest arrangement of the conversation that the template renders completely."""
        told, offered, words = stand_ins(messages, tools)
        refusal: Exception | None = None
        left_out: list[str] = []
        for how in arrangements(messages, tools, knows_tools="tools" in str(self.source)):
            try:
                text = self._render(*arrange(told, offered, how), options)
            except Exception as exc:  # noqa: BLE001  (its own refusals are TemplateErrors, but it may fail in any way)
                refusal = refusal or exc
                continue
            lost = [label for word, label in words.items() if word not in text]
            if not lost:
                return how
            left_out = left_out or lost
        if left_out:
            lost = list(dict.fromkeys(left_out))
            message = f"The chat template of {model!r} leaves out {shown(', '.join(lost))}. "
            raise PayloadError(message + "Leave that out, or choose a model whose template knows it.")
        message = f"The chat template of {model!r} refuses this conversation: {shown(str(refusal))}. "
        advice = "Change its roles." if self._takes_a_question else "Choose another model, or correct its template."
        raise PayloadError(message + advice) from refusal

    def _render(self, messages: list[Message], tools: list[dict[str, Any]] | None, options: dict[str, Any]) -> str:
        options = {"add_generation_prompt": True, **options}
        text: str = self._tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **options)
        return text.replace(_ESCAPED_SEAM, _SEAM)

    @cached_property
    def _takes_a_question(self) -> bool:
        """Whether the template accepts the shortest conversation."""
        try:
            self._render([{"role": "user", "content": "Hi"}], None, {})
        except Exception:  # noqa: BLE001  (a refusal is the answer)
            return False
        return True

    @cached_property
    def reads_calls(self) -> bool:
        """Whether a call in the template's format, in which the model was trained, can be read."""
        question: list[Message] = [{"role": "user", "content": "Probe."}]
        called = [*question, {"role": "assistant", "content": "", "tool_calls": [_PROBED]}]
        try:
            asked = self._render(question, [_PROBE], {})
            text = self._render(called, [_PROBE], {"add_generation_prompt": False})
        except Exception:  # noqa: BLE001  (it renders no calls, or none without results)
            return True
        same = next((at for at, pair in enumerate(zip(asked, text, strict=False)) if pair[0] != pair[1]), len(asked))
        if same < len(
            asked
        ):  # the prompt may have opened something that a call has not: go back to the end of a mark or a line
            same = max(text.rfind(end, 0, same) for end in ">]\n") + 1
        written = text[same:]
        for token in set(self._tokenizer.all_special_tokens) - MARKS:
            written = written.replace(token, "")
        parser = AnswerParser(tools=[_PROBE])
        parser.feed(written)
        parser.finish()
        return "probe" not in written or any(call.name == "probe" for call in parser.result().tool_calls)

    @cached_property
    def _seamless(self) -> Tokenizer:
        """The tokenizer, with a split at each seam."""
        backend = self._tokenizer.backend_tokenizer
        copy, cut = Tokenizer.from_str(backend.to_str()), pre_tokenizers.Split(_SEAM, "removed")
        own = backend.pre_tokenizer
        copy.pre_tokenizer = pre_tokenizers.Sequence([cut, own]) if own else cut
        return copy

    def _broken(self, mark: re.Match[str]) -> str:
        """A mark with a seam where its text is split anyway, if there is such a place."""
        own = self._tokenizer.backend_tokenizer.pre_tokenizer
        parts: Sequence[tuple[str, tuple[int, int]]] = own.pre_tokenize_str(mark[0]) if own else []
        place = next((begin for _, (begin, _) in parts if 0 < begin < len(mark[0])), 1)
        return f"{mark[0][:place]}{_SEAM}{mark[0][place:]}"


def _is_mark(token: str, template: str) -> bool:
    """Whether an added token is a mark rather than a word; templates may assemble marks from parts."""
    if token.isalpha():
        return False
    return token in template or token in MARKS or (token[:2] in ("<|", "<\uff5c") and token.endswith(">"))


def _is_said(content: str, text: str) -> bool:
    """Whether ``text`` contains ``content``, plain or in JSON; white space may differ, and switches may be missing."""
    if content.strip() in text:
        return True
    if (rest := _SWITCHES.sub("", content)) != content:
        return _is_said(rest, text)
    forms = (
        content,
        json.dumps(content, ensure_ascii=False)[1:-1],
        json.dumps(content)[1:-1].replace(_ESCAPED_SEAM, _SEAM),
    )
    squeezed = "".join(text.split())
    return any("".join(form.split()) in squeezed for form in forms)
