"""A registry of the OCI distribution protocol: manifests and blobs, by name and digest.

Everything that comes is held against its digest before anybody relies on it. Blobs come
by `fetching`.

Source: distribution-spec v1.1, "Pull" and "Push".
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn
from urllib.parse import urljoin

import httpx
import msgspec

from cloison.base.errors import Denied, Remote
from cloison.images.servers import manifests
from cloison.images.servers.authorization import Authorization
from cloison.images.servers.credentials import Credentials
from cloison.images.servers.fetching import Source, asking_from, from_offset, other_bytes
from cloison.images.servers.manifests import Blob
from cloison.images.servers.references import DOCKER
from cloison.images.servers.transport import Broken, Http, body, complain, host, origin

_DOCKER_BASE: Final = "https://registry-1.docker.io"
_MOST_PAGES: Final = 1000
_PING: Final = "the protocol's version 2"


class Document(msgspec.Struct, frozen=True):
    """A manifest or a list of them, as it came."""

    kind: str
    digest: str
    content: bytes


class Registry:
    """One registry, or a mirror of one. Usable from several threads."""

    def __init__(
        self, http: Http, name: str, credentials: Credentials | None, *, address: str = "", is_insecure: bool = False
    ) -> None:
        self.http = http
        self.name = name
        is_plain = is_insecure or address.startswith("http://")  # which somebody has written down
        self.authorization = Authorization(http, name, credentials, is_insecure=is_plain)
        self._base = address or (_DOCKER_BASE if name == DOCKER else "" if is_insecure else f"https://{name}")

    @property
    def base(self) -> str:
        """The address that its paths begin with; an insecure registry is first tried with TLS."""
        if not self._base:
            self._base = self._found()
        return self._base

    def _found(self) -> str:
        with contextlib.suppress(Broken), self.http.asked("GET", f"https://{self.name}/v2/", is_repeated=False):
            return f"https://{self.name}"
        return f"http://{self.name}"

    @contextlib.contextmanager
    def asked(
        self,
        method: str,
        place: str,
        *,
        what: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        is_repeated: bool | None = None,
    ) -> Iterator[httpx.Response]:
        """The answer to a request to `place`, a path or an address; where it is refused without credentials or with an
        old token, asked again with what the refusal asks for. Other origins get no credentials."""
        url = place if "://" in place else f"{self.base.rstrip('/')}{place}"
        for is_last in (False, True):
            is_ours = origin(url) == origin(self.base)
            sent = {**(headers or {}), **(self.authorization.headers(scopes) if is_ours else {})}
            with self.http.asked(method, url, headers=sent, content=content, is_repeated=is_repeated) as response:
                is_refused = response.status_code == 401 and origin(str(response.url)) == origin(self.base)
                if is_last or not is_refused:
                    yield response
                    return
                self.authorization.answer(response, scopes, what=what)

    def refuse(self, response: httpx.Response, what: str) -> NoReturn:
        """Raise the error for an answer that is not what was asked for."""
        complain(response, what=what, name=self.name, is_known=self.authorization.is_known)

    def ping(self) -> None:
        """Find out that there is a registry, and that it takes our credentials. Raises Denied, Remote."""
        what = _PING
        with self.asked("GET", "/v2/", what=what, scopes=()) as response:
            if response.status_code in (401, 403) and self.authorization.is_known:
                raise Denied(f"{self.name} does not take this user and password", host=self.name)
            if response.status_code == 404:
                raise Remote(f"{self.name} is no registry: it does not know {what}", hint="look at the address")
            if response.status_code != 200:
                self.refuse(response, what)

    def manifest(self, repository: str, wanted: str, *, what: str) -> Document:
        """The manifest or list behind a tag or a digest. Raises NotFound, Denied, Remote, Unsupported."""
        headers = {"Accept": ", ".join(manifests.ACCEPTED)}
        place = f"/v2/{repository}/manifests/{wanted}"
        with self.asked("GET", place, what=what, scopes=pulling(repository), headers=headers) as response:
            if response.status_code != 200:
                self.refuse(response, what)
            content = body(response, manifests.MAX_MANIFEST_BYTES, what=f"the manifest of {what}")
            told = response.headers.get("docker-content-digest", "")
            media_type = response.headers.get("content-type", "")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for expected in (wanted, told):
            if expected.startswith("sha256:") and expected != digest:
                raise other_bytes(self.name, f"the manifest of {what}", expected)
        return Document(manifests.kind_of(content, media_type, what=what), digest, content)

    def has_blob(self, repository: str, digest: str, *, what: str, scopes: tuple[str, ...]) -> bool:
        """Whether the registry has a blob, for this repository."""
        place = f"/v2/{repository}/blobs/{digest}"
        with self.asked("HEAD", place, what=what, scopes=scopes) as response:
            if response.status_code not in (200, 404):
                self.refuse(response, what)
            return bool(response.status_code == 200)

    def source(self, repository: str, blob: Blob, *, what: str) -> Source:
        """A blob of this registry, to be fetched."""

        @contextlib.contextmanager
        def open_from(offset: int) -> Iterator[Iterator[bytes]]:
            place = f"/v2/{repository}/blobs/{blob.digest}"
            headers = asking_from(offset)
            with self.asked("GET", place, what=what, scopes=pulling(repository), headers=headers) as response:
                if response.status_code not in (200, 206):
                    self.refuse(response, what)
                yield from_offset(response, offset, name=self.name, what=what)

        return Source(self.name, open_from)

    def listed(self, place: str, *, scopes: tuple[str, ...], what: str) -> Iterator[bytes]:
        """The documents of a listing that may come in several pages. Source: distribution-spec, "Listing Tags"."""
        for _ in range(_MOST_PAGES):
            with self.asked("GET", place, what=what, scopes=scopes) as response:
                if response.status_code != 200:
                    self.refuse(response, what)
                yield body(response, manifests.MAX_MANIFEST_BYTES, what=what)
                following = response.links.get("next", {}).get("url", "")
            if not following:
                return
            place = urljoin(f"{self.base}{place}" if "://" not in place else place, following)
            if origin(place) != origin(self.base):
                raise Remote(f"{self.name} continues its list of {what} on another server, {host(place)}")


def pulling(repository: str) -> tuple[str, ...]:
    """The scope of a token that lets one read."""
    return (f"repository:{repository}:pull",)
