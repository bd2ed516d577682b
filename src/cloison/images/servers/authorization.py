"""How a registry is shown who asks: by password, or by a token that another server gives for it.

A registry answers the first request with 401 and a challenge. `Basic` is answered with the password itself; `Bearer`
names a server (realm) that gives tokens, to anybody or for the password. Tokens are kept as long as this process.

Who gets a password: the registry itself, and the realm that this registry has named, which has to speak TLS unless
the registry is insecure by configuration. A server that a redirect leads to gets nothing, and its
challenge is not answered.

Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

import threading
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import msgspec

from cloison.base.errors import Denied, Remote
from cloison.images.servers.challenges import Challenge, parse
from cloison.images.servers.credentials import Credentials
from cloison.images.servers.transport import AGENT, Http, body, complain, host

_TOKEN_BYTES: Final = 1 << 20


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class Authorization:
    """The credentials of one user at one registry, and the tokens that were given for them. Usable from threads."""

    def __init__(self, http: Http, name: str, credentials: Credentials | None, *, is_insecure: bool) -> None:
        self._http = http
        self._name = name
        self._credentials = credentials
        self._is_insecure = is_insecure
        self._lock = threading.Lock()
        self._is_basic = False
        self._tokens: dict[tuple[str, ...], str] = {}

    @property
    def is_known(self) -> bool:
        """Whether there are credentials."""
        return self._credentials is not None

    def headers(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """What to send along with a request that needs `scopes`, as far as that is known already."""
        if self._is_basic and self._credentials:
            return {"Authorization": self._credentials.basic}
        token = self._tokens.get(scopes)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def answer(self, refused: httpx.Response, scopes: tuple[str, ...], *, what: str) -> None:
        """Learn from a 401 how to ask again. Raises Denied where nothing more can be shown."""
        sent = refused.request.headers.get("authorization", "")
        with self._lock:
            if self.headers(scopes).get("Authorization", "") not in ("", sent):
                return  # another thread has learned it meanwhile
            challenges = parse(refused.headers.get_list("www-authenticate"))
            bearer = next((one for one in challenges if one.scheme == "bearer" and "realm" in one.parameters), None)
            if bearer is not None:
                self._tokens[scopes] = self._token(bearer, scopes, what)
            elif any(one.scheme == "basic" for one in challenges) and self._credentials and not self._is_basic:
                if self._credentials.identity and not self._credentials.user:
                    raise Denied(f"{self._name} wants a password, and there is only a token for it")
                self._is_basic = True
            else:
                complain(refused, what=what, name=self._name, is_known=self.is_known)

    def _token(self, challenge: Challenge, scopes: tuple[str, ...], what: str) -> str:
        realm = challenge.parameters["realm"]
        place = urlsplit(realm)
        if place.scheme != "https" and not (place.scheme == "http" and self._is_insecure):
            raise Denied(
                f"{self._name} wants a token from {realm[:80]!r}, to which no password goes without encryption",
                hint=f"only where {self._name!r} is among registries.insecure in the host's configuration",
                host=self._name,
            )
        wanted = tuple(dict.fromkeys((*challenge.parameters.get("scope", "").split(), *scopes)))
        query = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
        query += [("scope", scope) for scope in wanted]
        if self._credentials and self._credentials.identity:
            return self._exchanged(realm, query, what)
        headers = {"Authorization": self._credentials.basic} if self._credentials else {}
        both = urlencode([*parse_qsl(place.query), *query, ("client_id", AGENT)])
        url = urlunsplit((place.scheme, place.netloc, place.path, both, ""))
        with self._http.asked("GET", url, headers=headers) as response:
            return self._read(response, what)

    def _exchanged(self, realm: str, query: list[tuple[str, str]], what: str) -> str:
        """A token for an identity token, by OAuth2."""
        assert self._credentials is not None
        fields = [(name, value) for name, value in query if name != "scope"]
        fields += [("scope", " ".join(value for name, value in query if name == "scope"))]
        fields += [("grant_type", "refresh_token"), ("refresh_token", self._credentials.identity), ("client_id", AGENT)]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        content = urlencode(fields).encode()
        with self._http.asked("POST", realm, headers=headers, content=content) as response:
            return self._read(response, what)

    def _read(self, response: httpx.Response, what: str) -> str:
        if response.status_code in (401, 403):
            hint = f"log in again with `cloison login {self._name}`" if self.is_known else ""
            why = "does not take these credentials" if self.is_known else "gives nobody a token"
            raise Denied(
                f"{host(str(response.url))} {why} for {what}",
                hint=hint or f"log in with `cloison login {self._name}`",
                host=self._name,
                status=response.status_code,
            )
        if response.status_code != 200:
            complain(response, what=f"a token for {what}", is_known=self.is_known)
        try:
            answer = msgspec.json.decode(body(response, _TOKEN_BYTES, what="a token"), type=_Token)
        except msgspec.MsgspecError as problem:
            raise Remote(f"{host(str(response.url))} answers with what is no token: {problem}") from problem
        if not (answer.token or answer.access_token):
            raise Remote(f"{host(str(response.url))} answers without a token")
        return answer.token or answer.access_token
