"""A simplestreams server: its list of images, cached, and its files.

    <cache>/<hex>.body     a document as it came; <hex> is of its address
    <cache>/<hex>.json     its ETag, and when the server last said that it is still so
    <cache>/lock           held while they are written

With a keyring in the configuration only signed lists are taken: `.sjson`, clear-signed, or `.json` with `.json.gpg`
beside it. The digests of the files are in the lists, so that one signature covers all.

Source: simplestreams, `doc/README`, "Signed files"; RFC 9110, section 13 (conditional requests).
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Denied, NotFound, Remote, TimedOut
from cloison.images.files import write_beside
from cloison.images.remains import Part
from cloison.images.servers import signatures, simplestreams
from cloison.images.servers.fetching import Source, asking_from, fetched, from_offset
from cloison.images.servers.settings import Remote as RemoteSettings
from cloison.images.servers.simplestreams import Item, Product
from cloison.images.servers.transport import Broken, Http, body, complain
from cloison.kernel.locks import exclusive

MAX_LIST_BYTES: Final = 64 << 20  # the public list has 1 MiB
_INDEX: Final = "streams/v1/index.json"


class _Kept(msgspec.Struct, frozen=True):
    """What is remembered of a cached document."""

    address: str
    etag: str
    checked_s: float


class Streams:
    """One remote of the protocol simplestreams; `cache` is a directory, made where it is missing."""

    def __init__(
        self,
        http: Http,
        name: str,
        settings: RemoteSettings,
        cache: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.http = http
        self.name = name
        self._settings = settings
        self._cache = cache
        self._clock = clock
        self._addresses = tuple(address.rstrip("/") for address in (*settings.mirrors, settings.url))

    def products(self) -> tuple[Product, ...]:
        """All that the server offers. Raises Remote, NotFound, Denied for what is not signed as it should be."""
        found: list[Product] = []
        for path in simplestreams.lists(self._document(_INDEX), server=self.name):
            found += simplestreams.products(self._document(path), server=self.name)
        return tuple(found)

    def chunks(
        self, item: Item, *, what: str, heard: Callable[[int], None], part: Part | None = None
    ) -> Iterator[bytes]:
        """The bytes of a file, as `fetched`; who has read to the end has those of its sha256."""
        sources = tuple(self._source(address, item.path, what) for address in self._addresses)
        digest = f"sha256:{item.sha256.lower()}"
        return fetched(sources, item.size, digest, what=what, http=self.http, heard=heard, part=part)

    def _source(self, address: str, path: str, what: str) -> Source:
        @contextlib.contextmanager
        def open_from(offset: int) -> Iterator[Iterator[bytes]]:
            with self.http.asked("GET", f"{address}/{path}", headers=asking_from(offset)) as response:
                if response.status_code not in (200, 206):
                    complain(response, what=what)
                yield from_offset(response, offset, name=self.name, what=what)

        return Source(self.name, open_from)

    def _document(self, path: str) -> bytes:
        """A list, from the first server that has it; signed, where there is a keyring. A mirror that is not there
        is not asked for anything more."""
        for address in self._addresses[:-1]:
            try:
                return self._verified(address, path)
            except (Broken, TimedOut):
                self._addresses = tuple(other for other in self._addresses if other != address)
            except (Remote, NotFound):
                continue
        return self._verified(self._addresses[-1], path)

    def _verified(self, address: str, path: str) -> bytes:
        keyring = self._settings.keyring
        if not keyring:
            return self._got(address, path)
        what = f"{path} of {self.name}"
        stem = path.removesuffix(".sjson").removesuffix(".json")
        with contextlib.suppress(NotFound):
            return signatures.opened(self._got(address, f"{stem}.sjson"), keyring, what=what)
        try:
            signature = self._got(address, f"{stem}.json.gpg")
        except NotFound as missing:
            raise Denied(
                f"{what} is not signed, and only what a key of {keyring} has signed is taken from there",
                hint=f"use another server, or take remotes.{self.name}.keyring out of the host's configuration",
            ) from missing
        return signatures.opened(self._got(address, f"{stem}.json"), keyring, what=what, detached=signature)

    def _got(self, address: str, path: str) -> bytes:
        """A document: the cached one, as long as it is young or the server says that it is still so."""
        url = f"{address}/{path}"
        kept, content = self._cached(url)
        age_s = self._clock() - kept.checked_s if kept else 0.0
        if kept and 0 <= age_s < self._settings.max_age_s:
            return content
        headers = {"If-None-Match": kept.etag} if kept and kept.etag else {}
        with self.http.asked("GET", url, headers=headers) as response:
            if response.status_code == 304 and kept:
                self._keep(url, content, kept.etag)
                return content
            if response.status_code != 200:
                complain(response, what=path)
            content = body(response, MAX_LIST_BYTES, what=path)
            etag = response.headers.get("etag", "")
        self._keep(url, content, etag)
        return content

    def _cached(self, url: str) -> tuple[_Kept | None, bytes]:
        """What is kept of a document; None where nothing is, or not all."""
        place = self._place(url)
        try:
            with open(f"{place}.json", "rb") as file:
                kept = msgspec.json.decode(file.read(), type=_Kept)
            with open(f"{place}.body", "rb") as file:
                return kept, file.read()
        except (FileNotFoundError, msgspec.MsgspecError):
            return None, b""

    def _keep(self, url: str, content: bytes, etag: str) -> None:
        """The body first, and what is said about it only after the former is gone: both always belong together."""
        with full_disk_named(self._cache, what="lists of images"):
            os.makedirs(self._cache, mode=0o700, exist_ok=True)
            place = self._place(url)
            with exclusive(f"{self._cache}/lock", timeout_s=None):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{place}.json")
                write_beside(f"{place}.body", content)
                write_beside(f"{place}.json", msgspec.json.encode(_Kept(url, etag, self._clock())))

    def _place(self, url: str) -> str:
        return f"{self._cache}/{hashlib.sha256(url.encode()).hexdigest()[:32]}"
