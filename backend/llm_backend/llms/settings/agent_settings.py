"""The settings of an agent: typed, frozen and checked; config_file decides where they come from.

Levels of settings are merged key by key, and every error says which level a wrong value came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args, get_type_hints
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from llm_backend.errors import ConfigError, UnknownEngineError, shown
from llm_backend.llms.engine_registry import ENGINES, engine_names
from llm_backend.llms.payloads import GenerationOptions, ReasoningEffort
from llm_backend.llms.settings.gateway import BODY, HEADERS, Body, Headers, names_authorization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from pydantic_core import ErrorDetails

__all__ = [
    "AgentSettings",
    "Quantization",
    "SettingsLevel",
    "close_match",
    "unknown_engine",
    "without_query",
]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "int8", "int4"]


def close_match(name: str, known: Iterable[str]) -> str:
    """A sentence suggesting the known name most like ``name``, after a space; empty if none is similar."""
    matches = get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def without_query(address: str) -> str:
    """``address`` with stars for what may hold a key: its query or fragment."""
    return re.sub(r"([?#]).*", r"\1***", address, count=1, flags=re.DOTALL)


def unknown_engine(name: object, source: str) -> UnknownEngineError:
    """The error for an unknown engine ``name``, which ``source`` asks for."""
    known = engine_names()
    return UnknownEngineError(
        f"{source}: there is no engine {name!r}.{close_match(str(name), known)}"
        f" Use one of: {', '.join(map(repr, known))}."
    )


@dataclass(frozen=True, slots=True)
class SettingsLevel:
    """Settings from one place, not yet checked."""

    source: str  # as named in errors: "config.toml [agent]", "argument model"
    values: Mapping[str, object] = field(repr=False)  # they may hold a server's key
    # Keys whose values errors must not show, because they may be secrets.
    hidden: frozenset[str] = frozenset({"api_key", "base_url", "extra_headers", "extra_body"})


def _one_of(choices: object) -> str:
    return f"one of: {', '.join(get_args(choices))}"


def _accept_text(value: object) -> object:
    return SecretStr(value) if isinstance(value, str) else value


def _is_an_engine(name: str) -> str:
    if name not in ENGINES and name not in engine_names():
        raise ValueError
    return name


def _fits_a_header(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", key.get_secret_value()):
        message = " of ASCII characters on one line, with no space before or after it"
        raise ValueError(message)
    return key


def _can_be_reached(address: str | None) -> str | None:
    try:
        parts = urlsplit(address or "")
        (parts.hostname or "").encode("idna")  # fails for a part that is empty or too long
        sound = parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        message = ", and whose host and port can be"
        raise ValueError(message)
    return address


_EngineName = Annotated[str, AfterValidator(_is_an_engine)]
_Key = Annotated[SecretStr, BeforeValidator(_accept_text), AfterValidator(_fits_a_header)]
_Address = Annotated[str | None, AfterValidator(_can_be_reached)]
_SWITCH = "true or false"
_SECONDS = "a number of seconds above 0"
_LONGEST = 365 * 24 * 3600.0  # within what timers can count on every system


class AgentSettings(BaseModel):
    """What an engine needs to build an agent, frozen. ``None`` leaves the choice to the engine.

    Built from values by name; or from ``SettingsLevel`` objects, highest first, which are merged key by key, in
    tables inside them too.

    Attributes:
        backend: the engine's name.
        model: a packaged model, a directory, a GGUF file or a hub name; for a server, its own name for the model.
        revision: the hub's revision (branch, tag or commit).
        api_key: the server's key.
        base_url: the server's address.
        timeout: seconds that one request to a server may take in total, with retries and a whole stream.
        connect_timeout: seconds to wait for a connection to the server.
        read_timeout: seconds that the server may stay silent, before the answer or within a stream.
        max_retries: how often to resend a request after a lost connection or to a busy server.
        reasoning_effort: how hard a reasoning model thinks.
        device: where a local model runs.
        temperature: 0 is greedy decoding, above 0 samples.
        max_new_tokens: maximum number of tokens to generate.
        top_p: keep the smallest set of tokens whose probability reaches this.
        top_k: keep this many most likely tokens.
        do_sample: False forces temperature 0; True with no temperature means temperature 1.
        context_window: tokens; can narrow the model's own, never widen it.
        trust_remote_code: run Python code that comes with a model.
        dtype: the type of a local model's weights in memory; auto is bfloat16 if the hardware has it, else float32.
        quantization: pack a local model's weights into 8 or 4 bits during loading.
        load_in_8bit: an older name for the quantization int8.
        load_in_4bit: an older name for the quantization int4.
        max_queued: how many requests may wait for a local model while it answers one.
        keep_alive: seconds that a local model stays in memory after its last agent closes.
        use_responses: use OpenAI's Responses API rather than chat completions.
        extra_headers: headers for every request to the server. They may hold secrets, and are shown as stars.
        extra_body: fields for every question to the server; they override all others, and are shown as stars.

    Raises:
        UnknownEngineError: no engine is called ``backend``.
        ConfigError: unknown keys, or values of the wrong type or outside their range; it names all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    backend: _EngineName | None = Field(default=None, description="an engine's name")
    model: str | None = Field(default=None, min_length=1, description="a model's name or path, as a string")
    revision: str | None = Field(default=None, min_length=1, description="a branch, tag or commit, as a string")
    api_key: _Key | None = Field(default=None, min_length=1, description="the server's key, as a string")
    base_url: _Address = Field(
        default=None,
        pattern=r"^https?://[^\s/@?#]+([/?#]\S*)?$",
        description="an address that starts with http:// or https:// and holds no user name or password",
    )
    timeout: float = Field(default=300.0, gt=0, description=_SECONDS)
    connect_timeout: float = Field(default=5.0, gt=0, description=_SECONDS)
    read_timeout: float = Field(default=60.0, gt=0, description=_SECONDS)
    max_retries: int = Field(default=2, ge=0, description="a whole number of at least 0")
    reasoning_effort: ReasoningEffort | None = Field(
        default=None, description="a table with any of the keys effort, generate_summary and summary"
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
        description="one of: auto, cpu, cuda, mps, or cuda:N with the number of a GPU",
    )
    temperature: float | None = Field(default=None, ge=0, description="a number of at least 0")
    max_new_tokens: int | None = Field(default=None, ge=1, description="a whole number of at least 1")
    top_p: float | None = Field(default=None, gt=0, le=1, description="a number above 0 and at most 1")
    top_k: int | None = Field(default=None, ge=1, description="a whole number of at least 1")
    do_sample: bool | None = Field(default=None, description=_SWITCH)
    context_window: int | None = Field(default=None, ge=1, description="a whole number of tokens, at least 1")
    trust_remote_code: bool = Field(default=False, description=_SWITCH)
    dtype: Dtype = Field(default="auto", description=_one_of(Dtype))
    quantization: Quantization = Field(default="none", description=_one_of(Quantization))
    load_in_8bit: bool = Field(default=False, description=_SWITCH)
    load_in_4bit: bool = Field(default=False, description=_SWITCH)
    max_queued: int = Field(default=64, ge=0, description="a whole number of at least 0")
    keep_alive: float = Field(default=0, ge=0, le=_LONGEST, description="a number of seconds, from 0 to a year")
    use_responses: bool = Field(default=False, description=_SWITCH)
    extra_headers: Headers | None = Field(default=None, description=HEADERS)
    extra_body: Body | None = Field(default=None, description=BODY)

    def __init__(self, /, *levels: SettingsLevel, **values: Any) -> None:  # noqa: ANN401  (refuses wrong types itself)
        levels = levels or (SettingsLevel(type(self).__name__, values),)
        errors: list[ErrorDetails] = []
        try:
            super().__init__(**reduce(_merge, [level.values for level in reversed(levels)]))
        except ValidationError as exc:
            errors = exc.errors()
        if errors:  # raised outside `except`: pydantic's error carries the values, which may hold a key
            raise _config_error(errors, levels)
        _refuse_two_quantizations(self, levels)
        _refuse_two_keys(self, levels)

    # Pydantic's own refusal shows the value, which may be a key.
    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"{type(self).__name__} cannot change, so {name} cannot be set. Make new settings."
        raise AttributeError(message)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, without_query(value) if name == "base_url" and value else value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002  (nothing inside can change)
        """A copy with other values, checked and masked like the original's.

        Raises:
            ConfigError: as ``AgentSettings`` does.
        """
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | dict(update or {}))

    def chosen_quantization(self) -> Quantization:
        """The quantization that these settings choose, under its current or an older name."""
        return next(iter(_quantizations(self).values()), "none")

    def generation_defaults(self) -> GenerationOptions:
        """The generation options that these settings choose; a payload's own options override them."""
        temperature = self.temperature
        if self.do_sample is False:
            temperature = 0
        elif self.do_sample and temperature is None:
            temperature = 1.0
        return GenerationOptions(
            max_new_tokens=self.max_new_tokens, temperature=temperature, top_p=self.top_p, top_k=self.top_k
        )


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**low, **high}
    for key in low.keys() & high.keys():
        if isinstance(low[key], dict) and isinstance(high[key], dict):
            merged[key] = _merge(low[key], high[key])
    return merged


def _quantizations(settings: AgentSettings) -> dict[str, Quantization]:
    """The quantization that each key asks for, without the keys that ask for none."""
    asked: dict[str, tuple[bool, Quantization]] = {
        "quantization": ("quantization" in settings.model_fields_set, settings.quantization),
        "load_in_8bit": (settings.load_in_8bit, "int8"),
        "load_in_4bit": (settings.load_in_4bit, "int4"),
    }
    return {key: quantization for key, (asks, quantization) in asked.items() if asks}


def _refuse_two_quantizations(settings: AgentSettings, levels: Sequence[SettingsLevel]) -> None:
    asked = _quantizations(settings)
    if len(set(asked.values())) > 1:
        said = (f"{key} ({_level_of((key,), levels).source}) asks for {value}" for key, value in asked.items())
        message = f"{', and '.join(said)}. Keep only one of them."
        raise ConfigError(message)


def _refuse_two_keys(settings: AgentSettings, levels: Sequence[SettingsLevel]) -> None:
    if settings.api_key and names_authorization(settings.extra_headers):
        headers, key = (_level_of((name,), levels).source for name in ("extra_headers", "api_key"))
        message = (
            f"extra_headers ({headers}) has an Authorization header, and api_key ({key}) would be sent as one, too. "
            "Remove one of them."
        )
        raise ConfigError(message)


def _config_error(errors: Sequence[ErrorDetails], levels: Sequence[SettingsLevel]) -> ConfigError:
    """One error for everything wrong; UnknownEngineError if only the engine's name is."""
    if len(errors) == 1 and errors[0]["loc"] == ("backend",) and isinstance(errors[0]["input"], str):
        return unknown_engine(errors[0]["input"], _level_of(("backend",), levels).source)
    return ConfigError("\n".join(_describe(error, levels) for error in errors))


def _describe(error: ErrorDetails, levels: Sequence[SettingsLevel]) -> str:
    path = tuple(str(part) for part in error["loc"])
    level = _level_of(path, levels)
    where, key = f"{level.source}: ", ".".join(path)
    known = _allowed(path)
    if path[-1] not in known:
        return f"{where}there is no key {key!r}.{close_match(path[-1], known)} The keys are: {', '.join(known)}."
    allowed, value = f"{known[path[-1]]}{error.get('ctx', {}).get('error', '')}", error["input"]
    # A string may be an address with a password before its @, and a whole table may hold anything.
    if path[0] in level.hidden or isinstance(value, (dict, list)) or (isinstance(value, str) and "@" in value):
        return f"{where}{key} is wrong (its value is not shown because it may be a secret). Give {allowed}."
    guess = close_match(value, allowed.replace(":", ",").split(", ")) if isinstance(value, str) else ""
    return f"{where}{key} is {_written(value)} (type {type(value).__name__}).{guess} Give {allowed}."


def _written(value: object) -> str:
    try:
        return shown(repr(value))
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number that is too long to show"


def _allowed(path: Sequence[str]) -> dict[str, str]:
    """The keys known where ``path`` points, and what each may be."""
    if len(path) > 1:
        return {name: _one_of(kind) for name, kind in get_type_hints(ReasoningEffort).items()}
    allowed = {name: str(field.description) for name, field in AgentSettings.model_fields.items()}
    return allowed | {"backend": f"one of: {', '.join(engine_names())}"}


def _level_of(path: Sequence[str], levels: Sequence[SettingsLevel]) -> SettingsLevel:
    """The highest level that sets the key at ``path``."""
    return next(level for level in levels if _holds(level.values, *path))


def _holds(values: object, key: str, *inner: str) -> bool:
    return isinstance(values, dict) and key in values and (not inner or _holds(values[key], *inner))
