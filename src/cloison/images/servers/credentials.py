"""User names and passwords for registries, shared with Docker, Podman and skopeo.

    $DOCKER_CONFIG/config.json, else ~/.docker/config.json, 0600
        auths          host -> {"auth": base64 of "user:password"} or {"identitytoken": ...}
        credHelpers    host -> NAME: the program docker-credential-NAME keeps it
        credsStore     NAME: the program that keeps all others

Everything else in the file is Docker's and stays as it is. The file is written beside and renamed; where it is a
symbolic link, what it leads to is replaced. Docker's own registry is "https://index.docker.io/v1/" in it.

Source: docker's cli, `config/configfile`; docker-credential-helpers, "Development".
"""

import base64
import binascii
import contextlib
import os
from typing import Any, Final

import msgspec

from cloison.base.errors import Denied, Host, Invalid, Unsupported
from cloison.images.servers.references import DOCKER, host_of
from cloison.kernel import process, programs

_DOCKER_KEY: Final = "https://index.docker.io/v1/"
_TOKEN_USER: Final = "<token>"  # a helper's user where the secret is an identity token
_NOT_FOUND: Final = "credentials not found"
_HELPER_S: Final = 60.0  # some helpers ask the user


class Credentials(msgspec.Struct, frozen=True):
    """Who somebody is to a registry: a name and a password, or a token of an identity."""

    user: str = ""
    password: str = ""
    identity: str = ""

    @property
    def basic(self) -> str:
        """The value of `Authorization`."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class _Secret(msgspec.Struct, frozen=True, rename="pascal"):
    username: str
    secret: str


class Keyring:
    """The credentials of one user of this host."""

    def __init__(self, path: str = "") -> None:
        self.path = path or _default_path()

    def get(self, host: str) -> Credentials | None:
        """The credentials for `host`, or None. Raises Host for a file or a helper that cannot be used."""
        document = self._load()
        helper = self._helper(document, host)
        if helper:
            return _asked(helper, _key(host))
        entries = document.get("auths")
        for key, entry in entries.items() if isinstance(entries, dict) else ():
            if _names(key, host) and isinstance(entry, dict):
                return self._decoded(entry, host)
        return None

    def put(self, host: str, credentials: Credentials) -> str:
        """Keep credentials for `host`; where they are now, for people."""
        document = self._load()
        helper = self._helper(document, host)
        if helper:
            secret = {
                "ServerURL": _key(host),
                "Username": _TOKEN_USER if credentials.identity else credentials.user,
                "Secret": credentials.identity or credentials.password,
            }
            _run(helper, "store", msgspec.json.encode(secret))
            return f"docker-credential-{helper}"
        auths = {key: entry for key, entry in document.get("auths", {}).items() if not _names(key, host)}
        entry = {"auth": base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()}
        if credentials.identity:
            entry = {"auth": base64.b64encode(f"{credentials.user}:".encode()).decode()}
            entry["identitytoken"] = credentials.identity
        self._save(document | {"auths": auths | {_key(host): entry}})
        return self.path

    def remove(self, host: str) -> bool:
        """Forget the credentials for `host`; False where there were none."""
        document = self._load()
        helper = self._helper(document, host)
        was_there = False
        if helper:
            was_there = _asked(helper, _key(host)) is not None
            if was_there:
                _run(helper, "erase", _key(host).encode())
        auths = document.get("auths", {})
        others = {key: entry for key, entry in auths.items() if not _names(key, host)}
        if len(others) != len(auths):
            self._save(document | {"auths": others})
            was_there = True
        return was_there

    def _helper(self, document: dict[str, Any], host: str) -> str:
        helpers = document.get("credHelpers")
        for key, name in helpers.items() if isinstance(helpers, dict) else ():
            if _names(key, host):
                return self._checked(name)
        return self._checked(document.get("credsStore") or "")

    def _checked(self, name: Any) -> str:
        if not isinstance(name, str) or "/" in name:
            raise Host(f"{self.path} names {name!r} as a program that keeps credentials", hint="it is a name, as pass")
        return name

    def _decoded(self, entry: dict[str, Any], host: str) -> Credentials | None:
        identity = entry.get("identitytoken") or ""
        user, password = entry.get("username") or "", entry.get("password") or ""
        if entry.get("auth"):
            try:
                user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError, TypeError) as problem:
                raise Host(
                    f"the credentials for {host} in {self.path} cannot be read",
                    hint=f"`cloison logout {host}`, then `cloison login {host}`",
                ) from problem
        if not identity and not user:
            return None  # Docker leaves an empty entry behind where a helper keeps the rest
        return Credentials(user, password.rstrip("\0"), identity)

    def _load(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                content = file.read()
            document = msgspec.json.decode(content) if content.strip() else {}
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as problem:
            raise Host(f"the credentials in {self.path} cannot be read: {problem}", path=self.path) from problem
        if not isinstance(document, dict) or not isinstance(document.get("auths", {}), dict):
            raise Host(f"{self.path} is not what Docker writes: it holds no object", path=self.path)
        return document

    def _save(self, document: dict[str, Any]) -> None:
        path = os.path.realpath(self.path)
        beside = f"{path}.{os.getpid()}.new"
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with open(fd, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(document), indent=8) + b"\n")
                    file.flush()
                    os.fsync(fd)
                os.rename(beside, path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
                raise
        except OSError as problem:
            raise Host(f"the credentials cannot be written to {path}: {problem.strerror}", path=path) from problem


def _default_path() -> str:
    directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return f"{directory}/config.json"


def _key(host: str) -> str:
    return _DOCKER_KEY if host == DOCKER else host


def _names(key: str, host: str) -> bool:
    """Whether a key of the file is for `host`: it may be an address, and end with a version of the protocol."""
    with contextlib.suppress(Invalid):
        return key == _key(host) or host_of(key.removesuffix("/").removesuffix("/v1").removesuffix("/v2")) == host
    return False


def _asked(helper: str, key: str) -> Credentials | None:
    """What a helper knows; None where it says that there is nothing."""
    done = _finished(helper, "get", key.encode())
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.code != 0:
        if _NOT_FOUND in said:
            return None
        raise Denied(f"docker-credential-{helper} does not give the credentials for {key}: {said[:200]}")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Secret)
    except msgspec.MsgspecError as problem:
        raise Host(f"docker-credential-{helper} answers in words that cannot be read: {problem}") from problem
    if answer.username == _TOKEN_USER:
        return Credentials(identity=answer.secret)
    return Credentials(answer.username, answer.secret)


def _run(helper: str, verb: str, words: bytes) -> None:
    done = _finished(helper, verb, words)
    if done.code != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise Denied(f"docker-credential-{helper} {verb} failed: {said[:200]}")


def _finished(helper: str, verb: str, words: bytes) -> process.Finished:
    program = programs.which(f"docker-credential-{helper}")
    if program is None:
        raise Unsupported(
            f"the program 'docker-credential-{helper}', which keeps credentials, is not installed",
            hint="install it, or take credsStore and credHelpers out of Docker's config.json",
            program=f"docker-credential-{helper}",
        )
    try:
        return process.run([program, verb], stdin=words, timeout_s=_HELPER_S)
    except TimeoutError as late:
        raise Host(f"docker-credential-{helper} {verb} took longer than {_HELPER_S:.0f} s") from late
