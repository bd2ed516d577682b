"""Blobs on their way into a registry.

A small blob goes in one request. A long one, whose digest is known only at its end, goes in chunks, each of which says
where it belongs. Where a chunk was lost on its way, the registry is asked how much it has, and gets the rest; where it
no longer knows (some forget a broken upload), all begins anew, a bounded number of times.

Source: distribution-spec v1.1, "Pushing blobs".
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import httpx

from cloison.base.errors import Remote, TimedOut
from cloison.images.servers.refusals import RETRIED
from cloison.images.servers.registry import Registry
from cloison.images.servers.transport import Broken

CHUNK_BYTES: Final = 8 << 20
_ANEW: Final = 3
_OCTETS: Final = {"Content-Type": "application/octet-stream"}


class _Lost(Exception):
    """The registry no longer knows of the upload."""


class Upload:
    """One blob into one repository. `source` gives its bytes, from the beginning each time that it is called."""

    def __init__(self, registry: Registry, repository: str, source: Callable[[], Iterator[bytes]], what: str) -> None:
        self._registry = registry
        self._repository = repository
        self._source = source
        self._what = what
        self._scopes = pushing(repository)
        self._at = ""  # the address of the upload
        self._chunk_bytes = CHUNK_BYTES

    def run(self, begun: str = "") -> tuple[str, int]:
        """Upload it; its digest and length. `begun` is the address of an upload that the registry has begun already.

        Raises Denied, Remote, TimedOut, and what `source` raises."""
        patience = self._registry.http.patience
        for failures in range(1, _ANEW + 1):
            try:
                self._at = begun if begun and failures == 1 else self._begin()
                return self._sent()
            except _Lost as lost:
                if failures == _ANEW or self._registry.http.is_aborted:
                    raise Remote(
                        f"{self._registry.name} broke off {self._what} {_ANEW} times: {lost}", hint="try again later"
                    ) from lost
                self._registry.http.sleep(patience.pause(failures))
        raise AssertionError("the loop ends by itself")

    def _begin(self) -> str:
        place = f"/v2/{self._repository}/blobs/uploads/"
        with self._registry.asked("POST", place, what=self._what, scopes=self._scopes, is_repeated=True) as response:
            if response.status_code != 202:
                self._registry.refuse(response, self._what)
            least = response.headers.get("oci-chunk-min-length", "")
            self._chunk_bytes = max(CHUNK_BYTES, int(least) if least.isdigit() else 0)
            return following(response)

    def _sent(self) -> tuple[str, int]:
        digest = hashlib.sha256()
        offset = 0
        for chunk, is_last in _chunked(self._source(), self._chunk_bytes):
            digest.update(chunk)
            if is_last and not offset:
                break  # all of it fits into the request that ends the upload
            self._patch(chunk, offset)
            offset += len(chunk)
            chunk = b""
        whole = f"sha256:{digest.hexdigest()}"
        self._end(whole, chunk)
        return whole, offset + len(chunk)

    def _patch(self, chunk: bytes, begin: int) -> None:
        """Send a chunk that belongs at `begin`, all of it, in as many requests as that takes."""
        http = self._registry.http
        done = failures = 0
        while done < len(chunk):
            before = done
            try:
                end = self._patched(chunk[done:], begin + done)
            except (Broken, TimedOut):
                failures += 1
                if http.is_aborted or failures >= http.patience.attempts:
                    raise
                http.sleep(http.patience.pause(failures))
                end = self._held()
            if not begin <= end <= begin + len(chunk):
                raise _Lost(f"it has {end} bytes, and not those from {begin} on")
            done = end - begin
            failures = 0 if done > before else max(failures, 1)
            if done == before and failures >= http.patience.attempts:
                raise _Lost("it takes no more")

    def _patched(self, part: bytes, begin: int) -> int:
        """How many bytes of the blob the registry has afterwards. Raises Broken where that is not known."""
        end = begin + len(part)
        headers = {**_OCTETS, "Content-Range": f"{begin}-{end - 1}"}
        with self._asked("PATCH", self._at, part, headers) as response:
            if response.status_code in RETRIED:
                raise Broken(f"{self._registry.name} answers {self._what} with status {response.status_code}")
            if response.status_code in (404, 416):
                raise _Lost(f"it answers with status {response.status_code}")
            if response.status_code not in (201, 202, 204):
                self._registry.refuse(response, self._what)
            self._at = following(response)
            return _held_by(response, end)

    def _held(self) -> int:
        """How many bytes of the upload the registry has, by its own word."""
        with self._asked("GET", self._at) as response:
            if response.status_code != 204:
                raise _Lost(f"it answers with status {response.status_code} when it is asked how much it has")
            if "location" in response.headers:
                self._at = following(response)
            return _held_by(response, 0)

    def _end(self, digest: str, rest: bytes) -> None:
        """Say which blob it was, with what was not sent yet."""
        parts = urlsplit(self._at)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)])
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
        try:
            with self._asked("PUT", url, rest, _OCTETS) as response:
                if response.status_code in (400, 404, 416, *RETRIED):
                    raise _Lost(f"it answers with status {response.status_code} at the end")
                if response.status_code != 201:
                    self._registry.refuse(response, self._what)
        except (Broken, TimedOut) as problem:
            if not self._registry.has_blob(self._repository, digest, what=self._what, scopes=self._scopes):
                raise _Lost(problem.sentence) from problem

    def _asked(
        self, method: str, url: str, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> AbstractContextManager[httpx.Response]:
        return self._registry.asked(method, url, what=self._what, scopes=self._scopes, headers=headers, content=content)


def pushing(repository: str) -> tuple[str, ...]:
    """The scope of a token that lets one write."""
    return (f"repository:{repository}:pull,push",)


def following(response: httpx.Response) -> str:
    """The address at which an upload goes on. Raises Remote where there is none."""
    place: str = response.headers.get("location", "")
    url = urljoin(str(response.url), place)
    if not place or urlsplit(url).scheme not in ("http", "https"):
        raise Remote(f"{urlsplit(str(response.url)).netloc} does not say where the upload goes on")
    if urlsplit(str(response.url)).scheme == "https" and urlsplit(url).scheme == "http":
        # Behind a proxy that speaks TLS for them, registries that do not know of it name themselves without.
        if urlsplit(url).netloc != urlsplit(str(response.url)).netloc:
            raise Remote(f"{urlsplit(str(response.url)).netloc} wants the upload without encryption at {url[:80]!r}")
        url = f"https{url.removeprefix('http')}"
    return url


def _held_by(response: httpx.Response, otherwise: int) -> int:
    """The count of bytes in `Range: 0-99`, which is 100. Nothing at all is told as 0-0, too."""
    begin, _, end = response.headers.get("range", "").removeprefix("bytes=").partition("-")
    if begin != "0" or not end.isdigit():
        return otherwise
    return int(end) + 1 if end != "0" else 0


def _chunked(pieces: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in chunks of `size`, each with whether it is the last one; at least one, which may be empty."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        while len(kept) > size:
            yield bytes(kept[:size]), False
            del kept[:size]
    yield bytes(kept), True
