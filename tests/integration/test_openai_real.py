"""What the openai engine's own library brings along; test_engine_contract asks it for real answers."""

from __future__ import annotations

import pytest
from llm_backend.llms.engines.server.client_errors import ERROR_NAMES, qualified_name

pytestmark = pytest.mark.requires("openai")

# Misuse of the library by its caller, which would be a mistake of ours and has to show as one.
MISUSE = {"APIRemovedInV1", "MutuallyExclusiveAuthError", "StreamAlreadyConsumed", "_AmbiguousModuleClientUsageError"}


def test_every_error_of_the_library_is_known() -> None:
    """An error that came with a new version of the library reaches callers as it is."""
    import openai

    def family(kind: type[Exception]) -> set[str]:
        return {qualified_name(kind)}.union(*map(family, kind.__subclasses__()))

    errors = {name for name in family(openai.OpenAIError) if name.startswith("openai.")}
    known = {name for name in ERROR_NAMES if name.startswith("openai.")}
    assert errors - known == {"openai.OpenAIError", *(f"openai.{name}" for name in MISUSE)}
    assert known - errors == set()


def test_every_error_of_its_http_library_is_known() -> None:
    """No error of the library below it reaches callers as it is."""
    import httpx2

    errors = [kind for kind in vars(httpx2).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert httpx2.ProxyError in errors
    assert [kind for kind in errors if ERROR_NAMES.isdisjoint(map(qualified_name, kind.__mro__))] == []
