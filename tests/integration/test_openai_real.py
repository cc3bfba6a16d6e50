"""What the openai engine's own library does by itself; test_engine_contract asks it for real answers."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.requires("openai")

# Misuse of the library, which would be our mistake and has to show as one.
MISUSE = {"APIRemovedInV1", "MutuallyExclusiveAuthError", "StreamAlreadyConsumed", "_AmbiguousModuleClientUsageError"}
# Unused by any engine: its own parsing of answers, its realtime API, keys that it fetches elsewhere.
UNUSED = {
    "ContentFilterFinishReasonError",
    "LengthFinishReasonError",
    "SubjectTokenProviderError",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
}


def test_every_error_of_the_library_is_known() -> None:
    """Every error of the library becomes one of ours."""
    import openai

    from llm_backend.llms.engines.server.client_errors import mapper_of

    def family(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*map(family, kind.__subclasses__()))

    errors = {kind for kind in family(openai.OpenAIError) if kind.__module__.partition(".")[0] == "openai"}
    assert {kind.__name__ for kind in errors if mapper_of(kind) is None} == {"OpenAIError", *MISUSE, *UNUSED}


def test_every_error_of_its_http_library_is_known() -> None:
    """Every error of its HTTP library becomes one of ours."""
    import httpx2

    from llm_backend.llms.engines.server.client_errors import mapper_of

    errors = [kind for kind in vars(httpx2).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert httpx2.ProxyError in errors
    assert [kind for kind in errors if mapper_of(kind) is None] == []
