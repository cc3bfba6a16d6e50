"""A server that instantly returns the same chat completion to everybody; prints its port and runs until killed."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
BODY = json.dumps(
    {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of one connection."""
    with suppress(asyncio.IncompleteReadError):  # the end of the connection
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(ANSWER)


async def main() -> None:
    """Run."""
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)  # noqa: T201  (its parent process reads that)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
