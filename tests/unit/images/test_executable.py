"""The host's own templates: how they are called, and what their configuration means for an image."""

from pathlib import Path

import pytest

from cloison.base.errors import Invalid, NotFound
from cloison.images.templates import executable, template, templates
from cloison.images.templates.executable import Settings

BUSYBOX = """\
lxc.rootfs.path = dir:/x
lxc.signal.halt = SIGUSR1
lxc.signal.reboot = SIGTERM
lxc.uts.name = "web"
lxc.tty.max = 1
lxc.cap.drop = sys_module mac_admin
# lxc.apparmor.profile = unconfined
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
lxc.mount.entry = shm dev/shm tmpfs defaults 0 0
lxc.mount.entry = /sys/kernel/security sys/kernel/security none ro,bind,optional 0 0
lxc.mount.entry = /lib lib none ro,bind 0 0
"""


def program(directory: Path, name: str, *, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_the_arguments_are_those_that_lxc_gives(tmp_path: Path) -> None:
    own = executable.Executable("tiny", "/etc/cloison/templates/tiny")
    request = own.resolve("12", {"architecture": "arm64", "arguments": "--packages='a b'  -x"})
    assert executable.argv("/t/tiny", request, "/w/lxc", "/w/rootfs") == [
        *("/t/tiny", "--name=tiny", "--path=/w/lxc", "--rootfs=/w/rootfs"),
        *("--arch=arm64", "--release=12", "--packages=a b", "-x"),
    ]


def test_an_image_is_named_after_its_template_and_what_was_chosen(tmp_path: Path) -> None:
    own = executable.Executable("tiny", "/t/tiny")
    assert own.resolve("", {}).names == ("tiny",)
    assert own.resolve("12", {}).names == ("tiny/12",)
    one, other = (own.resolve("12", {"arguments": text}) for text in ("-a  'b c'", '-a "b c"'))
    assert one == other and one.names[0].startswith("tiny/12+")
    given = executable.at(str(program(tmp_path, "lxc-tiny")), "golden")
    assert given.resolve("", {"arguments": "-x"}).names == ("golden",)


def test_the_configuration_says_what_an_image_can_say_and_the_rest_is_named() -> None:
    assert executable.read(BUSYBOX) == Settings(
        stop_signal="SIGUSR1", unheard=("lxc.mount.entry = /lib lib none ro,bind 0 0",)
    )
    said = executable.read(
        "lxc.init.cmd = /bin/run 'a b'\nlxc.environment = A=1\nlxc.environment=A=2\nlxc.hook.start = /x"
    )
    assert said.command == ("/bin/run", "a b")
    assert said.env[1:] == ("A=2",)
    assert said.unheard == ("lxc.hook.start = /x",)


def test_a_program_in_the_directory_is_a_template_but_takes_no_name_away(tmp_path: Path) -> None:
    for name in ("tiny", "debian"):
        program(tmp_path, name)
    (tmp_path / "web.toml").write_text("")
    assert [each.NAME for each in templates(str(tmp_path))] == ["busybox", "debian", "tiny", "ubuntu"]
    assert isinstance(template("tiny", str(tmp_path)), executable.Executable)
    assert not isinstance(template("debian", str(tmp_path)), executable.Executable)
    with pytest.raises(Invalid, match="no template 'other'") as wrong:
        template("other", str(tmp_path))
    assert wrong.value.hint == "the templates are busybox, debian, tiny, ubuntu"


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    program(tmp_path, "tiny", mode=0o644)
    with pytest.raises(Invalid, match="is not executable"):
        executable.found(str(tmp_path), "tiny")
    with pytest.raises(NotFound, match="there is no template"):
        executable.at(str(tmp_path / "none"), "web")
    assert executable.found(str(tmp_path), "../etc") is None
    assert executable.found(f"{tmp_path}/none", "tiny") is None
    own = executable.Executable("tiny", "/t/tiny")
    for release, options in (("", {"colour": "red"}), ("", {"arguments": "'"}), ("-x", {})):
        with pytest.raises(Invalid):
            own.resolve(release, options)
