"""An archive of packages on loopback, in the form of Ubuntu's, with packages of Debian's that this host's apt fetches.

What is Ubuntu's about it: suites, components and keys of its own, updates in a suite beside, and a `base-files` that
says so. Source: https://wiki.debian.org/DebianRepository/Format, deb-control(5), dpkg-deb(1).
"""

import contextlib
import gzip
import hashlib
import http.server
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

APT = """\
Dir::State "{0}/state"; Dir::State::status "{0}/status"; Dir::Cache "{0}/cache";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Debug::NoLocking "true";
"""
OS_RELEASE = 'ID=ubuntu\nID_LIKE=debian\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
BASE = "?or(?essential,?priority(required))"


def ran(*words: str | Path, **more: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, (words, done.stderr[-2000:])
    return str(done.stdout)


def _apt(place: Path, *words: str) -> None:
    """apt-get with lists and a status of its own, as if nothing were installed; it has the sources of this host."""
    if not (place / "apt.conf").exists():
        for name in ("state/lists/partial", "cache/archives/partial"):
            (place / name).mkdir(parents=True)
        (place / "status").touch()
        (place / "apt.conf").write_text(APT.format(place))
        _apt(place, "update")
    environment = {"APT_CONFIG": f"{place}/apt.conf", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    command = ["apt-get", "--quiet", *words]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600, cwd=place)


def fetch(place: Path, packages: Sequence[str]) -> list[Path]:
    """The packages and all that they need, from where this host has its packages."""
    _apt(place, "install", "--yes", "--download-only", BASE, "apt", *packages)
    return sorted((place / "cache/archives").glob("*.deb"))


def unpacked(place: Path, packages: Sequence[str]) -> Path:
    """A directory with the files of these packages alone, which are not installed."""
    _apt(place, "download", *packages)
    for package in place.glob("*.deb"):
        ran("dpkg-deb", "--extract", package, place / "root")
    return place / "root"


def as_ubuntus(packages: Sequence[Path], work: Path) -> list[Path]:
    """The packages as Ubuntu has them, as far as a build can tell: `base-files` says what distribution it is, and
    nothing wants the mark of a merged /usr, which is not in "main"."""
    for package in packages:
        name = package.name.partition("_")[0]
        if name not in ("base-files", "init-system-helpers"):
            continue
        ran("dpkg-deb", "--raw-extract", package, work / name)
        if name == "base-files":
            (work / name / "usr/lib/os-release").write_text(OS_RELEASE)
        control = work / name / "DEBIAN/control"
        control.write_text(re.sub(r"usrmerge \| usr-is-merged|usr-is-merged", "dpkg", control.read_text()))
        package.unlink()
        ran("dpkg-deb", "--root-owner-group", "-Znone", "--build", work / name, package)
    return [package for package in packages if not package.name.startswith(("usrmerge_", "usr-is-merged_"))]


def tiny(directory: Path, name: str, version: str) -> Path:
    """A package of nothing but a control file."""
    control = directory / f"{name}-{version}/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example>\nDescription: x\n"
    )
    package = directory / f"{name}_{version}_all.deb"
    ran("dpkg-deb", "--root-owner-group", "--build", control.parent.parent, package)
    return package


class Keys:
    """A directory of gpg's with one key. Its name is short: gpg makes a socket in it."""

    def __init__(self, home: str, keyring: Path) -> None:
        self._words = ("gpg", "--homedir", home, "--batch", "--quiet", "--yes")
        ran(*self._words, "--passphrase", "", "--quick-gen-key", "test", "rsa3072", "sign", "never")
        ran(*self._words, "--output", keyring, "--export")
        self.keyring = keyring

    def sign(self, path: Path, target: Path) -> None:
        ran(*self._words, "--output", target, "--clearsign", path)


@contextlib.contextmanager
def keys(keyring: Path) -> Iterator[Keys]:
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        try:
            yield Keys(home, keyring)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


class Archive:
    """The tree of an archive below `root`; its address while it is served."""

    def __init__(self, root: Path, signer: Keys) -> None:
        self.root, self._signer = root, signer
        self.address = ""
        self.asked: list[str] = []

    def suite(self, name: str, **components: Sequence[Path]) -> None:
        """A suite of these packages, signed."""
        sums = []
        for component, packages in components.items():
            place = self.root / f"dists/{name}/{component}/binary-amd64"
            place.mkdir(parents=True)
            index = "\n".join(self._entry(each) for each in packages).encode()
            for path, data in ((place / "Packages", index), (place / "Packages.gz", gzip.compress(index))):
                path.write_bytes(data)
                sums.append((path.relative_to(self.root / f"dists/{name}"), data))
        release = self.root / f"dists/{name}/Release"
        release.write_text(
            f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: {name}\nCodename: noble\nArchitectures: amd64\n"
            f"Components: {' '.join(components)}\nDate: {ran('date', '--utc', '--rfc-email').strip()}\nSHA256:\n"
            + "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}\n" for path, data in sums)
        )
        self._signer.sign(release, release.with_name("InRelease"))

    def _entry(self, package: Path) -> str:
        """A package's lines in the index; the package itself goes into the pool."""
        pool = self.root / "pool" / package.name.replace("%", "_")
        pool.parent.mkdir(exist_ok=True)
        shutil.copy(package, pool)
        data = pool.read_bytes()
        sums = f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}"
        control = ran("dpkg-deb", "--field", package)
        assert re.match("Package: ", control)
        return f"{control.rstrip()}\nFilename: pool/{pool.name}\n{sums}\n"

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """On loopback, meanwhile."""
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_words: object) -> None:
                asked.append(self.path)

        root = str(self.root)
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            lambda *words: Handler(*words, directory=root),
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
