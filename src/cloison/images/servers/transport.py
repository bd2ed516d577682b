"""Requests by HTTP, with the patience that servers of images need.

What is done here and nowhere else:
* A request that only asks is sent again after a broken connection or an answer such as 503, a bounded number of times;
  Retry-After is honoured as long as it is bearable.
* A redirect is followed by hand: `Authorization` never goes to another origin, and TLS is never left.
* `abort` ends all that is being read, so that one thread's failure or Ctrl-C ends the others at once.

Usable from several threads. Source: RFC 9110; httpx, "Advanced usage".
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from cloison.base.errors import Invalid, Remote, TimedOut, Unsupported
from cloison.base.units import format_duration
from cloison.images.servers import trust
from cloison.images.servers.refusals import RETRIED, refusal, retry_after_s, words_of

AGENT: Final = "cloison"
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REDIRECTS: Final = 5
_ERROR_BYTES: Final = 64 << 10
_TIMEOUT: Final = httpx.Timeout(connect=15.0, read=60.0, write=60.0, pool=None)


class Patience(msgspec.Struct, frozen=True):
    """How often something is tried, and how long is waited in between: twice as long each time."""

    attempts: int = 5
    pause_s: float = 0.25
    longest_pause_s: float = 60.0  # what asks for more by Retry-After is not waited for

    def pause(self, failures: int) -> float:
        """The seconds before the next attempt, after so many failures in a row."""
        return float(min(self.pause_s * 2 ** (failures - 1), self.longest_pause_s))


class Broken(Remote):
    """A connection that broke, or was never there. What was asked may be asked again."""


class Http:
    """Connections to servers. Whoever makes it closes it."""

    def __init__(
        self,
        *,
        certificates: tuple[str, ...] = (),
        proxy: str = "",
        is_insecure: Callable[[str], bool] = lambda _host: False,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self.sleep = sleep
        self.is_insecure = is_insecure
        self._certificates = certificates
        self._proxy = proxy
        self._transport = transport  # what answers in place of servers, in tests
        self._clients: dict[str, httpx.Client] = {}
        self._lock = threading.Lock()
        self._open: set[httpx.Response] = set()
        self._is_aborted = False

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def abort(self) -> None:
        """Break off everything that other threads are reading; whatever is asked from now on fails."""
        with self._lock:
            self._is_aborted = True
            open_responses = list(self._open)
        for response in open_responses:
            stream = response.extensions.get("network_stream")
            connection = stream.get_extra_info("socket") if stream else None
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._is_aborted

    @contextlib.contextmanager
    def asked(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        is_repeated: bool | None = None,
    ) -> Iterator[httpx.Response]:
        """The answer to a request, whatever its status, its body not read yet; redirects are followed.

        `is_repeated`: send it again where that may help; by default where the method only asks. Raises Broken,
        TimedOut, Remote for redirects that lead nowhere, Invalid for a proxy that cannot be."""
        again = method in ("GET", "HEAD") if is_repeated is None else is_repeated
        response = self._patiently(method, url, dict(headers or {}), content, is_repeated=again)
        with self._lock:
            self._open.add(response)
            is_late = self._is_aborted  # after the answer had begun, and before `abort` could know of it
        try:
            if is_late:
                raise self._broken_off(url)
            yield response
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()

    def _patiently(
        self, method: str, url: str, headers: dict[str, str], content: bytes | None, *, is_repeated: bool
    ) -> httpx.Response:
        failures = 0
        while True:
            try:
                response = self._redirected(method, url, headers, content)
                if response.status_code not in RETRIED or not is_repeated:
                    return response
                pause = retry_after_s(response.headers.get("retry-after", ""))
            except (Broken, TimedOut) as problem:
                if not is_repeated or problem.facts.get("is_final") or failures + 1 >= self._attempts(problem):
                    raise
                response, pause = None, None
            failures += 1
            if response is not None:
                if failures >= self.patience.attempts or (pause or 0) > self.patience.longest_pause_s:
                    return response
                response.close()
            self.sleep(self.patience.pause(failures) if pause is None else pause)

    def _attempts(self, problem: Remote) -> int:
        """A time that ran out was long already: it gets one more chance."""
        return min(2, self.patience.attempts) if isinstance(problem, TimedOut) else self.patience.attempts

    def _redirected(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> httpx.Response:
        first = origin(url)
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._once(method, url, headers, content)
            place = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not place or method not in ("GET", "HEAD"):
                return response
            response.close()
            before, url = url, urljoin(url, place)
            if urlsplit(url).scheme not in ("http", "https"):
                raise Remote(f"{host(before)} sends on to {url[:80]!r}, which is no address of a server")
            if urlsplit(before).scheme == "https" and urlsplit(url).scheme == "http":
                raise Remote(f"{host(before)} sends on to {host(url)} without encryption, which is not followed")
            if origin(url) != first:
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise Remote(f"{urlsplit(first).netloc} sends from one address to another, more than {_MOST_REDIRECTS} times")

    def _once(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> httpx.Response:
        if self._is_aborted:
            raise self._broken_off(url)
        client = self._client(url)
        sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
        try:
            request = client.build_request(method, url, headers=sent, content=content)
            return client.send(request, stream=True, follow_redirects=False)
        except httpx.TimeoutException as late:
            raise TimedOut(f"{host(url)} does not answer", hint="try again later", host=host(url)) from late
        except httpx.InvalidURL as problem:
            raise Remote(f"{url[:80]!r} is no address of a server: {problem}") from problem
        except httpx.TransportError as problem:
            raise self._lost(url, problem) from problem

    @staticmethod
    def _broken_off(url: str) -> Broken:
        return Broken(f"the connection to {host(url)} was broken off", is_final=True)

    def _lost(self, url: str, problem: httpx.TransportError) -> Remote:
        """The sentence for a connection that was not to be had, or broke."""
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(problem)) or type(problem).__name__
        where = host(url)
        if isinstance(problem, httpx.ProxyError):
            return Broken(
                f"the proxy on the way to {where} fails: {why}", hint="look at the proxy's address", host=where
            )
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return Broken(
                f"the certificate of {where} cannot be verified: {why.partition('] ')[2] or why}",
                hint=f"put the certificate of its authority into /etc/docker/certs.d/{where}/ca.crt",
                is_final=True,
                host=where,
            )
        if "WRONG_VERSION_NUMBER" in why or "wrong version number" in why or "record layer failure" in why:
            return Broken(
                f"{where} does not speak TLS",
                hint=f"where plain HTTP will do, add {where!r} to registries.insecure in the host's configuration",
                is_final=True,
                is_plain=True,
                host=where,
            )
        is_final = "Name or service not known" in why or "No address associated" in why
        return Broken(
            f"the connection to {where} failed: {why}",
            hint="look at the address and the network",
            is_final=is_final,
            host=where,
        )

    def _client(self, url: str) -> httpx.Client:
        place = origin(url)
        with self._lock:
            if place not in self._clients:
                self._clients[place] = self._new_client(url)
            return self._clients[place]

    def _new_client(self, url: str) -> httpx.Client:
        where = host(url)
        is_tls = urlsplit(url).scheme == "https"
        made = trust.context(where, self._certificates, is_insecure=self.is_insecure(where)) if is_tls else True
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        try:
            if self._transport:
                return httpx.Client(transport=self._transport)
            if self._proxy:
                return httpx.Client(verify=made, proxy=self._proxy, trust_env=False, timeout=_TIMEOUT, limits=limits)
            return httpx.Client(verify=made, timeout=_TIMEOUT, limits=limits)
        except ValueError as problem:
            raise Invalid(f"the proxy for {where} cannot be used: {problem}", hint="look at HTTP_PROXY") from problem
        except ImportError as missing:
            raise Unsupported("a SOCKS proxy needs the Python package socksio", hint="pip install socksio") from missing


def chunks(response: httpx.Response) -> Iterator[bytes]:
    """The body as it comes. Raises Broken where it ends too early or stalls."""
    try:
        yield from response.iter_raw()
    except httpx.TransportError as problem:
        why = str(problem) or type(problem).__name__
        raise Broken(f"the connection to {host(str(response.url))} broke: {why}") from problem


def body(response: httpx.Response, limit_bytes: int, *, what: str) -> bytes:
    """The whole body, of at most `limit_bytes`. Raises Remote, Broken."""
    kept = bytearray()
    for chunk in chunks(response):
        kept += chunk
        if len(kept) > limit_bytes:
            raise Remote(f"{what} from {host(str(response.url))} is longer than {limit_bytes} bytes")
    return bytes(kept)


def complain(response: httpx.Response, *, what: str, name: str = "", is_known: bool = False) -> NoReturn:
    """Raise the error for an answer that is none of those that were hoped for."""
    words = ""
    if response.request.method != "HEAD":
        with contextlib.suppress(Remote):
            words = words_of(body(response, _ERROR_BYTES, what="an error"))
    pause = retry_after_s(response.headers.get("retry-after", ""))
    wait = "" if pause is None else format_duration(pause)
    raise refusal(
        response.status_code, what=what, host=name or host(str(response.url)), words=words, is_known=is_known, wait=wait
    )


def origin(url: str) -> str:
    """Scheme, host and port, the port always there."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as problem:
        raise Remote(f"{url[:80]!r} is no address of a server: {problem}") from problem
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def host(url: str) -> str:
    """Host and port as the address has them, for people and for `certs.d`."""
    return urlsplit(url).netloc.rpartition("@")[2]
