"""An agent that is being loaded: to be awaited, or entered with ``async with``; what forgets that is told so."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from llm_backend.errors import NotAwaitedError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from llm_backend.llms.agent import Agent

__all__ = ["AgentLoading"]


class AgentLoading(Coroutine[Any, Any, "Agent"]):
    """A coroutine that loads an agent, and with ``async with`` closes it, too."""

    def __init__(self, work: Coroutine[Any, Any, Agent]) -> None:
        self._work = work
        self._agent: Agent

    def __await__(self) -> Generator[Any, Any, Agent]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:  # noqa: ANN401  (as every coroutine)
        """Go on with the work; tasks do that."""
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401  (as every coroutine)
        """Raise an error in the work, as it is cancelled."""
        return self._work.throw(*error)

    def close(self) -> None:
        """Give the work up."""
        self._work.close()

    async def __aenter__(self) -> Agent:
        self._agent = await self._work
        return await self._agent.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._agent.__aexit__(kind, error, where)

    def __repr__(self) -> str:
        return "<load_agent(...), not awaited>"


def _refuse(_: AgentLoading, name: str) -> NoReturn:
    message = (
        f"load_agent(...) is no agent until it is awaited, so it has no {name!r}."
        " Write: agent = await load_agent(...), or: async with load_agent(...) as agent."
    )
    raise NotAwaitedError(message, name=name)


# Not in the class: type checkers find a forgotten await by themselves, unless they see that any attribute is there.
AgentLoading.__getattr__ = _refuse  # type: ignore[attr-defined]
