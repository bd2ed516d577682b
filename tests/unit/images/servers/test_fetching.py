"""Downloads that break off, and servers that lie."""

import hashlib
from collections.abc import Callable

import httpx
import pytest

from cloison.base.errors import NotFound, Remote
from cloison.images.servers.fetching import fetched
from cloison.images.servers.manifests import Blob
from cloison.images.servers.registry import Registry
from cloison.images.servers.transport import Broken, Http
from tests.unit.images.servers.conftest import Breaking, Clock, Plain

CONTENT = bytes(range(256)) * 40
BLOB = Blob("application/vnd.oci.image.layer.v1.tar", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", len(CONTENT))
Handler = Callable[[httpx.Request], httpx.Response]
Connect = Callable[..., Http]


def begin_of(request: httpx.Request) -> int:
    return int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def part(begin: int, content: bytes = CONTENT) -> httpx.Response:
    told = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
    return httpx.Response(206 if begin else 200, stream=Plain(content[begin:]), headers=told if begin else {})


def download(connect: Connect, *handlers: Handler) -> tuple[bytes, list[int]]:
    """What comes from a blob on these servers, and the lengths that were heard of."""
    heard: list[int] = []
    https = [connect(handler) for handler in handlers]
    sources = tuple(Registry(http, f"h{n}", None).source("a/b", BLOB, what="a layer") for n, http in enumerate(https))
    pieces = fetched(sources, BLOB.size, BLOB.digest, what="a layer", http=https[0], heard=heard.append)
    return b"".join(pieces), heard


def test_a_blob_comes_whole(connect: Connect) -> None:
    content, heard = download(connect, lambda _: part(0))
    assert content == CONTENT and sum(heard) == len(CONTENT)


def test_a_broken_download_goes_on_where_it_broke(connect: Connect, clock: Clock) -> None:
    begins = []

    def handler(request: httpx.Request) -> httpx.Response:
        begins.append(begin_of(request))
        if len(begins) < 4:
            begin = begins[-1]
            told = {"Content-Range": f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"} if begin else {}
            return httpx.Response(206 if begin else 200, stream=Breaking(CONTENT[begin : begin + 3000]), headers=told)
        return part(begins[-1])

    content, heard = download(connect, handler)
    assert content == CONTENT and sum(heard) == len(CONTENT)
    assert begins == [0, 3000, 6000, 9000]
    assert clock.slept == [0.25] * 3  # each got further, so none of them is the second failure in a row


def test_where_ranges_are_ignored_the_known_part_is_skipped(connect: Connect) -> None:
    begins = []

    def handler(request: httpx.Request) -> httpx.Response:
        begins.append(begin_of(request))
        return httpx.Response(200, stream=Breaking(CONTENT[:3333]) if len(begins) == 1 else Plain(CONTENT))

    content, heard = download(connect, handler)
    assert content == CONTENT and sum(heard) == len(CONTENT) and begins == [0, 3333]


def test_a_part_from_elsewhere_is_refused(connect: Connect) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return part(50) if begin_of(request) else httpx.Response(200, stream=Breaking(CONTENT[:30]))

    with pytest.raises(Remote, match="from byte 50, when it was asked for byte 30"):
        download(connect, handler)


def test_a_truncated_body_that_never_gets_longer_is_an_error(connect: Connect, clock: Clock) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        begin = begin_of(request)
        return httpx.Response(
            206, stream=Plain(CONTENT[begin:5000]), headers={"Content-Range": f"bytes {begin}-4999/*"}
        )

    with pytest.raises(Broken, match="ends a layer after 5000 of 10240 bytes"):
        download(connect, handler)
    assert len(clock.slept) == 4


def test_other_bytes_than_the_digest_says_are_an_error(connect: Connect) -> None:
    with pytest.raises(Remote, match="other bytes for a layer"):
        download(connect, lambda _: part(0, CONTENT[:-1] + b"\0"))


def test_more_bytes_than_the_manifest_says_are_an_error(connect: Connect) -> None:
    with pytest.raises(Remote, match="sends more of a layer than the 10240 bytes"):
        download(connect, lambda _: part(0, CONTENT + b"more"))


def test_the_next_server_takes_over_where_one_fails_for_good(connect: Connect) -> None:
    begins = []

    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if begin_of(request) else httpx.Response(200, stream=Breaking(CONTENT[:4000]))

    def whole(request: httpx.Request) -> httpx.Response:
        begins.append(begin_of(request))
        return part(begins[-1])

    content, _ = download(connect, broken, whole)
    assert content == CONTENT and begins == [4000]


def test_a_blob_that_is_nowhere_is_not_found(connect: Connect) -> None:
    with pytest.raises(NotFound, match="h1 has no a layer"):
        download(connect, lambda _: httpx.Response(404), lambda _: httpx.Response(404))


def test_a_server_that_does_not_answer_is_not_asked_over_and_over(connect: Connect, clock: Clock) -> None:
    asked = []

    def dead(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("connection refused")

    content, _ = download(connect, dead, lambda _: part(0))
    assert content == CONTENT and len(asked) == 5 and clock.slept == [0.25, 0.5, 1.0, 2.0]
