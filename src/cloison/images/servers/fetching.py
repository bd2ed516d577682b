"""Bytes of known length and digest from servers that may break off: taken up again from where they broke.

A server that ignores ranges sends all from the beginning again, of which the known part is skipped. Where one server
fails for good, the next one that is said to have the same is asked for the rest. What has come is written down as long
as it is not all of it, for whoever asks again after this process was killed. Source: RFC 9110, section 14.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

import httpx
import msgspec

from cloison.base.errors import CloisonError, Remote, TimedOut
from cloison.images.remains import Part
from cloison.images.servers.transport import Broken, Http, chunks, host

_MOST_BREAKS: Final = 100  # of one download: a server that sends a byte at a time is not waited for until the end


class Source(msgspec.Struct, frozen=True):
    """A server that has it. `open_from(offset)` asks for it from that byte on."""

    name: str
    open_from: Callable[[int], AbstractContextManager[Iterator[bytes]]]


def fetched(
    sources: tuple[Source, ...],
    size: int,
    digest: str,
    *,
    what: str,
    http: Http,
    heard: Callable[[int], None],
    part: Part | None = None,
) -> Iterator[bytes]:
    """The `size` bytes of `digest` ("sha256:…"); `heard` is told the length of each piece. What `part` has of them is
    not asked for, what comes is added to it.

    Who has read to the end has the bytes that the digest names; before that, nothing is certain. Raises Remote,
    NotFound, Denied."""
    counted = hashlib.sha256()
    offset = 0
    for piece in part.before() if part else ():
        offset += len(piece)
        counted.update(piece)
        heard(len(piece))
        yield piece
    for source in sources:
        try:
            for chunk in _patiently(source, size, offset, what, http):
                offset += len(chunk)
                counted.update(chunk)
                heard(len(chunk))
                if part:
                    part.add(chunk)
                yield chunk
            break
        except CloisonError:
            if source is sources[-1] or http.is_aborted:
                raise
    if f"sha256:{counted.hexdigest()}" != digest:
        if part:
            part.drop()
        raise other_bytes(", ".join(source.name for source in sources), what, digest)


def _patiently(source: Source, size: int, offset: int, what: str, http: Http) -> Iterator[bytes]:
    """The bytes from `offset` on, over as many connections as it takes."""
    failures = breaks = 0
    while offset < size:
        before, is_open = offset, False
        try:
            with source.open_from(offset) as pieces:
                is_open = True
                for chunk in pieces:
                    if offset + len(chunk) > size:
                        raise Remote(f"{source.name} sends more of {what} than the {size} bytes that it should have")
                    offset += len(chunk)
                    yield chunk
            if offset < size:
                raise Broken(f"{source.name} ends {what} after {offset} of {size} bytes", host=source.name)
        except (Broken, TimedOut):
            failures = 1 if offset > before else failures + 1
            breaks += 1
            # One that does not even answer has been asked several times already, by `transport`.
            if not is_open or http.is_aborted or failures >= http.patience.attempts or breaks >= _MOST_BREAKS:
                raise
            http.sleep(http.patience.pause(failures))


def asking_from(offset: int) -> dict[str, str]:
    """The header of a request for what comes from `offset` on."""
    return {"Range": f"bytes={offset}-"} if offset else {}


def from_offset(response: httpx.Response, offset: int, *, name: str, what: str) -> Iterator[bytes]:
    """The bytes from `offset` on of an answer with status 200 or 206."""
    begin = _begin(response) if response.status_code == 206 else 0
    if begin not in (0, offset):
        raise Remote(f"{name} sends {what} from byte {begin}, when it was asked for byte {offset}")
    return _skipped(chunks(response), offset - begin)


def _begin(response: httpx.Response) -> int:
    """The first byte of a partial answer: `Content-Range: bytes 100-199/200`."""
    unit, _, place = response.headers.get("content-range", "").partition(" ")
    begin = place.partition("-")[0]
    if unit != "bytes" or not begin.isdigit():
        raise Remote(f"{host(str(response.url))} sends a part, and does not say which")
    return int(begin)


def _skipped(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """What comes after the first `count` bytes."""
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:] if count else piece
        count = 0


def other_bytes(name: str, what: str, digest: str) -> Remote:
    """The error for bytes that are not those of their digest."""
    return Remote(
        f"{name} sends other bytes for {what} than those of its digest {digest}",
        hint="nothing was taken over; try again, and ask who runs the server if it happens again",
        digest=digest,
    )
