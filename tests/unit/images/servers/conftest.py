"""Servers that are functions: no test here opens a connection."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from cloison.images.servers.transport import Http, Patience

Handler = Callable[[httpx.Request], httpx.Response]


class Clock:
    """What was waited for, without waiting."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, pause_s: float) -> None:
        self.slept.append(pause_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connect(clock: Clock) -> Callable[..., Http]:
    """`connect(handler)`: connections that all end at a function."""

    def made(handler: Handler, **how: object) -> Http:
        transport = httpx.MockTransport(lambda request: _streamed(handler(request)))
        return Http(patience=Patience(), sleep=clock.sleep, transport=transport, **how)  # type: ignore[arg-type]

    return made


class Breaking(httpx.SyncByteStream):
    """A body whose connection breaks behind it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("connection reset by peer")


class Plain(httpx.SyncByteStream):
    """A body as a server streams it."""

    def __init__(self, content: bytes, piece: int = 1000) -> None:
        self._content, self._piece = content, piece

    def __iter__(self) -> Iterator[bytes]:
        for place in range(0, len(self._content), self._piece):
            yield self._content[place : place + self._piece]


def _streamed(response: httpx.Response) -> httpx.Response:
    """As it comes from a server: its body not read yet."""
    if not response.is_stream_consumed:
        return response
    return httpx.Response(response.status_code, headers=response.headers, stream=Plain(response.content))
