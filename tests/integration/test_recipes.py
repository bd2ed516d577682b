"""Images by recipes: built in an instance, whole or not at all, and not built twice."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance
from cloison.base.errors import Busy, Host, Invalid, NotFound, Unsupported
from cloison.engine.results import Repaired
from tests.integration.conftest import ALONE, PROGRAM, empty_installation, eventually, init_of, installation

pytestmark = pytest.mark.needs_root

WEB = """
base = "busybox"
commands = ["echo built >/etc/built; rm /etc/motd; id -u >/etc/uid", ["/bin/touch", "/srv/a b"]]
env = { TZ = "Europe/Paris" }

[[files]]
path = "/srv/site"
source = "site"
owner = "65534:1"

[[files]]
path = "/etc/secret"
content = "hello"
mode = "0600"
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Engine]:
    """An installation with images of its own: what is built here is nobody else's."""
    with installation(tmp_path / "own") as engine:
        yield engine


@pytest.fixture
def web(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index").write_text("1")
    return written(tmp_path, WEB)


def written(directory: Path, text: str, name: str = "web") -> Path:
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path


def said(instance: Instance, script: str) -> str:
    return instance.exec(["/bin/sh", "-c", script]).stdout.decode()


def test_a_recipe_becomes_an_image_of_its_base_and_one_layer(own: Engine, web: Path) -> None:
    image = own.build(str(web))
    base = own.images.find("busybox")
    assert image.names == ("web",)
    assert image.layers[1:] == base.layers
    assert image.command == base.command and image.is_system
    top = Path(image.layers[0])
    assert (top / "etc/secret").read_text() == "hello"
    assert stat.S_IMODE((top / "etc/secret").stat().st_mode) == 0o600
    assert stat.S_ISCHR((top / "etc/motd").stat().st_mode)  # a whiteout
    assert not any(os.path.lexists(top / name) for name in ("etc/hostname", "etc/hosts", "etc/resolv.conf"))
    assert own.instances() == ()
    instance = own.launch("web", "w", config=ALONE)
    assert said(instance, "cat /etc/built /etc/uid; echo $TZ") == "built\n0\nEurope/Paris\n"
    assert said(instance, "ls /etc/motd /usr/sbin/policy-rc.d; stat -c %u:%g /srv/site/index; ls /srv") == (
        "65534:1\na b\nsite\n"
    )
    assert said(instance, "hostname; cat /etc/hostname") == "w\nw\n"


def test_nothing_is_built_again_before_something_changes(own: Engine, web: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def build() -> str:
        stages.clear()
        return own.build(str(web), progress=lambda stage, _done, _total: stages.append(stage)).digest

    first = build()
    assert "commands" in stages
    assert build() == first and "commands" not in stages
    (tmp_path / "site/index").write_text("2")
    second = build()
    assert second != first and "commands" in stages
    web.write_text(WEB.replace("hello", "goodbye"))
    third = build()
    assert third not in (first, second)
    web.write_text(WEB)
    assert build() == second and "commands" not in stages
    assert own.images.find("web").digest == second
    again = own.build(str(web), rebuild=True)
    assert again.properties == own.images.find(second).properties


def test_an_instance_is_made_from_a_recipe_and_from_one_of_the_hosts_own(own: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, 'base = "busybox"\nname = "tools/tiny"\ncommand = ["/bin/sleep", "1000"]')
    made = own.create(str(path), "one", config=ALONE)
    assert own.images.find("tools/tiny").digest == own.build(str(path)).digest
    assert not own.images.find("tools/tiny").is_system
    assert made.record.command == ("/bin/sleep", "1000")
    templates = Path(own.layout.templates)
    templates.mkdir(parents=True)
    written(templates, 'base = "tools/tiny"\ncommands = ["echo 1 >/x"]', "tiny")
    other = own.launch("tiny", "two", config=ALONE)
    assert said(other, "cat /x") == "1\n"
    with pytest.raises(Busy):
        own.remove_image("tools/tiny")


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ('commands = ["echo first; echo last >&2; exit 3"]', Host, r"exit 3' of web failed \(3\): first; last"),
        ('commands = [["/bin/none"]]', NotFound, "a command of web"),
        ('packages = ["vim"]\nnetwork = false', Unsupported, "installed by apt, which busybox does not have"),
        ('[[files]]\npath = "/x"\ncontent = ""\nowner = "nobody-here"', NotFound, "no user 'nobody-here'"),
        ('[[files]]\npath = "/x"\nsource = "none"', NotFound, "a file that is not there: .*/none"),
        ('[[files]]\npath = "/etc/passwd/x"\ncontent = ""', Invalid, "/etc/passwd cannot be written"),
        ("unknown = 1", Invalid, "web.toml: there is no key unknown"),
        ('name = "Web"', Invalid, "'Web' cannot be the name"),
    ],
)
def test_what_fails_leaves_nothing(own: Engine, tmp_path: Path, text: str, error: type, why: str) -> None:
    own.image("busybox")
    path = written(tmp_path, f'base = "busybox"\n{text}')
    with pytest.raises(error, match=why):
        own.build(str(path))
    assert [image.names for image in own.images.images()] == [("busybox",)]
    assert own.instances() == ()
    assert own.repair() == ()


def test_a_recipe_has_no_options_and_a_missing_one_is_named(own: Engine, web: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="a recipe, which has no options"):
        own.build(str(web), options={"packages": "vim"})
    with pytest.raises(NotFound, match=r"there is no recipe .*/none\.toml"):
        own.build(str(tmp_path / "none.toml"))


def test_a_build_that_is_killed_leaves_an_instance_that_repair_takes(own: Engine, tmp_path: Path) -> None:
    own.image("busybox")
    path = written(tmp_path, 'base = "busybox"\ncommands = ["sleep 1000"]')
    words = [sys.executable, "-m", "cloison", "image", "build", str(path)]
    builder = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: any(one.observe().pid for one in own.instances()), 30)
        assert own.repair() == ()  # it is at work
        builder.send_signal(signal.SIGKILL)
    finally:
        builder.kill()
        builder.wait()
    (left,) = own.instances()
    # A process that it was starting at that moment has its lock until it is another program.
    done: list[Repaired] = []

    def is_taken() -> bool:
        done.extend(own.repair())
        return own.instances() == ()

    assert eventually(is_taken)
    assert ("build of an image", left.name) in [(one.what, one.where) for one in done]
    assert own.instances() == ()
    assert [image.names for image in own.images.images()] == [("busybox",)]


def test_the_command_builds_and_says_what_it_does(own: Engine, web: Path) -> None:
    words = [str(PROGRAM), "image", "build", str(web)]
    first, second = (subprocess.run(words, capture_output=True, text=True, timeout=60) for _ in range(2))
    assert (first.stdout, first.returncode) == ("web\n", 0)
    assert "running commands" in first.stderr
    assert (second.stdout, second.stderr) == ("web\n", "")


REPOSITORY = """
base = "debian/12"
packages = ["cloison-test"]
network = false
commands = ["cloison-test >/srv/said"]

[[files]]
path = "/etc/apt/sources.list"
content = "deb [trusted=yes] file:/srv/repository ./"
early = true

[[files]]
path = "/srv/repository"
source = "repository"
early = true

[[files]]
path = "/etc/cloison-test.conf"
content = "the recipe's"
owner = "test-owner"
"""
SCRIPT = "#!/bin/sh\necho works\n"
AFTER = """#!/bin/sh
set -e
grep -q test-owner /etc/passwd || useradd --system test-owner
/usr/sbin/policy-rc.d && echo yes >/srv/may-start || echo no >/srv/may-start
"""


def package(directory: Path) -> None:
    """A repository of one package, with a program, a configuration file and a user."""
    tree = directory / "package"
    for name, text, mode in (
        ("usr/bin/cloison-test", SCRIPT, 0o755),
        ("etc/cloison-test.conf", "the package's", 0o644),
        ("DEBIAN/conffiles", "/etc/cloison-test.conf\n", 0o644),
        ("DEBIAN/postinst", AFTER, 0o755),
        (
            "DEBIAN/control",
            "Package: cloison-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
            "Description: says that it works\n",
            0o644,
        ),
    ):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    repository = directory / "repository"
    repository.mkdir()
    built = repository / "cloison-test.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, built], check=True, capture_output=True)
    control = (tree / "DEBIAN/control").read_text()
    digest = subprocess.run(["sha256sum", built], check=True, capture_output=True, text=True).stdout.split()[0]
    (repository / "Packages").write_text(
        f"{control}Filename: ./{built.name}\nSize: {built.stat().st_size}\nSHA256: {digest}\n"
    )


@pytest.mark.debian
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_packages_are_installed_by_apt_and_start_nothing(debian_images: Path, tmp_path: Path) -> None:
    with installation(empty_installation(tmp_path / "debian", debian_images)) as engine:
        package(tmp_path)
        image = engine.build(str(written(tmp_path, REPOSITORY, "cloison-test-recipe")))
        try:
            top = Path(image.layers[0])
            assert (top / "srv/said").read_text() == "works\n"
            assert (top / "srv/may-start").read_text() == "no\n"
            assert (top / "etc/cloison-test.conf").read_text() == "the recipe's"
            assert (top / "etc/cloison-test.conf").stat().st_uid != 0
            assert "cloison-test" in (top / "var/lib/dpkg/status").read_text()
            left = [path for path in (top / "var/lib/apt/lists").rglob("*") if path.is_file()]
            assert left == []
            assert not os.path.lexists(top / "usr/sbin/policy-rc.d")
            instance = engine.launch(image.names[0], "d", config=(*ALONE, "init.command=/bin/sleep 100"))
            assert instance.exec(["cloison-test"]).stdout == b"works\n"
            instance.delete(force=True)
        finally:
            engine.images.remove(image.digest)


APP = """
base = "busybox"
command = ["/bin/sleep", "1000"]
user = "ana"
workdir = "/srv/app/data"

[[files]]
path = "/etc/passwd"
content = "root:x:0:0::/root:/bin/sh\\nana:x:1000:100::/home/ana:/bin/sh\\n"

[[files]]
path = "/etc/group"
content = "users:x:100:\\naudio:x:29:ana\\n"
"""


@pytest.mark.needs_cgroup
def test_a_command_runs_as_whom_and_where_its_image_says(own: Engine, tmp_path: Path) -> None:
    image = own.build(str(written(tmp_path, APP, "app")))
    assert (image.user, image.workdir) == ("ana", "/srv/app/data")
    app = own.launch("app", "app", config=(*ALONE, "security.privileged=true"))
    place = Path(f"/proc/{init_of(app)}")
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["1000"] * 4 and status["Gid"].split() == ["100"] * 4
    assert status["Groups"].split() == ["29"] and int(status["CapEff"], 16) == 0
    assert os.readlink(place / "cwd").endswith("/srv/app/data")
    assert b"\0HOME=/home/ana\0" in b"\0" + (place / "environ").read_bytes()
    assert said(app, "stat -c '%u %g %a' /srv/app/data") == "0 0 755\n"
    again = own.copy("app", "again")
    again.set("init.uid=0", "init.cwd=/")
    again.start()
    assert Path(f"/proc/{init_of(again)}").stat().st_uid == 0
    derived = own.build(str(written(tmp_path, 'base = "app"\ncommands = ["id -u >/etc/uid"]', "more")))
    assert (Path(derived.layers[0]) / "etc/uid").read_text() == "0\n"
    assert derived.user == "ana"
    own.rebuild("app", "busybox", force=True)
    assert Path(f"/proc/{init_of(app)}").stat().st_uid == 0


@pytest.mark.needs_cgroup
def test_a_user_that_the_image_does_not_know_makes_no_instance(own: Engine, tmp_path: Path) -> None:
    own.build(str(written(tmp_path, 'base = "busybox"\nuser = "bea"', "app")))
    with pytest.raises(NotFound, match="no user 'bea' in it"):
        own.create("app", "app", config=ALONE)
    assert own.instances() == ()
