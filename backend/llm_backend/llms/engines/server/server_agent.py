"""The base of agents that ask an OpenAI-compatible server, whichever library carries the request."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llm_backend.errors import (
    BackendError,
    ConfigError,
    EngineAuthenticationError,
    EngineConnectionError,
    EngineTimeoutError,
    PayloadError,
)
from llm_backend.llms.engines.server.address import Server
from llm_backend.llms.engines.server.chat_format import Request, as_mapping, given
from llm_backend.llms.engines.server.dialect import can_be_given_up, limit_name, taken_messages, taken_options
from llm_backend.llms.engines.server.model_cards import card_window, find_window, only_model, unlisted
from llm_backend.llms.engines.server.remote_agent import RemoteAgent
from llm_backend.llms.engines.server.responses_format import response_options
from llm_backend.llms.engines.server.time_limits import TimeLimit
from llm_backend.llms.engines.server.token_counters import CountRequest, TokenCounters, UnknownPathError
from llm_backend.llms.engines.server.told_errors import as_mappings
from llm_backend.llms.settings.gateway import body_digest, body_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from llm_backend.llms.payloads import AgentPayload
    from llm_backend.llms.prepared_request import PreparedRequest
    from llm_backend.llms.settings.agent_settings import AgentSettings

__all__ = ["ServerAgent"]

_NOT_NOW = (408, 409, 425, 429, 500, 502, 503, 504)  # statuses that say nothing about what the server can do


class ServerAgent(RemoteAgent):
    """Answers payloads by asking a server; engines add how to send a request.

    Three settings limit its waits, in seconds: ``connect_timeout``, ``read_timeout`` for each silence of the server,
    and ``timeout`` for all waits of one request together.
    """

    _advice: ClassVar[str] = "Load a new one with load_agent"
    _tells_schema: ClassVar[bool] = False

    def __init__(self, settings: AgentSettings, server: Server) -> None:
        super().__init__(settings, server.place)
        self._server = server
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}
        self._window: int | None = None
        self._counters = TokenCounters(openais_own=server.is_openais)

    @classmethod
    async def create(cls, settings: AgentSettings) -> Self:
        """Make an agent. Asks the server only if ``settings`` name no model, because it may have just one.

        Raises:
            ConfigError: the settings name no server, or no model although the server has none or several.
            EngineError: the server was asked, but did not answer sensibly.
        """
        agent = cls(settings, Server.from_settings(settings))
        if agent._server.model:
            return agent
        try:
            model = only_model(await agent._list_cards(), agent._place, agent._server.secrets)
        except BaseException:
            await agent.aclose()
            raise
        agent._server = replace(agent._server, model=model)
        return agent

    @abstractmethod
    def _connect(self) -> Any:  # noqa: ANN401  (an openai.AsyncOpenAI, but this module does not import its library)
        """Make a client; it connects on the first request."""

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self._server.model

    @property
    def identity(self) -> dict[str, str]:
        """The engine, the model, its server, and the options chosen by settings."""
        options = f"{self._settings.generation_defaults()}, {self._settings.reasoning_effort!r}"
        if self._settings.extra_body:
            options += f", extra_body {body_digest(self._settings.extra_body)}"
        return {"engine": self.engine, "model": self.model, "server": self._place, "options": options}

    async def get_context_window(self) -> int:
        """How many tokens prompt and answer may have together, from the server's model card.

        ``settings.context_window`` narrows that, and replaces it if neither the card nor the server gives one.

        Raises:
            ConfigError: neither gives it.
            EngineError: the server was asked, but did not answer sensibly.
        """
        self._check_open()
        if self._window is None:
            self._window = await self._find_window()
        return self._window

    async def model_cards(self) -> list[Mapping[str, Any]]:
        """The server's own description of each model that it lists.

        Raises:
            EngineError: the server refused the key, or did not answer sensibly.
        """
        self._check_open()
        return await self._list_cards()

    async def count_tokens(self, payload: AgentPayload | str) -> int:
        """How many tokens the prompt of ``payload`` has: the server's count, or else an upper bound.

        The server is asked in the ways of token_counters.py, within ``connect_timeout``. If it cannot say, the bound is
        its count from answering the same beginning, plus a token for each new byte: exact for a prompt that it has
        answered, about four times too many for English text never sent before.
        """
        request = self._prepared(payload)
        messages, tools = request.messages, request.payload.tools_available
        counted = self._sizes.counted(messages, tools)
        if counted is None:
            counted = await self._counters.count(self._count_request(request), self._ask)
            if counted is not None:
                self._sizes.learn(messages, tools, counted)
        return self._sizes.estimate(messages, tools) if counted is None else counted

    async def aclose(self) -> None:
        """Close the connections to the server; closing twice is fine."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, client in list(self._clients.items()):
            if loop is here:
                await client.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), loop)

    @property
    def _client(self) -> Any:  # noqa: ANN401  (as _connect)
        """The client of the running event loop: loops cannot share connections."""
        here = asyncio.get_running_loop()
        if here not in self._clients:
            for ended in [loop for loop in list(self._clients) if loop.is_closed()]:
                self._clients.pop(ended, None)
            self._clients[here] = self._connect()
        return self._clients[here]

    def _errors(self) -> AbstractContextManager[None]:
        from llm_backend.llms.engines.server.client_errors import engine_errors  # noqa: PLC0415  (imports the library)

        return engine_errors(self._server)

    def _request(self, prepared: PreparedRequest, refused: AbstractSet[str], *, stream: bool) -> Request:
        payload, responses = prepared.payload, self._settings.use_responses
        generation = taken_options(payload.generation.over(self._settings.generation_defaults()), refused)
        messages = taken_messages(prepared.messages, refused, responses=responses)
        limit = None if responses else limit_name(self._server.limit_name, refused)
        ours = can_be_given_up(messages, generation, limit, refused)
        if stream and "stream_options" not in refused:
            ours["stream_options"] = "stream_options"
        if generation.temperature is None and "temperature" not in refused:
            generation = replace(generation, temperature=0.0)
            ours["temperature"] = "temperature"
        return Request(
            messages=messages,
            tools=payload.tools_available,
            generation=generation,
            effort=self._effort(payload),
            output=prepared.output.definition if prepared.output else None,
            stream=stream,
            limit_name=limit or "",
            body=body_of(self._settings.extra_body),
            ours=ours,
        )

    async def _list_cards(self) -> list[Mapping[str, Any]]:
        with self._errors():
            async with self._time_limit().waiting():
                return as_mappings(as_mapping(await self._client.models.list()).get("data"))

    async def _find_window(self) -> int:
        """The window from the configuration or the server, whichever is narrower.

        Raises:
            ConfigError: neither gives it.
            EngineError: the server lists no models, and gives it nowhere else.
        """
        configured = self._settings.context_window
        cards: list[Mapping[str, Any]] = []
        failure: BackendError | None = None
        try:
            cards = await self._list_cards()
        except BackendError as exc:  # not every server lists models
            failure = exc
        told = card_window(cards, self.model)
        silent = isinstance(failure, EngineTimeoutError | EngineConnectionError | EngineAuthenticationError)
        if told is None and not silent and not self._server.is_openais:
            told = await find_window(self._look_up, self._base.removesuffix("/v1"), self.model)
        windows = [window for window in (configured, told) if window is not None]
        if windows:
            return min(windows)
        if failure:
            raise failure
        message = (
            unlisted(cards, self.model, self._place, self._server.secrets)
            or f"The server at {self._place} does not say how many tokens {self.model!r} reads. "
        )
        raise ConfigError(message + f"Set context_window under [agent.{self.engine}].")

    @property
    def _base(self) -> str:
        return self._place.rstrip("/")

    def _count_request(self, prepared: PreparedRequest) -> CountRequest:
        request = self._request(prepared, self._refused, stream=False)
        chat = {
            "model": self.model,
            "messages": request.messages,
            "tools": list(request.tools),
            "reasoning_effort": request.effort and request.effort.effort,
            **request.body,
        }
        options = response_options(request) if self._settings.use_responses else {}
        responses: dict[str, Any] = {key: options[key] for key in ("input", "tools", "reasoning") if key in options}
        return CountRequest(
            base=self._base, chat=given(chat), responses={"model": self.model, **responses} if options else None
        )

    async def _look_up(self, url: str, body: dict[str, Any] | None) -> Mapping[str, Any]:
        """The server's answer at ``url``, or nothing."""
        try:
            return await self._ask(url, body) or {}
        except UnknownPathError:
            return {}

    async def _ask(self, url: str, body: dict[str, Any] | None) -> Mapping[str, Any] | None:
        """Ask for JSON that is not worth waiting for; None if the server does not answer now.

        Raises:
            UnknownPathError: the server has no such thing there.
        """
        client, options, status = self._client, {"max_retries": 0}, None
        try:
            with self._errors():
                async with TimeLimit(self._settings.connect_timeout, self._place).waiting():
                    try:
                        if body is None:
                            answer = await client.get(url, cast_to=object, options=options)
                        else:
                            answer = await client.post(url, cast_to=object, body=body, options=options)
                    except Exception as exc:
                        status = getattr(exc, "status_code", None)  # our errors may lack a cause, to hide a secret
                        raise
        except BackendError as exc:
            if status is None or status in _NOT_NOW or isinstance(exc, PayloadError):  # such as: it is too long
                return None
            raise UnknownPathError from exc
        if not isinstance(answer, dict):
            raise UnknownPathError
        return answer
