"""Registries that want to know who asks: by password over TLS with an authority of one's own, and by token."""

import contextlib
import json
import os
import pty
import shutil
from pathlib import Path

import pytest

import cloison
from cloison import Engine
from cloison.base.errors import Denied, Host, Remote
from tests.integration.registries import serving
from tests.integration.registries.building import Made, skopeo
from tests.integration.registries.conftest import PROGRAM, Cli, host_settings
from tests.integration.registries.serving import PASSWORD, USER, Authority, RunningRegistry, TokenServer

pytestmark = pytest.mark.needs_root


def entrusted(root: Path, authority: Authority, host: str) -> None:
    """The installation knows the authority of `host`."""
    host_settings(root, f'[registries]\ncertificates = ["{authority.certs_d(host)}"]\n')


@pytest.fixture
def strict(authority: Authority, guarded: RunningRegistry, root: Path) -> str:
    """The guarded registry, its authority known to the installation."""
    entrusted(root, authority, guarded.host)
    return guarded.host


def login(cli: Cli, host: str, password: str = PASSWORD, *words: str) -> "tuple[int, str]":
    done = cli("login", "--username", USER, "--password-stdin", *words, host, stdin=f"{password}\n")
    assert done.stdout == "" and password not in done.stderr and "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_who_is_logged_in_pushes_and_pulls_over_tls(
    engine: Engine, cli: Cli, strict: str, authority: Authority, made: Made, pushed: str
) -> None:
    engine.servers.pull(f"docker://{pushed}", name="it")
    with pytest.raises(Denied, match="refuses a push") as refused:
        engine.servers.push("it", f"docker://{strict}/safe/it:1")
    assert f"cloison login {strict}" in refused.value.hint
    assert login(cli, strict)[0] == 0
    engine.servers.push("it", f"docker://{strict}/safe/it:1")
    engine.images.remove("it")
    assert engine.servers.pull(f"docker://{strict}/safe/it:1").id == made.id
    credentials = f"{os.environ['DOCKER_CONFIG']}/config.json"
    certs = str(authority.certs_d(strict) / strict)
    words = ("--authfile", credentials, "--cert-dir", certs, f"docker://{strict}/safe/it:1")
    assert json.loads(skopeo("inspect", *words))["Name"] == f"{strict}/safe/it"
    assert cli("logout", strict).returncode == 0
    with pytest.raises(Denied, match="refuses"):
        engine.servers.pull(f"docker://{strict}/safe/it:1")
    assert "there was no password" in cli("logout", strict).stderr


def test_what_docker_and_skopeo_have_logged_in_to_is_known(
    engine: Engine, strict: str, authority: Authority, made: Made
) -> None:
    credentials = f"{os.environ['DOCKER_CONFIG']}/config.json"
    os.makedirs(os.environ["DOCKER_CONFIG"])
    certs = str(authority.certs_d(strict) / strict)
    skopeo("login", "--authfile", credentials, "--cert-dir", certs, "-u", USER, "-p", PASSWORD, strict)
    target = f"docker://{strict}/theirs/it:1"
    skopeo("copy", "--authfile", credentials, "--dest-cert-dir", certs, f"oci:{made.directory}:it", target)
    assert engine.servers.pull(target).id == made.id


def test_a_wrong_password_is_not_kept(cli: Cli, strict: str) -> None:
    code, said = login(cli, strict, "wrong")
    assert code == 5 and f"{strict} does not take this user and password" in said
    assert not os.path.exists(f"{os.environ['DOCKER_CONFIG']}/config.json")


def test_an_authority_that_nobody_knows_is_refused_with_what_to_do(cli: Cli, guarded: RunningRegistry) -> None:
    code, said = login(cli, guarded.host)
    assert code == 7 and f"the certificate of {guarded.host} cannot be verified" in said
    assert f"/etc/docker/certs.d/{guarded.host}/ca.crt" in said
    assert login(cli, guarded.host, PASSWORD, "--no-tls-verify")[0] == 0


def test_a_registry_that_wants_a_certificate_of_ours_gets_it(
    engine: Engine, root: Path, authority: Authority, tmp_path: Path
) -> None:
    with serving.registry(tmp_path / "mutual", authority=authority, is_mutual=True) as running:
        entrusted(root, authority, running.host)
        with pytest.raises(Remote, match=f"the connection to {running.host}"):
            engine.servers.search(f"docker://{running.host}")
        place = authority.certs_d(running.host) / running.host
        shutil.copy(authority.certificate, place / "client.cert")
        shutil.copy(authority.key, place / "client.key")
        assert engine.servers.search(f"docker://{running.host}") == ()
        (place / "client.key").unlink()
        with pytest.raises(Host, match=r"client\.cert cannot be used"):
            engine.servers.search(f"docker://{running.host}")


def test_plain_http_is_only_spoken_where_that_was_said(
    engine: Engine, root: Path, plain: RunningRegistry, pushed: str, made: Made
) -> None:
    host = plain.host.replace("127.0.0.1", "0.0.0.0")
    with pytest.raises(Remote, match=f"{host} does not speak TLS") as refused:
        engine.servers.pull(f"docker://{host}/team/it:1")
    assert "registries.insecure" in refused.value.hint
    host_settings(root, f'[registries]\ninsecure = ["{host}"]\n')
    known = cloison.open(str(root))
    assert known.servers.pull(f"docker://{host}/team/it:1").id == made.id
    known.store.close()


def test_tokens_are_asked_for_by_scope_and_nobody_may_only_read(
    engine: Engine, cli: Cli, by_token: RunningRegistry, tokens: TokenServer, pushed: str, made: Made
) -> None:
    name = f"{by_token.host}/tok/it:1"
    engine.servers.pull(f"docker://{pushed}", name="it")
    tokens.asked.clear()
    with pytest.raises(Denied, match=r"refuses layer .* of a push"):
        engine.servers.push("it", f"docker://{name}")
    asked = [(one["scope"], one["authorization"]) for one in tokens.asked]
    assert asked and all(shown == [""] and scopes[-1] == "repository:tok/it:pull,push" for scopes, shown in asked)
    assert login(cli, by_token.host)[0] == 0
    tokens.asked.clear()
    engine.servers.push("it", f"docker://{name}")
    assert len(tokens.asked) == 1 and tokens.asked[0]["authorization"][0].startswith("Basic ")  # one for all of it
    assert cli("logout", by_token.host).returncode == 0
    engine.images.remove("it")
    tokens.asked.clear()
    assert engine.servers.pull(f"docker://{name}").id == made.id
    assert [asked["scope"] for asked in tokens.asked] == [["repository:tok/it:pull"]]
    code, said = login(cli, by_token.host, "wrong")
    assert code == 5 and "does not take these credentials" in said


def test_a_password_needs_a_terminal_or_a_pipe(cli: Cli) -> None:
    done = cli("login", "registry.invalid")
    assert done.returncode == 2 and "no terminal to ask for a password" in done.stderr
    done = cli("login", "--password-stdin", "registry.invalid")
    assert done.returncode == 2 and "--password-stdin needs --username" in done.stderr
    done = cli("login", "--password-stdin", "-u", "ana", "registry.invalid")
    assert done.returncode == 2 and "the password is empty" in done.stderr


def test_at_a_terminal_the_password_is_asked_for_and_not_shown(strict: str, root: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, ["cloison", "login", strict])
    said = b""
    for question, answer in ((b"User: ", USER), (b"Password: ", PASSWORD)):
        while question not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, f"{answer}\n".encode())
    with contextlib.suppress(OSError):  # what a terminal answers when nobody is at its other end any more
        while chunk := os.read(terminal, 4096):
            said += chunk
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, said
    assert f"logged in to {strict}".encode() in said and PASSWORD.encode() not in said
    assert strict in Path(os.environ["DOCKER_CONFIG"], "config.json").read_text()


def test_what_is_no_registry_is_named(cli: Cli, plain: RunningRegistry) -> None:
    class Nothing(serving.Handler):
        def nothing(self) -> None:
            self.answered(404)

        do_GET = nothing  # noqa: N815

    with serving.serving(Nothing) as host:
        code, said = login(cli, host)
    assert code == 7 and f"{host} is no registry" in said


def test_a_wrong_configuration_is_named_wherever_it_matters(cli: Cli, root: Path) -> None:
    host_settings(root, "[registries]\ninsecur = []\n")
    done = cli("image", "pull", "docker://127.0.0.1:1/x")
    assert done.returncode == 2 and "there is no key registries.insecur" in done.stderr
    assert str(root / "etc" / "cloison.toml") in done.stderr
    assert cli("ls").returncode == 0


def test_nothing_is_known_of_a_damaged_certificate(engine: Engine, root: Path, tmp_path: Path) -> None:
    place = tmp_path / "certs" / "127.0.0.1:1"
    place.mkdir(parents=True)
    (place / "ca.crt").write_text("no certificate")
    host_settings(root, f'[registries]\ncertificates = ["{place.parent}"]\n')
    with pytest.raises(Exception, match=r"ca\.crt cannot be used"):
        engine.servers.pull("docker://127.0.0.1:1/x")
