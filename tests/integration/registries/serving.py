"""Servers for tests: Debian's docker-registry, a server of tokens, and a proxy that fails as it is told."""

import base64
import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.patience import patient

USER, PASSWORD = "ana", "pass:word"
_SALT = "$2y$05$abcdefghijklmnopqrstuu"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def openssl(*words: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], check=True, capture_output=True, input=stdin).stdout


@dataclass
class Authority:
    """An authority of its own, with a certificate for this machine that it has signed."""

    directory: Path
    ca: Path = field(init=False)
    certificate: Path = field(init=False)
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir()
        self.ca, self.certificate, self.key = (self.directory / name for name in ("ca.crt", "server.crt", "server.key"))
        ca_key, request, names = (self.directory / name for name in ("ca.key", "server.csr", "names"))
        new = ("req", "-newkey", "rsa:2048", "-nodes")
        openssl(*new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", ca_key, "-out", self.ca)
        openssl(*new, "-subj", "/CN=test server", "-keyout", self.key, "-out", request)
        names.write_text("subjectAltName=IP:0.0.0.0\n")
        signing = ("x509", "-req", "-days", "2", "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", names)
        openssl(*signing, "-in", request, "-out", self.certificate)

    def certs_d(self, host: str) -> Path:
        """A directory as /etc/docker/certs.d in which `host` has this authority."""
        place = self.directory / "certs.d"
        (place / host).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.ca, place / host / "ca.crt")
        return place


@dataclass
class RunningRegistry:
    """A docker-registry of its own."""

    host: str
    directory: Path
    scheme: str = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def blob(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        digits = digest.removeprefix("sha256:")
        return self.directory / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"


@contextlib.contextmanager
def registry(
    directory: Path,
    *,
    authority: Authority | None = None,
    is_basic: bool = False,
    is_mutual: bool = False,
    tokens: "TokenServer | None" = None,
) -> Iterator[RunningRegistry]:
    """Debian's docker-registry on loopback; its data below `directory`.

    `is_mutual`: it wants a certificate of its clients, too. With TLS its name is 0.0.0.0, which leads here as well, but
    is not one that is insecure without being said to be."""
    directory.mkdir()
    name = "0.0.0.0" if authority else "127.0.0.1"
    running = RunningRegistry(f"{name}:{free_port()}", directory, "https" if authority else "http")
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": running.host.replace("0.0.0.0", "127.0.0.1")},
    }
    if authority:
        tls: dict[str, object] = {"certificate": str(authority.certificate), "key": str(authority.key)}
        if is_mutual:
            tls["clientcas"] = [str(authority.ca)]
        config["http"] = {"addr": running.host.replace("0.0.0.0", "127.0.0.1"), "tls": tls}
    if is_basic:
        (directory / "htpasswd").write_text(f"{USER}:{_bcrypt(PASSWORD)}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    if tokens:
        config["auth"] = {
            "token": {
                "realm": f"{tokens.address}/token",
                "service": "test registry",
                "issuer": "test issuer",
                "rootcertbundle": str(tokens.certificate),
            }
        }
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log, cwd=directory
        )
    try:
        listening(running.host)
        yield running
    finally:
        process.kill()
        process.wait()


def listening(host: str) -> None:
    """Wait until somebody listens at `host:port`."""
    name, _, port = host.rpartition(":")
    deadline = time.monotonic() + patient(20)
    while True:
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), 1):
            return
        assert time.monotonic() < deadline, f"nobody listens at {host}"
        time.sleep(0.02)


def _bcrypt(password: str) -> str:
    script = "print crypt($ARGV[0], $ARGV[1])"
    return subprocess.run(["perl", "-e", script, password, _SALT], check=True, capture_output=True, text=True).stdout


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_words: object) -> None:
        """Not on the test's stderr."""

    def answered(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class Quiet(http.server.ThreadingHTTPServer):
    """A server that does not tell the test's output of clients that went away: that is what is tested."""

    def handle_error(self, *_request: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler], *, authority: Authority | None = None) -> Iterator[str]:
    """A server on loopback, with `authority` by TLS; its `host:port`."""
    server = Quiet(("127.0.0.1", 0), handler)
    if authority:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- tokens ----------------------------------------------------------------------------------------------------------


@dataclass
class TokenServer:
    """Gives anybody a token to pull, and USER with PASSWORD one for everything. `asked` are its queries."""

    directory: Path
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    address: str = ""

    @property
    def certificate(self) -> Path:
        return self.directory / "server.crt"

    def token(self, scopes: Sequence[str], *, is_known: bool) -> str:
        """A JSON web token for as much of `scopes` as is allowed."""
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":")
            allowed = [action for action in actions.split(",") if is_known or action == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        certificate = openssl("x509", "-in", self.certificate, "-outform", "DER")
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(certificate).decode()]}
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": "test issuer",
            "sub": USER if is_known else "",
            "aud": "test registry",
            "access": access,
        }
        claims |= {"exp": now + 300, "nbf": now - 10, "iat": now, "jti": os.urandom(8).hex()}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = openssl("dgst", "-sha256", "-sign", self.directory / "server.key", stdin=signed.encode())
        return f"{signed}.{_base64url(signature)}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(authority: Authority) -> Iterator[TokenServer]:
    """A server of tokens on loopback, which signs them with the key of `authority`'s server."""
    tokens = TokenServer(authority.directory)
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Tokens(Handler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            shown = self.headers.get("Authorization")
            tokens.asked.append(query | {"authorization": [shown or ""]})
            if shown not in (None, wanted):
                return self.answered(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who is that?"}]}')
            token = tokens.token(query.get("scope", []), is_known=shown == wanted)
            return self.answered(200, json.dumps({"token": token}).encode(), Content_Type="application/json")

    with serving(Tokens) as host:
        tokens.address = f"http://{host}"
        yield tokens


# --- a proxy that fails ----------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A request that came to the proxy, and how much of the answer's body went out."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Fault:
    """What is done to requests whose path contains `path`, to the first `times` of them.

    `status` answers for the server, with `headers`; `cut` breaks the connection after so many bytes of the body; `edit`
    changes the body; `ignores_range` hides the header from the server."""

    path: str
    times: int = 1
    method: str = "GET"
    status: int = 0
    headers: dict[str, str | int] = field(default_factory=dict)
    cut: int = -1
    edit: Callable[[bytes], bytes] | None = None
    ignores_range: bool = False
    body: bytes = b""
    stall: threading.Event | None = None  # nothing more comes before it is set


@dataclass
class Proxy:
    """Stands before a server and hands on all but what `faults` say. `asked` are the requests, in order."""

    behind: str
    host: str = ""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, method: str, part: str) -> list[Asked]:
        """The requests of this kind whose path contains `part`."""
        return [one for one in self.asked if one.method == method and part in one.path]

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return None


class _Between(Handler):
    between: Proxy

    def hand_on(self) -> None:
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        with self.between.lock:
            self.between.asked.append(asked)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.between.fault(self.command, self.path) or Fault("", 0)
        if fault.status:
            return self.answered(fault.status, fault.body, **{k: str(v) for k, v in fault.headers.items()})
        if self.command in ("PATCH", "PUT", "POST") and fault.cut >= 0:
            self._cut_upload(content[: fault.cut])
            return None
        self._answer(asked, fault, *self._asked(content, fault))
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = hand_on  # noqa: N815

    def _asked(self, content: bytes, fault: Fault) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server behind answers."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        if fault.ignores_range:
            headers.pop("Range", None)
        connection = http.client.HTTPConnection(self.between.behind, timeout=60)
        try:
            connection.request(self.command, self.path, content, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(self, asked: Asked, fault: Fault, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        body = fault.edit(body) if fault.edit else body
        self.send_response(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", lengths[0] if is_head and lengths else str(len(body)))
        self.end_headers()
        if is_head:
            return
        part = body if fault.cut < 0 else body[: fault.cut]
        with contextlib.suppress(OSError):
            self.wfile.write(part)
            self.wfile.flush()
            asked.sent = len(part)
        if fault.stall:
            fault.stall.wait(60)
        if fault.cut >= 0:
            self._break()

    def _cut_upload(self, content: bytes) -> None:
        """Half of what was sent reaches the server, and the connection breaks."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        headers["Content-Length"] = str(len(content))
        headers.pop("Content-Range", None)
        connection = http.client.HTTPConnection(self.between.behind, timeout=60)
        connection.request(self.command, self.path, content, headers)
        connection.getresponse().read()
        connection.close()
        self._break()

    def _break(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


@contextlib.contextmanager
def proxy(behind: str) -> Iterator[Proxy]:
    """A proxy before the plain server `behind`."""
    between = Proxy(behind)
    with serving(type("Handler", (_Between,), {"between": between})) as host:
        between.host = host
        yield between
