"""As whom and where the command of an image runs."""

import os
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import NotFound
from cloison.engine import runners
from cloison.engine import specification as under_test
from cloison.engine.records import Runner
from cloison.images.image import Image
from cloison.spec.config import assign_all
from cloison.spec.oci import User
from tests.unit.plan.worlds import record

PASSWD = "root:x:0:0:root:/root:/bin/sh\nana:x:1000:100:Ana:/home/ana:/bin/sh\nbroken:x\nbig:x:70000:1::/:\n"
GROUP = "root:x:0:\nusers:x:100:\naudio:x:29:ana,bea\nvideo:x:44:bea\ndisk:x:6:x,ana\n"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Of two layers: /etc/group is in the lower one."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for layer, name, text in ((upper, "passwd", PASSWD), (lower, "group", GROUP)):
        (layer / "etc").mkdir(parents=True)
        (layer / "etc" / name).write_text(text)
    return Image(
        names=("app",),
        os="",
        release="",
        architecture="amd64",
        command=("/app",),
        env=(),
        stop_signal="SIGTERM",
        template="",
        is_system=False,
        digest="sha256:0",
        created="",
        size_bytes=0,
        layers=(os.fspath(upper), os.fspath(lower)),
    )


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("", Runner()),
        ("root", Runner(0, 0, (), "/root")),
        ("ana", Runner(1000, 100, (6, 29), "/home/ana")),
        ("1000", Runner(1000, 100, (6, 29), "/home/ana")),
        ("ana:audio", Runner(1000, 29, (), "/home/ana")),
        ("ana:7", Runner(1000, 7, (), "/home/ana")),
        ("33", Runner(33, 0, (), "/")),
        ("33:44", Runner(33, 44, (), "/")),
    ],
)
def test_a_user_is_whom_the_image_knows_by_that_name(image: Image, user: str, wanted: Runner) -> None:
    assert runners.of_image(msgspec.structs.replace(image, user=user)) == wanted


@pytest.mark.parametrize("user", ["bea", "ana:nobody", "70000", "big", "broken", "-1", "33:70000", ":29"])
def test_whom_the_image_does_not_know_is_named(image: Image, user: str) -> None:
    with pytest.raises(NotFound, match="the image wants its command run by"):
        runners.of_image(msgspec.structs.replace(image, user=user))


def test_the_directory_is_absolute(image: Image) -> None:
    assert runners.of_image(msgspec.structs.replace(image, workdir="srv/app/")).cwd == "/srv/app"


@pytest.mark.parametrize(
    ("settings", "user", "cwd", "home"),
    [
        ((), User(1000, 100, additional_gids=(29,)), "/srv", "HOME=/home/ana"),
        (("init.uid=0",), User(0, 0), "/srv", ""),
        (("init.uid=1000",), User(1000, 0), "/srv", "HOME=/home/ana"),
        (("init.gid=7",), User(1000, 7), "/srv", "HOME=/home/ana"),
        (("init.uid=5", "init.gid=6", "init.cwd=/"), User(5, 6), "/", ""),
        (("env.HOME=/x",), User(1000, 100, additional_gids=(29,)), "/srv", "HOME=/x"),
    ],
)
def test_the_configuration_overrules_the_image(settings: tuple[str, ...], user: User, cwd: str, home: str) -> None:
    found = record(*settings)
    found = msgspec.structs.replace(found, runner=Runner(1000, 100, (29,), "/home/ana", "/srv"))
    process = under_test.specification(found).process
    assert (process.user, process.cwd) == (user, cwd)
    assert [each for each in process.env if each.startswith("HOME=")] == ([home] if home else [])
    assert process.capabilities is not None
    assert bool(process.capabilities.effective) == (user.uid == 0)
    assert assign_all(found.config, ["init.uid="]).init.uid is None
