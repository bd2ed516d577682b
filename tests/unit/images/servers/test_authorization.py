"""Who is shown a password, and which tokens are asked for."""

import base64
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Denied, Remote
from cloison.images.servers.challenges import Challenge, parse
from cloison.images.servers.credentials import Credentials
from cloison.images.servers.registry import Registry, pulling
from cloison.images.servers.transport import Http

Connect = Callable[..., Http]
ANA = Credentials("ana", "secret")
BASIC = "Basic " + base64.b64encode(b"ana:secret").decode()
BEARER = 'Bearer realm="https://auth.org/token?a=b",service="reg",scope="repository:a/b:pull"'


class Server:
    """A registry at reg.org whose tokens come from auth.org."""

    def __init__(self, challenge: str = BEARER, *, token: str = "t1", status: int = 200) -> None:
        self.challenge, self.token, self.status = challenge, token, status
        self.asked: list[tuple[str, str]] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("authorization", "")
        self.asked.append((request.url.host, shown))
        self.requests.append(request)
        if request.url.host == "auth.org":
            return httpx.Response(self.status, json={"token": self.token})
        if request.url.host != "reg.org":
            return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})
        if shown in (f"Bearer {self.token}", BASIC):
            return httpx.Response(200, json={})
        return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})


def status_of(registry: Registry, place: str = "/v2/a/b/x") -> int:
    with registry.asked("GET", place, what="a thing", scopes=pulling("a/b")) as response:
        return response.status_code


def test_a_token_is_asked_for_once_and_for_the_scope_that_is_needed(connect: Connect) -> None:
    server = Server()
    registry = Registry(connect(server), "reg.org", ANA)
    assert [status_of(registry), status_of(registry)] == [200, 200]
    assert server.asked == [("reg.org", ""), ("auth.org", BASIC), ("reg.org", "Bearer t1"), ("reg.org", "Bearer t1")]
    query = parse_qs(server.requests[1].url.query.decode())
    assert query["scope"] == ["repository:a/b:pull"] and query["service"] == ["reg"] and query["a"] == ["b"]


def test_nobody_asks_for_a_token_without_a_password(connect: Connect) -> None:
    server = Server()
    assert status_of(Registry(connect(server), "reg.org", None)) == 200
    assert ("auth.org", "") in server.asked


def test_a_token_that_has_run_out_is_replaced(connect: Connect) -> None:
    server = Server()
    registry = Registry(connect(server), "reg.org", ANA)
    assert status_of(registry) == 200
    server.token = "t2"
    assert status_of(registry) == 200
    assert server.asked[-3:] == [("reg.org", "Bearer t1"), ("auth.org", BASIC), ("reg.org", "Bearer t2")]


def test_a_token_of_an_identity_is_exchanged(connect: Connect) -> None:
    server = Server()
    assert status_of(Registry(connect(server), "reg.org", Credentials(identity="id"))) == 200
    exchange = server.requests[1]
    fields = parse_qs(exchange.content.decode())
    assert exchange.method == "POST" and fields["refresh_token"] == ["id"] and "authorization" not in exchange.headers
    assert fields["scope"] == ["repository:a/b:pull"]


def test_basic_is_the_password_itself_and_from_then_on_at_once(connect: Connect) -> None:
    server = Server('Basic realm="x"')
    registry = Registry(connect(server), "reg.org", ANA)
    assert [status_of(registry), status_of(registry)] == [200, 200]
    assert server.asked == [("reg.org", ""), ("reg.org", BASIC), ("reg.org", BASIC)]


def test_a_realm_without_tls_gets_no_password(connect: Connect) -> None:
    server = Server('Bearer realm="http://auth.org/token"')
    with pytest.raises(Denied, match="without encryption"):
        status_of(Registry(connect(server), "reg.org", ANA))
    assert [name for name, _ in server.asked] == ["reg.org"]


def test_where_a_redirect_leads_nobody_gets_a_password(connect: Connect) -> None:
    """CVE-2020-15157: a server elsewhere asked for credentials, and was given those of the registry."""
    other = Server('Basic realm="x"')

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "reg.org" and request.headers.get("authorization") == BASIC:
            return httpx.Response(307, headers={"Location": "https://evil.org/blob"})
        return other(request)

    assert status_of(Registry(connect(handler), "reg.org", ANA)) == 401
    assert [shown for name, shown in other.asked if name == "evil.org"] == [""]


def test_an_address_elsewhere_gets_no_password_either(connect: Connect) -> None:
    server = Server('Basic realm="x"')
    registry = Registry(connect(server), "reg.org", ANA)
    assert status_of(registry) == 200
    assert status_of(registry, "https://evil.org/upload") == 401
    assert server.asked[-1] == ("evil.org", "")


def test_wrong_passwords_are_refused_with_what_to_do(connect: Connect) -> None:
    with pytest.raises(Denied, match="does not take these credentials") as refused:
        status_of(Registry(connect(Server(status=401)), "reg.org", ANA))
    assert "cloison login reg.org" in refused.value.hint
    with pytest.raises(Denied, match=r"reg\.org refuses a thing"):
        status_of(Registry(connect(Server('Basic realm="x"')), "reg.org", None))
    with pytest.raises(Denied, match="does not take this user and password"):
        Registry(connect(Server('Basic realm="x"')), "reg.org", Credentials("ana", "wrong")).ping()


def test_what_is_no_token_is_refused(connect: Connect) -> None:
    with pytest.raises(Remote, match="without a token"):
        status_of(Registry(connect(Server(token="")), "reg.org", ANA))


def test_a_server_that_is_no_registry_is_named(connect: Connect) -> None:
    with pytest.raises(Remote, match="is no registry"):
        Registry(connect(lambda _: httpx.Response(404)), "reg.org", None).ping()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic", [Challenge("basic", {})]),
        ('Bearer realm="a,b", scope="c d"', [Challenge("bearer", {"realm": "a,b", "scope": "c d"})]),
        (r'Bearer realm="a\"b"', [Challenge("bearer", {"realm": 'a"b'})]),
        ('Basic realm="x", Bearer realm=y', [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert list(parse([header])) == expected


@given(st.text(alphabet='abBr =",\\\t', max_size=60))
def test_whatever_a_server_sends_as_a_challenge_is_read_to_an_end(header: str) -> None:
    for challenge in parse([header, f"Bearer realm={header}"]):
        assert challenge.scheme == challenge.scheme.lower()
