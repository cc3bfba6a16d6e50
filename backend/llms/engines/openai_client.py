"""OpenAI's client library as every engine here uses it: patient within limits, loyal to one address, and discreet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import openai

from backend.llms.engines.event_stream import StreamingClient
from backend.llms.gateway_settings import sent
from backend.llms.time_limits import asked_wait, seconds_left

if TYPE_CHECKING:
    import httpx2

    from backend.llms.openai_server import Server

__all__ = ["connect"]

# What the library would tell each server about this machine.
_ABOUT_US = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async")


def connect(server: Server) -> openai.AsyncOpenAI:
    """Make a client for ``server``; it connects on the first request.

    It follows no redirect: the library would leave the key behind, but take the prompt to wherever it is sent.
    """
    left_out: Any = openai.Omit()  # the library's way to say it, though its types know texts only
    http_client = openai.DefaultAsyncHttpxClient(
        follow_redirects=False, event_hooks={"response": [_refuse_waits_that_are_too_long]}
    )
    return StreamingClient(
        # Always said, as the library would else take one from OPENAI_BASE_URL, which our settings do not know, and
        # send the key there.
        base_url=server.place,
        default_query=dict(parse_qsl(urlsplit(server.url).query, keep_blank_values=True)),
        api_key=server.key,
        timeout=openai.Timeout(server.settings.read_timeout, connect=server.settings.connect_timeout),
        max_retries=server.settings.max_retries,
        http_client=http_client,
        default_headers={
            **{f"X-Stainless-{name}": left_out for name in _ABOUT_US},
            **sent(server.settings.extra_headers),
        },
    )


async def _refuse_waits_that_are_too_long(response: httpx2.Response) -> None:
    """Let the library give up where the server asks for a longer wait than the request may take.

    It would wait in vain, and then report that time is up in place of what the server said.
    """
    asked = asked_wait(response.headers)
    if asked is not None and asked > seconds_left():
        response.headers["x-should-retry"] = "false"
