"""An agent whose server says what a test wants."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from llm_backend import AgentPayload, AgentResponse
from llm_backend.errors import EngineError
from llm_backend.llms.engines.server.chat_format import Piece
from llm_backend.llms.engines.server.server_agent import ServerAgent
from llm_backend.llms.settings.agent_settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_backend.llms.engines.server.address import Server
    from llm_backend.llms.engines.server.chat_format import Request


class UnknownError(EngineError):
    """The server's error where it has nothing."""

    status_code = 404


@dataclass
class Client:
    """Stands in for the library's client: lists cards, and can be closed."""

    cards: object = field(default_factory=list)
    closed: int = 0
    asked: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    pages: dict[str, object] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)

    @property
    def models(self) -> Client:
        """Where the cards are listed."""
        return self

    async def list(self) -> object:
        """List the cards."""
        self.asked += 1
        return SimpleNamespace(model_dump=lambda **_: {"data": self.cards})

    async def get(self, url: str, **_: object) -> object:
        """Return the cards, and nothing else."""
        self.looked_up.append(url)
        raise UnknownError

    async def post(self, url: str, **_: object) -> object:
        """Return what it is told to say at this path, or fail."""
        self.looked_up.append(url)
        if url not in self.pages:
            raise UnknownError
        return self.pages[url]

    async def close(self) -> None:
        """Close."""
        self.closed += 1
        self.left.set()


class Told(ServerAgent):
    """An engine whose server says what the test wants."""

    engine: ClassVar[str] = "told"
    client: ClassVar[Client]

    def __init__(self, settings: AgentSettings, server: Server) -> None:
        super().__init__(settings, server)
        self.requests: list[Request] = []
        self.said: list[Any] = []

    def _connect(self) -> Client:
        return self.client

    def _errors(self) -> nullcontext[None]:
        return nullcontext()  # the client library, whose errors become ours, is not installed

    async def list_models(self) -> None:
        """Ask the client of this loop."""
        await self._client.list()

    async def _pieces(self, request: Request) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for said in self.said.pop(0):
            if isinstance(said, Exception):
                raise said
            yield Piece(**said)


class RefusalError(Exception):
    """A server's refusal of an option."""

    status_code = 400

    def __init__(self, param: str = "temperature") -> None:
        super().__init__(param)
        self.param = param


async def make(model: str | None = "m", **settings: Any) -> Told:
    """Make an agent that needs no network."""
    return await Told.create(AgentSettings(model=model, base_url="http://here/v1", **settings))


async def ask(agent: Told, *said: Any, **payload: Any) -> AgentResponse:
    """Get one answer; the server says the next of these at each try."""
    agent.said += [[each] for each in said]
    return await agent.invoke(AgentPayload("Hi.", **payload))


async def joined(agent: Told, *said: Any, **payload: Any) -> str:
    """Get one streamed answer, joined."""
    agent.said += said
    return "".join([piece async for piece in agent.stream(AgentPayload("Hi.", **payload))])
