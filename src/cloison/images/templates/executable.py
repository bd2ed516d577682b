"""The host's own templates: programs that take the arguments which LXC gives to its templates.

    PROGRAM --name=NAME --path=DIRECTORY --rootfs=ROOTFS [--arch=ARCH] [--release=RELEASE] ARGUMENTS...

It fills ROOTFS, and adds to DIRECTORY/config, in which LXC's line about the root file system is already. It is run as
root, as LXC does, in mount, PID, IPC and UTS namespaces of its own: mounts and processes that it leaves end with it.
What else it does to the host is its own business; LXC's templates keep what they download below /var/cache/lxc.

Of the configuration, what an image can say is kept: the init, its signal to halt, variables, the architecture. What is
about devices, networks and consoles is cloison's own; the rest is named in the image's warning.
Source: lxc-create(1), lxc.container.conf(5); create_run_template in lxccontainer.c of LXC 5.0.
"""

import os
import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from cloison.base.errors import Denied, Host, Invalid, NotFound
from cloison.images.architecture import host_architecture
from cloison.images.image import Facts
from cloison.images.oci import signal_name
from cloison.images.system import System, look
from cloison.images.templates import debian_output, debian_tools
from cloison.images.templates.template import Option, Progress, Request, chosen
from cloison.images.workspace import Workspace

ARGUMENTS: Final = "arguments"
_OPTIONS: Final = (
    Option("architecture", "given to it as --arch"),
    Option(ARGUMENTS, "more arguments, quoted as for a shell"),
)
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_KEPT_LINES = 200
_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CACHE = "LXC_CACHE_PATH"  # where LXC's templates keep what they download, if the caller has said so
# What every instance has anyway, or gets from its own configuration.
_OURS = (
    "lxc.apparmor.",
    "lxc.arch",
    "lxc.autodev",
    "lxc.cap.",
    "lxc.cgroup",
    "lxc.console.",
    "lxc.idmap",
    "lxc.include",
    "lxc.log.",
    "lxc.mount.auto",
    "lxc.net.",
    "lxc.pty.",
    "lxc.rootfs.",
    "lxc.signal.",
    "lxc.tty.",
    "lxc.uts.",
)
_VIRTUAL = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")


class Settings(msgspec.Struct, frozen=True):
    """What a template's configuration says of the image; `unheard` are the lines that cannot be said in it."""

    command: tuple[str, ...] = ("/sbin/init",)
    env: tuple[str, ...] = (_ENV,)
    stop_signal: str = ""
    unheard: tuple[str, ...] = ()


class Executable:
    """The program at `program` as a template called `name`; a module of this package is one, and so is this.

    `is_named`: its images are called just `name`, whatever the options, and `name` says no release."""

    RELEASES = ()
    OPTIONS = _OPTIONS

    def __init__(self, name: str, program: str, *, is_named: bool = False) -> None:
        self.NAME = name
        self.SUMMARY = f"this host's own: {program}"
        self._program = program
        self._is_named = is_named

    def resolve(self, release: str, options: Mapping[str, str]) -> Request:
        """Raises Invalid for an option that no program gets, and for a release that is none."""
        if release and not _RELEASE.fullmatch(release):
            raise Invalid(f"{release!r} cannot be the release that is given to {self._program}", release=release)
        values = dict(options)
        if ARGUMENTS in values:
            values[ARGUMENTS] = shlex.join(_split(values[ARGUMENTS]))
        name = self.NAME if self._is_named else ""
        return Request(self.NAME, release, chosen(self.NAME, _OPTIONS, values), name=name)

    def build(self, request: Request, workspace: Workspace, progress: Progress) -> Facts:
        """Have the program fill the root file system. Raises Denied, NoSpace, Remote, Host."""
        if os.geteuid() != 0:
            raise Denied(f"only root can build an image by {self._program}", hint="build it as root")
        path = f"{workspace.path}/lxc"
        os.makedirs(f"{workspace.path}/tmp", mode=0o700)
        os.mkdir(path, 0o700)
        with open(f"{path}/config", "w") as file:
            file.write(f"lxc.rootfs.path = dir:{workspace.rootfs}\n")
        progress("template", 0, None)
        self._run(argv(self._program, request, path, workspace.rootfs), workspace)
        if not os.listdir(workspace.rootfs):
            raise Host(
                f"the template {self._program} has left the root file system empty",
                hint="it has to fill the directory that is given to it as --rootfs",
                program=self._program,
            )
        with open(f"{path}/config", errors="replace") as file:
            settings = read(file.read())
        return _facts(request, settings, look((workspace.rootfs,)))

    def _run(self, command: list[str], workspace: Workspace) -> None:
        env = debian_tools.environment(workspace, debian_tools.apt_settings())
        if _CACHE in os.environ:
            env[_CACHE] = os.environ[_CACHE]
        last: deque[str] = deque(maxlen=_KEPT_LINES)
        code = debian_tools.follow(command, workspace, last.append, env)
        if code != 0:
            name = os.path.basename(self._program)
            raise debian_output.failure(name, code, tuple(last), workspace.store_root)


def found(directory: str, name: str) -> Executable | None:
    """The program `name` in the directory of the host's own templates; None where there is none. Raises Invalid for a
    file that cannot be run."""
    path = f"{directory}/{name}"
    if not directory or "/" in name or name.startswith(".") or not os.path.isfile(path):
        return None
    return Executable(name, _runnable(path))


def at(path: str, name: str) -> Executable:
    """The program at `path`, its images called `name`. Raises NotFound, Invalid."""
    if not os.path.isfile(path):
        raise NotFound(f"there is no template {path}", hint="it is a program with the arguments of LXC's templates")
    return Executable(name, _runnable(os.path.abspath(path)), is_named=True)


def names(directory: str) -> tuple[str, ...]:
    """The programs in the directory of the host's own templates."""
    try:
        entries = sorted(os.listdir(directory)) if directory else []
    except FileNotFoundError:
        return ()
    return tuple(name for name in entries if not name.endswith(".toml") and found(directory, name))


def argv(program: str, request: Request, path: str, rootfs: str) -> list[str]:
    """The command line. Pure."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", request.template).strip("-") or "template"  # a container's, to be a host name
    command = [program, f"--name={name}", f"--path={path}", f"--rootfs={rootfs}"]
    if architecture := request.option("architecture"):
        command.append(f"--arch={architecture}")
    if request.release:
        command.append(f"--release={request.release}")
    return command + _split(request.option(ARGUMENTS))


def read(text: str) -> Settings:
    """What the lines of a configuration mean for an image. Pure."""
    command: tuple[str, ...] = ("/sbin/init",)
    env = [_ENV]
    stop_signal = ""
    unheard = []
    for key, value in _lines(text):
        if key == "lxc.init.cmd" and value:
            command = tuple(_split(value))
        elif key == "lxc.environment" and "=" in value:
            env = [one for one in env if one.split("=")[0] != value.split("=")[0]] + [value]
        elif key == "lxc.signal.halt":
            stop_signal = signal_name(value)
        elif not key.startswith(_OURS) and not _is_everywhere(key, value):
            unheard.append(f"{key} = {value}")
    return Settings(command, tuple(env), stop_signal, tuple(unheard))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            yield key.strip(), value.strip()


def _is_everywhere(key: str, value: str) -> bool:
    """Whether it is a mount that may be missing, or of a file system that every instance has where it belongs."""
    words = value.split()
    return key == "lxc.mount.entry" and len(words) >= 4 and (words[2] in _VIRTUAL or "optional" in words[3].split(","))


def _facts(request: Request, settings: Settings, system: System) -> Facts:
    said = "; ".join(settings.unheard)
    return Facts(
        names=request.names,
        os=system.os or "linux",
        release=system.release or request.release,
        architecture=system.architecture or host_architecture(),
        command=settings.command,
        env=settings.env,
        stop_signal=settings.stop_signal or system.stop_signal or "SIGTERM",
        template=request.template,
        is_system=True,
        properties={"warning": f"not kept of the template's configuration: {said}"} if said else {},
    )


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as problem:
        raise Invalid(f"{text!r} is not quoted as for a shell: {problem}", option=ARGUMENTS) from problem


def _runnable(path: str) -> str:
    if not os.access(path, os.X_OK):
        raise Invalid(f"the template {path} is not executable", hint=f"chmod +x {path}", path=path)
    return path
