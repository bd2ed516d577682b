"""A simplestreams tree on loopback: what is chosen, verified, signed and cached."""

import contextlib
import hashlib
import json
import lzma
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import cloison
from cloison import Engine
from cloison.base.errors import CloisonError, Denied, NotFound, Remote
from tests.integration.registries import building, serving
from tests.integration.registries.conftest import Cli, host_settings, nothing_is_there
from tests.integration.registries.serving import Authority, Fault, Handler, Proxy

pytestmark = pytest.mark.needs_root

METADATA = """
architecture: "x86_64"
creation_date: 1700000000
properties:
  description: A test of 2024
  os: Testix
  release: "1"
  serial: "20240202"
templates:
  /etc/motd:
    when: [create]
    template: motd.tpl
"""


class Tree:
    """What a server of images has: `systems` versions of testix/1, and one for another processor."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.products: dict[str, object] = {}
        for architecture in ("amd64", "arm64"):
            versions = {day: {"items": self.version(architecture, day)} for day in ("20240101", "20240202")}
            aliases = "testix/1/default,testix/1"
            self.products[f"testix:1:{architecture}:default"] = {
                "aliases": aliases,
                "arch": architecture,
                "os": "Testix",
                "release": "1",
                "release_title": "One",
                "variant": "default",
                "versions": versions,
            }
        self.products["testix:1:amd64:unified"] = {
            "aliases": "testix/1/unified",
            "arch": "amd64",
            "os": "Testix",
            "release": "1",
            "variant": "unified",
            "versions": {"20240303": {"items": self.unified("20240303")}},
        }
        self.write()

    def version(self, architecture: str, day: str) -> dict[str, object]:
        """The files of a split image, its root file system as a tar and as a squashfs."""
        place = f"images/testix/{architecture}/{day}"
        (stream,) = building.system({"etc/day": day.encode(), "etc/os-release": b"ID=testix\nVERSION_ID=1\n"})[1:]
        root = building.joined(building.system()[0], stream)
        metadata = lzma.compress(
            building.tar({"metadata.yaml": METADATA.encode(), "templates": None, "templates/motd.tpl": b"hello"})
        )
        packed = lzma.compress(root, preset=0)
        squashed = self.directory / "squash"
        subprocess.run(["tar2sqfs", "--quiet", "--force", squashed], input=root, check=True, stderr=subprocess.DEVNULL)
        items = {
            "lxd.tar.xz": self.item(f"{place}/lxd.tar.xz", "lxd.tar.xz", metadata),
            "rootfs.tar.xz": self.item(f"{place}/rootfs.tar.xz", "root.tar.xz", packed),
            "root.squashfs": self.item(f"{place}/rootfs.squashfs", "squashfs", squashed.read_bytes()),
        }
        items["lxd.tar.xz"] |= {
            "combined_rootxz_sha256": hashlib.sha256(metadata + packed).hexdigest(),
            "combined_squashfs_sha256": hashlib.sha256(metadata + squashed.read_bytes()).hexdigest(),
        }
        return dict(items)

    def unified(self, day: str) -> dict[str, object]:
        files: dict[str, bytes | str | None] = {
            "metadata.yaml": METADATA.encode(),
            "rootfs": None,
            "rootfs/bin": None,
            "rootfs/bin/busybox": building.BUSYBOX.read_bytes(),
            "rootfs/bin/sh": "busybox",
            "rootfs/etc": None,
            "rootfs/etc/day": day.encode(),
        }
        content = lzma.compress(building.tar(files), preset=0)
        return {"lxd_combined.tar.gz": self.item(f"images/unified/{day}.tar.xz", "lxd_combined.tar.gz", content)}

    def item(self, path: str, kind: str, content: bytes) -> dict[str, object]:
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return {"ftype": kind, "path": path, "size": len(content), "sha256": sha256}

    def write(self) -> None:
        """Write the lists as they are now."""
        streams = self.directory / "streams" / "v1"
        streams.mkdir(parents=True, exist_ok=True)
        entry = {"datatype": "image-downloads", "path": "streams/v1/images.json", "products": list(self.products)}
        (streams / "index.json").write_text(json.dumps({"format": "index:1.0", "index": {"images": entry}}))
        listing = {"content_id": "images", "format": "products:1.0", "products": self.products}
        (streams / "images.json").write_text(json.dumps(listing))

    @property
    def lists(self) -> tuple[Path, ...]:
        return tuple(self.directory / "streams/v1" / name for name in ("index.json", "images.json"))

    def file(self, kind: str, day: str = "20240202") -> str:
        """The path of a file of testix/1 for this machine."""
        product = self.products["testix:1:amd64:default"]
        items = product["versions"][day]["items"]  # type: ignore[index]
        return str(next(item["path"] for item in items.values() if item["ftype"] == kind))


class Files(Handler):
    """Files of a directory, with ETags and ranges."""

    root: Path

    def hand_out(self) -> None:
        path = self.root / urlsplit(self.path).path.lstrip("/")  # a proxy is asked for whole addresses
        if not path.is_file():
            return self.answered(404)
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if self.headers.get("If-None-Match") == etag:
            return self.answered(304, ETag=etag)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted:
            begin, size = int(wanted[1]), len(content)
            told = f"bytes {begin}-{size - 1}/{size}"
            return self.answered(206, content[begin:], ETag=etag, Content_Range=told)
        return self.answered(200, content, ETag=etag)

    do_GET = do_HEAD = hand_out  # noqa: N815


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def tree(base: Tree, tmp_path: Path) -> Tree:
    """A tree of the test's own, to be spoilt."""
    subprocess.run(["cp", "-a", base.directory, tmp_path / "tree"], check=True)
    mine = object.__new__(Tree)
    mine.directory, mine.products = tmp_path / "tree", json.loads(json.dumps(base.products))
    return mine


@pytest.fixture
def server(tree: Tree) -> Iterator[Proxy]:
    """The tree on loopback, behind a proxy that counts and fails."""
    with serving.serving(type("Mine", (Files,), {"root": tree.directory})) as host, serving.proxy(host) as between:
        yield between


@pytest.fixture
def lan(server: Proxy, root: Path) -> str:
    """The remote "lan", which is the server."""
    host_settings(root, f'[remotes.lan]\nurl = "http://{server.host}"\n')
    return "lan"


def asked(server: Proxy) -> list[str]:
    return [one.path.rpartition("/")[2] for one in server.asked]


@pytest.mark.parametrize(("kind", "other"), [("squashfs", "rootfs.tar.xz"), ("root.tar.xz", "rootfs.squashfs")])
def test_the_newest_version_comes_and_runs(
    engine: Engine, lan: str, server: Proxy, monkeypatch: pytest.MonkeyPatch, kind: str, other: str
) -> None:
    if kind != "squashfs":
        monkeypatch.setattr("cloison.images.servers.taking.has_squashfs", lambda: False)
    instance = engine.launch(
        "lan:testix/1", "it", config=["nics.eth0.type=empty", "init.command=/bin/busybox sleep 1000"]
    )
    assert instance.exec(["/bin/busybox", "cat", "/etc/day"]).stdout == b"20240202"
    image = engine.images.find("lan:testix/1")
    assert (image.os, image.release, image.properties["variant"]) == ("testix", "1", "default")
    assert image.properties["serial"] == "20240202" and image.source == "lan:testix/1"
    assert [name for name in asked(server) if name == other] == []
    instance.delete(force=True)


def test_a_unified_image_comes_and_a_variant_is_a_part_of_the_name(engine: Engine, lan: str) -> None:
    image = engine.servers.pull("lan:testix/1/unified", name="mine")
    assert image.names == ("lan:testix/1/unified", "mine")
    assert Path(image.layers[0], "etc/day").read_text() == "20240303"
    assert not Path(image.layers[0], "metadata.yaml").exists()


def test_another_processor_can_be_asked_for(engine: Engine, lan: str) -> None:
    assert engine.servers.pull("lan:testix/1", platform="arm64").architecture in ("arm64", "amd64")
    with pytest.raises(NotFound, match=r"lan has no 'testix/1' for s390x") as missing:
        engine.servers.pull("lan:testix/1", platform="s390x")
    assert missing.value.hint == "there is amd64, arm64"
    with pytest.raises(NotFound, match=r"lan has no image 'testix/2'") as missing:
        engine.servers.pull("lan:testix/2")
    assert "testix/1" in missing.value.hint


def test_what_is_there_already_is_not_downloaded(engine: Engine, lan: str, server: Proxy, tree: Tree) -> None:
    first = engine.servers.pull("lan:testix/1")
    server.asked.clear()
    assert engine.servers.pull("lan:testix/1", name="mine").digest == first.digest
    assert asked(server) == [] and engine.images.find("mine").digest == first.digest
    assert engine.image("lan:testix/1").digest == first.digest


def test_the_lists_are_kept_for_their_time_then_asked_whether_they_are_the_same(
    root: Path, server: Proxy, tree: Tree
) -> None:
    host_settings(root, f'[remotes.lan]\nurl = "http://{server.host}"\nmax_age_s = 3600\n')
    engine = cloison.open(str(root))
    assert [offer.reference for offer in engine.servers.search("lan:")] == [
        "lan:testix/1/default",
        "lan:testix/1/unified",
    ]
    engine.servers.search("lan:")
    assert asked(server) == ["index.json", "images.json"]
    engine.store.close()
    host_settings(root, f'[remotes.lan]\nurl = "http://{server.host}"\nmax_age_s = 0\n')
    engine = cloison.open(str(root))
    engine.servers.search("lan:")
    assert [one.sent for one in server.asked[2:]] == [0, 0]  # 304: nothing was sent again
    assert all("if-none-match" in one.headers for one in server.asked[2:])
    tree.products.pop("testix:1:amd64:unified")
    tree.write()
    assert [offer.reference for offer in engine.servers.search("lan:")] == ["lan:testix/1/default"]
    engine.store.close()


def test_a_broken_download_goes_on_where_it_broke(engine: Engine, lan: str, server: Proxy, tree: Tree) -> None:
    path = tree.file("squashfs")
    server.faults = [Fault(path, cut=100_000), Fault(path, cut=50_000)]
    engine.servers.pull("lan:testix/1")
    assert [one.headers.get("range") for one in server.of("GET", path)] == [None, "bytes=100000-", "bytes=150000-"]
    assert sum(one.sent for one in server.of("GET", path)) == (tree.directory / path).stat().st_size


@pytest.mark.parametrize("kind", ["squashfs", "root.tar.xz"])
def test_the_next_pull_asks_for_the_rest_of_one_that_failed(
    engine: Engine, lan: str, server: Proxy, tree: Tree, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("cloison.images.servers.taking.has_squashfs", lambda: kind == "squashfs")
    path = tree.file(kind)
    server.faults = [Fault(path, cut=1_000_000), Fault(path, times=99, cut=0)]
    with pytest.raises(Remote, match=r"broke|ends"):
        engine.servers.pull("lan:testix/1")
    assert engine.images.images() == ()
    server.faults.clear()
    server.asked.clear()
    image = engine.servers.pull("lan:testix/1")
    (one,) = server.of("GET", path)
    assert one.headers["range"] == "bytes=1000000-"
    assert one.sent == (tree.directory / path).stat().st_size - 1_000_000
    assert Path(image.layers[0], "etc/day").read_text() == "20240202"
    engine.images.remove("lan:testix/1")
    nothing_is_there(engine)


@pytest.mark.parametrize(
    ("path", "fault", "kind", "said"),
    [
        ("squashfs", Fault("", times=9, edit=lambda body: body[:-1] + b"\1"), Remote, "other bytes"),
        ("squashfs", Fault("", times=99, ignores_range=True, edit=lambda body: body[:99]), Remote, "after 99 of"),
        ("squashfs", Fault("", times=9, edit=lambda body: body + b"\0"), Remote, "sends more"),
        ("squashfs", Fault("", times=9, status=404), NotFound, "has no"),
        ("lxd.tar.xz", Fault("", times=9, edit=lambda body: b"x" * len(body)), Remote, "other bytes"),
        ("", Fault("index.json", status=404), NotFound, "index.json"),
        ("", Fault("images.json", times=9, edit=lambda _: b"{"), Remote, "list of images of lan cannot be read"),
        ("", Fault("images.json", times=9, status=503), Remote, "status 503"),
    ],
)
def test_a_server_that_fails_or_lies_leaves_nothing_behind(
    engine: Engine, lan: str, server: Proxy, tree: Tree, path: str, fault: Fault, kind: type[CloisonError], said: str
) -> None:
    fault.path = fault.path or tree.file(path)
    server.faults = [fault]
    with pytest.raises(kind, match=said):
        engine.servers.pull("lan:testix/1")
    nothing_is_there(engine)


def test_metadata_of_another_root_filesystem_are_refused(engine: Engine, lan: str, tree: Tree) -> None:
    product = tree.products["testix:1:amd64:default"]
    product["versions"]["20240202"]["items"]["lxd.tar.xz"]["combined_squashfs_sha256"] = "0" * 64  # type: ignore[index]
    tree.write()
    with pytest.raises(Remote, match="in a row"):
        engine.servers.pull("lan:testix/1")
    assert engine.images.images() == ()


def test_a_mirror_is_asked_first_and_need_not_be_there(root: Path, server: Proxy) -> None:
    url = f'url = "http://{server.host}"'
    host_settings(root, f'[remotes.lan]\n{url}\nmirrors = ["http://127.0.0.1:{serving.free_port()}"]\n')
    engine = cloison.open(str(root))
    assert engine.servers.pull("lan:testix/1").names == ("lan:testix/1",)
    engine.store.close()


def test_a_server_may_have_a_proxy_of_its_own(root: Path, server: Proxy) -> None:
    host_settings(root, f'[remotes.lan]\nurl = "http://{server.behind}"\nproxy = "http://{server.host}"\n')
    engine = cloison.open(str(root))
    engine.servers.pull("lan:testix/1")
    assert server.asked and all(one.path.startswith(f"http://{server.behind}/") for one in server.asked)
    engine.store.close()


def test_any_certificate_will_do_where_that_is_said_and_only_then(
    cli: Cli, root: Path, tree: Tree, authority: Authority
) -> None:
    files = type("Mine", (Files,), {"root": tree.directory})
    with serving.serving(files, authority=authority) as host:
        name = host.replace("127.0.0.1", "0.0.0.0")
        host_settings(root, f'[remotes.lan]\nurl = "https://{name}"\n')
        refused = cli("image", "pull", "lan:testix/1", "-q")
        assert refused.returncode == 7 and f"the certificate of {name} cannot be verified" in refused.stderr
        assert cli("image", "pull", "lan:testix/1", "-q", "--no-tls-verify").returncode == 0


# --- signatures


@contextlib.contextmanager
def keys() -> Iterator[Path]:
    """A directory of gpg's with the key "test". Its name is short: gpg makes a socket in it."""
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        os.chmod(home, 0o700)
        try:
            gpg(Path(home), "--passphrase", "", "--quick-gen-key", "test", "ed25519", "sign", "never")
            yield Path(home)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def gpg(home: Path, *words: str | Path) -> bytes:
    argv = ["gpg", "--homedir", home, "--batch", "--quiet", "--yes", *words]
    return subprocess.run(argv, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def signer() -> Iterator[Path]:
    with keys() as home:
        yield home


@pytest.fixture(params=["binary", "armoured"])
def keyring(request: pytest.FixtureRequest, tmp_path: Path, signer: Path) -> Path:
    """The public key, in either form in which such files come."""
    path = tmp_path / "keys.gpg"
    path.write_bytes(gpg(signer, "--export", *(("--armor",) if request.param == "armoured" else ()), "test"))
    return path


@pytest.fixture
def careful(root: Path, server: Proxy, keyring: Path) -> Iterator[Engine]:
    """An installation that takes from "lan" only what is signed."""
    host_settings(root, f'[remotes.lan]\nurl = "http://{server.host}"\nkeyring = "{keyring}"\nmax_age_s = 0\n')
    engine = cloison.open(str(root))
    yield engine
    engine.store.close()


def signed(tree: Tree, home: Path, form: str) -> None:
    for path in tree.lists:
        if form == "clear":
            gpg(home, "--output", path.with_suffix(".sjson"), "--clearsign", path)
            path.unlink()
        else:
            gpg(home, "--output", f"{path}.gpg", "--detach-sign", *(("--armor",) if form == "armoured" else ()), path)


@pytest.mark.parametrize("form", ["clear", "detached", "armoured"])
def test_what_a_known_key_has_signed_is_taken(careful: Engine, tree: Tree, signer: Path, form: str) -> None:
    signed(tree, signer, form)
    assert careful.servers.pull("lan:testix/1").names == ("lan:testix/1",)


def test_what_nobody_has_signed_is_refused(careful: Engine) -> None:
    with pytest.raises(Denied, match=r"index\.json of lan is not signed") as refused:
        careful.servers.pull("lan:testix/1")
    assert "remotes.lan.keyring" in refused.value.hint


@pytest.mark.parametrize("form", ["clear", "detached"])
def test_what_another_key_has_signed_is_refused(careful: Engine, tree: Tree, form: str) -> None:
    with keys() as other:
        signed(tree, other, form)
    with pytest.raises(Denied, match="is not signed by a key of"):
        careful.servers.pull("lan:testix/1")


@pytest.mark.parametrize("form", ["clear", "detached"])
def test_what_was_changed_after_it_was_signed_is_refused(careful: Engine, tree: Tree, signer: Path, form: str) -> None:
    signed(tree, signer, form)
    path = tree.lists[1] if form == "detached" else tree.lists[1].with_suffix(".sjson")
    path.write_text(path.read_text().replace("testix/1/default", "testix/1/changed"))
    with pytest.raises(Denied, match="BAD signature"):
        careful.servers.pull("lan:testix/1")


def test_what_stands_around_a_signed_text_is_not_read(careful: Engine, tree: Tree, signer: Path) -> None:
    signed(tree, signer, "clear")
    path = tree.lists[0].with_suffix(".sjson")
    path.write_text('{"index": {"x": {"path": "evil.json", "datatype": "image-downloads"}}}\n' + path.read_text())
    assert careful.servers.pull("lan:testix/1").names == ("lan:testix/1",)


# --- as words


def test_the_command_says_that_nothing_is_signed_and_lists_what_there_is(cli: Cli, lan: str) -> None:
    done = cli("image", "pull", "lan:testix/1", "--name", "mine")
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "pulling lan:testix/1: taking its list without a signature, as there is no keyring for it"
    assert lines[1].startswith("pulling lan:testix/1: downloading ")
    listed = cli("image", "search", "lan:testix")
    assert "lan:testix/1/default" in listed.stdout and "20240202" in listed.stdout and "arm64" not in listed.stdout
    found = json.loads(cli("image", "search", "lan:default", "--architecture", "all", "--json").stdout)
    assert [(one["reference"], one["architecture"]) for one in found] == [
        ("lan:testix/1/default", "amd64"),
        ("lan:testix/1/default", "arm64"),
    ]
    created = cli("create", "lan:testix/1", "web")
    assert (created.returncode, created.stdout) == (0, "web\n")
    assert cli("delete", "web").returncode == 0
    assert cli("image", "search", "nowhere:x").returncode == 3


def test_tags_and_names_of_a_registry_are_listed(cli: Cli, engine: Engine, pushed: str) -> None:
    host, _, rest = pushed.partition("/")
    tags = json.loads(cli("image", "search", f"docker://{host}/team/it", "--json").stdout)
    assert f"docker://{pushed}" in [offer["reference"] for offer in tags]
    names = cli("image", "search", f"docker://{host}").stdout
    assert f"docker://{host}/{rest.partition(':')[0]}" in names
    assert cli("image", "search", f"docker://{host}/team/nothing").returncode == 3
