"""The engines under contract, and the one agent of each that its tests share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from llm_backend.errors import EngineRefusalError, ModelNotFoundError
from llm_backend.llms.engine_registry import import_agent_class
from llm_backend.llms.models.store import PACKAGED_MODEL
from llm_backend.llms.settings.agent_settings import AgentSettings
from skipproof.trace import Generation, Listener, added_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from llm_backend.llms.agent import Agent
    from tests.integration.server import ModelServer

    Open = Callable[..., Awaitable[Agent]]


@dataclass(frozen=True)
class Case:
    """One engine in one of its modes, and the parts of the contract that it cannot keep.

    Attributes:
        engine: the engine's name.
        asks_server: whether it asks the real server instead of running a model itself.
        settings: its settings besides the model and its place.
        refused: options of generation that it refuses, because its API has no place for them.
        cut: why an answer that reached its limit ended; the real server's Responses API does not tell.
        holds_schemas: an answer is what the schema asks for; the real server ignores it, so its answers are checked.
        computes_on: an abandoned answer is computed to its end, as the real server does.
        unknown_model: the error about a model that does not exist.
    """

    engine: str
    asks_server: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    cut: str = "length"
    holds_schemas: bool = False
    computes_on: bool = True
    # The real server sends neither 404 nor a code for it, so the error cannot be more exact.
    unknown_model: type[Exception] = EngineRefusalError


RESPONSES: dict[str, Any] = {"settings": {"use_responses": True}, "refused": ("seed", "stop"), "cut": "stop"}
CASES = {
    "huggingface": Case(
        "huggingface",
        asks_server=False,
        holds_schemas=True,
        computes_on=False,
        unknown_model=ModelNotFoundError,
    ),
    "openai": Case("openai"),
    "openai-responses": Case("openai", **RESPONSES),
    "langchain": Case("langchain"),
    "langchain-responses": Case("langchain", **RESPONSES),
}


def _needs(case: Case) -> tuple[str, ...]:
    return ("llm", "model", case.engine) if case.asks_server else ("llm", "model")


@pytest.fixture(
    scope="session",
    params=[pytest.param(case, id=name, marks=pytest.mark.requires(*_needs(case))) for name, case in CASES.items()],
)
def case(request: pytest.FixtureRequest) -> Case:
    """The engine under test, one after the other."""
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="session")
def server(case: Case, request: pytest.FixtureRequest) -> ModelServer | None:
    """The real server, for engines that ask one."""
    return request.getfixturevalue("model_server") if case.asks_server else None


@pytest.fixture(scope="session")
def open_agent(case: Case, server: ModelServer | None) -> Open:
    """Open another agent of the engine, on the packaged model unless another is named; close it afterwards."""
    place = {"base_url": server.url, "model": server.model} if server else {"model": PACKAGED_MODEL}

    async def open_agent(**settings: Any) -> Agent:
        agent_class = import_agent_class(case.engine)
        opened: Agent = await agent_class.create(AgentSettings(**{**place, **case.settings, **settings}))
        return opened

    return open_agent


@pytest.fixture(scope="session")
async def one(open_agent: Open) -> AsyncIterator[Agent]:
    """One agent of the engine, for every test that does not close it."""
    async with await open_agent() as agent:
        yield agent


@pytest.fixture(scope="session")
def behind(one: Agent, server: ModelServer | None) -> tuple[Any, Any]:
    """The model and the tokenizer behind the engine, to watch and to change templates; never to infer with."""
    if server:
        return server.served.model, server.served.processor
    loaded = one._loaded  # type: ignore[attr-defined]  # noqa: SLF001
    return loaded.model, loaded.tokenizer


@pytest.fixture
def templated(behind: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give the model behind the engine another chat template until the test ends."""
    return lambda template: monkeypatch.setattr(behind[1], "chat_template", template)


@pytest.fixture
def parsing(behind: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real server read calls in the text, which it does where the model's files say how."""
    call = {"open": "<tool_call>", "close": "</tool_call>", "content": "json", "repeats": True}
    call |= {"transform": {"type": "function", "function": "{content}"}}
    template = {"start_anchor": "Call:", "fields": {"content": {"content": "text"}, "tool_calls": call}}
    monkeypatch.setattr(behind[1], "response_template", template)


@pytest.fixture
def sampling(behind: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model's own file say that it samples, as the real server heeds a temperature only then."""
    monkeypatch.setattr(behind[0].generation_config, "do_sample", True)


@contextmanager
def heard_generations() -> Iterator[Callable[[], list[int]]]:
    """Count the tokens that the model generated in all, while generation goes on as always."""
    from llm_backend.llms.engines.huggingface.model import GENERATE_EVENT

    listener = Listener([GENERATE_EVENT])
    listener.listen()
    listener.begin("")
    heard: list[Generation] = []

    def tokens() -> list[int]:
        heard.extend(chain.from_iterable(listener.by_test().values()))
        return [each.tokens for each in added_up(heard)]

    try:
        yield tokens
    finally:
        listener.stop()
