"""Uploads to a registry that keeps what it has got, as the specification asks for."""

import hashlib
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from cloison.base.errors import Denied, Remote
from cloison.images.servers import uploading
from cloison.images.servers.registry import Registry
from cloison.images.servers.transport import Http
from cloison.images.servers.uploading import Upload
from tests.unit.images.servers.conftest import Clock

Connect = Callable[..., Http]
CONTENT = bytes(range(251)) * 40  # 10,040 bytes
WHOLE = (f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", len(CONTENT))


class Uploads:
    """A registry with one upload. `loses` are how many bytes of a PATCH arrive before its connection breaks."""

    def __init__(self, *loses: int | None, forgets: bool = False, least: int = 0) -> None:
        self.loses, self.forgets, self.least = list(loses), forgets, least
        self.held = b""
        self.blobs: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.number = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        range_ = request.headers.get("content-range", "")
        self.asked.append((request.method, range_))
        place = {"Location": f"/v2/a/b/blobs/uploads/{self.number}?state={len(self.held)}"}
        if request.method == "POST":
            self.number, self.held = self.number + 1, b""
            least = {"OCI-Chunk-Min-Length": str(self.least)} if self.least else {}
            return httpx.Response(202, headers={"Location": f"/v2/a/b/blobs/uploads/{self.number}"} | least)
        if request.url.path.rpartition("/")[2] != str(self.number):
            return httpx.Response(404)
        if request.method == "GET":
            if self.forgets:
                self.number += 1
                return httpx.Response(404)
            return httpx.Response(204, headers=place | {"Range": f"0-{max(0, len(self.held) - 1)}"})
        if request.method == "PATCH":
            return self.patched(request, range_)
        assert request.method == "PUT"
        self.held += request.content
        digest = dict(request.url.params)["digest"]
        if digest != f"sha256:{hashlib.sha256(self.held).hexdigest()}":
            return httpx.Response(400)
        self.blobs.append(digest)
        return httpx.Response(201)

    def patched(self, request: httpx.Request, range_: str) -> httpx.Response:
        found = re.fullmatch(r"(\d+)-(\d+)", range_)
        assert found and int(found[2]) - int(found[1]) + 1 == len(request.content)
        if int(found[1]) != len(self.held):
            return httpx.Response(416)
        lost = self.loses.pop(0) if self.loses else None
        if lost is not None:
            self.held += request.content[:lost]
            raise httpx.WriteError("broken pipe")
        self.held += request.content
        place = f"/v2/a/b/blobs/uploads/{self.number}?state={len(self.held)}"
        return httpx.Response(202, headers={"Location": place, "Range": f"0-{len(self.held) - 1}"})


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "CHUNK_BYTES", 4000)


def source() -> Iterator[bytes]:
    return iter(CONTENT[place : place + 700] for place in range(0, len(CONTENT), 700))


def upload(connect: Connect, server: Callable[[httpx.Request], httpx.Response]) -> tuple[str, int]:
    return Upload(Registry(connect(server), "h", None), "a/b", source, "a layer").run()


def test_a_long_blob_goes_in_chunks_that_say_where_they_belong(connect: Connect) -> None:
    server = Uploads()
    assert upload(connect, server) == WHOLE and server.blobs == [WHOLE[0]]
    ranges = [("PATCH", "0-3999"), ("PATCH", "4000-7999"), ("PATCH", "8000-10039")]
    assert server.asked == [("POST", ""), *ranges, ("PUT", "")]


def test_a_small_blob_goes_in_one_request(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "CHUNK_BYTES", 1 << 20)
    server = Uploads()
    assert upload(connect, server) == WHOLE and server.held == CONTENT
    assert [method for method, _ in server.asked] == ["POST", "PUT"]


def test_a_registry_may_ask_for_longer_chunks(connect: Connect) -> None:
    server = Uploads(least=6000)
    assert upload(connect, server) == WHOLE
    assert ("PATCH", "0-5999") in server.asked


@pytest.mark.parametrize("arrived", [0, 1500, 4000])
def test_what_was_lost_of_a_chunk_is_sent_again_and_nothing_else(connect: Connect, clock: Clock, arrived: int) -> None:
    server = Uploads(None, arrived)
    assert upload(connect, server) == WHOLE and server.blobs == [WHOLE[0]]
    again = [("PATCH", f"{4000 + arrived}-7999")] if arrived < 4000 else []
    rest = [*again, ("PATCH", "8000-10039"), ("PUT", "")]
    assert server.asked == [("POST", ""), ("PATCH", "0-3999"), ("PATCH", "4000-7999"), ("GET", ""), *rest]
    assert clock.slept == [0.25]


def test_where_the_registry_forgets_all_begins_anew(connect: Connect, clock: Clock) -> None:
    server = Uploads(None, 100, forgets=True)
    assert upload(connect, server) == WHOLE and server.blobs == [WHOLE[0]]
    assert [method for method, _ in server.asked].count("POST") == 2


def test_a_registry_that_never_takes_a_byte_is_given_up(connect: Connect) -> None:
    server = Uploads(*[0] * 99)
    with pytest.raises(Remote):
        upload(connect, server)
    assert server.blobs == []


def test_an_upload_is_used_that_has_begun_already(connect: Connect) -> None:
    server = Uploads()
    server.number = 7
    registry = Registry(connect(server), "h", None)
    assert Upload(registry, "a/b", source, "a layer").run("https://h/v2/a/b/blobs/uploads/7") == WHOLE
    assert "POST" not in [method for method, _ in server.asked]


def test_who_may_not_write_is_told(connect: Connect) -> None:
    with pytest.raises(Denied, match="h refuses a layer"):
        upload(connect, lambda _: httpx.Response(403))


def test_an_upload_does_not_leave_tls(connect: Connect) -> None:
    asked: list[httpx.URL] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(202, headers={"Location": "http://elsewhere/upload"})

    with pytest.raises(Remote, match="without encryption"):
        upload(connect, server)
    assert len(asked) == 1


def test_a_blob_whose_last_answer_was_lost_is_asked_for(connect: Connect) -> None:
    inner = Uploads()

    def server(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(200 if inner.blobs else 404)
        answer = inner(request)
        if request.method == "PUT":
            raise httpx.ReadError("reset")
        return answer

    assert upload(connect, server) == WHOLE and inner.blobs == [WHOLE[0]]
