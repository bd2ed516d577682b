"""mmdebstrap and debootstrap: how they are called, and how this host reaches the archives.

Source: mmdebstrap(1), debootstrap(8), apt.conf(5), apt-transport-http(1).
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from cloison.base.errors import Unsupported
from cloison.images.architecture import host_architecture
from cloison.images.templates import debian_output
from cloison.images.templates.template import Progress
from cloison.images.workspace import Workspace
from cloison.kernel import process, programs

_SCRIPTS = "/usr/share/debootstrap/scripts"
_HOOKS = "/usr/share/mmdebstrap/hooks"
# What links beside bin, sbin and lib a merged /usr has. Source: debootstrap's setup_merged_usr.
_MORE_LIBRARIES = {"amd64": "lib32 lib64 libx32", "i386": "lib64 libx32", "ppc64el": "lib64", "s390x": "lib32"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_KEPT_LINES = 200  # of the output, to find in them why it failed

# How this host reaches archives, and how old their lists may be, is the administrator's decision; not which
# languages, caches or lists are wanted.
_REACHING = ("http::", "https::", "ftp::", "tor::", "Retries", "ForceIP", "Check-", "Min-ValidTime", "Max-ValidTime")


class Wish(msgspec.Struct, frozen=True):
    """What is to be installed; `architecture` "" is this host's, `mirrors` () is the tool's own choice.

    `lines` are the archives as whole lines of sources.list, for mmdebstrap, which then needs no mirrors. `components`
    () are those that the tool takes by itself, `keyring` "" its own keys. `has_marker`: the archive has the package
    usr-is-merged, and packages that want it or `usrmerge`, which brings Perl along."""

    codename: str
    architecture: str
    mirrors: tuple[str, ...]
    packages: tuple[str, ...]
    lines: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    keyring: str = ""
    system: str = "Debian"
    has_marker: bool = True


def bootstrap(wish: Wish, workspace: Workspace, progress: Progress) -> None:
    """Install the system into `workspace.rootfs`. Raises Unsupported, NoSpace, Remote, Host, Invalid."""
    settings = apt_settings()
    program = programs.which("mmdebstrap")
    if program:
        argv = mmdebstrap_argv(program, wish, workspace, settings)
    else:
        argv = debootstrap_argv(_debootstrap(wish), wish, workspace)
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    hear = debian_output.Hearer(progress).hear

    def listen(line: str) -> None:
        last.append(line)
        hear(line)

    os.makedirs(f"{workspace.path}/tmp", mode=0o700)
    code = follow(argv, workspace, listen, environment(workspace, settings))
    if code != 0:
        raise debian_output.failure(os.path.basename(argv[0]), code, tuple(last), workspace.store_root, wish.system)


def _debootstrap(wish: Wish) -> str:
    """The program. Raises Unsupported where it is missing, or older than the release."""
    program = programs.needed("debootstrap", package="mmdebstrap")
    if os.path.isdir(_SCRIPTS) and not os.path.exists(f"{_SCRIPTS}/{wish.codename}"):
        raise Unsupported(
            f"the debootstrap of this host does not know {wish.system}'s release {wish.codename}",
            hint="apt-get install mmdebstrap",
            program=program,
        )
    return program


def follow(argv: Sequence[str], workspace: Workspace, hear: Callable[[str], None], env: dict[str, str]) -> int:
    """Run a program to its end in namespaces of its own; its lines go to the log and to `hear`. Its exit status."""
    keep_fds = (workspace.lock_fd,)
    with (
        open(workspace.log, "ab", buffering=0) as log,
        process.started(argv, env=env, keep_fds=keep_fds, is_confined=True) as program,
    ):
        for line in program.lines():
            log.write(line.encode() + b"\n")
            hear(line)
        return program.wait()


def environment(workspace: Workspace, settings: tuple[str, ...] = ()) -> dict[str, str]:
    """What the tools find in their environment: nothing of the caller's but his proxies."""
    fixed = {
        "PATH": _PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "TMPDIR": f"{workspace.path}/tmp",
    }
    return dict(_apt_proxies(settings)) | _callers_proxies() | fixed


def _callers_proxies() -> dict[str, str]:
    names = (*_PROXIES, *(name.upper() for name in _PROXIES))
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _apt_proxies(settings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The proxies of apt, for tools that fetch by other means."""
    for line in settings:
        name, _, value = line.rstrip(";").partition(" ")
        scheme = name.removeprefix("Acquire::").removesuffix("::Proxy")
        if scheme in ("http", "https", "ftp"):
            yield f"{scheme}_proxy", value.strip('"')


def apt_settings() -> tuple[str, ...]:
    """The lines of this host's apt configuration that say how to reach archives: proxies, certificates, ages."""
    program = programs.which("apt-config")
    if program is None:
        return ()
    dump = process.run([program, "dump"], timeout_s=30).stdout.decode(errors="replace")
    return reaching(dump.splitlines())


def reaching(dump: Sequence[str]) -> tuple[str, ...]:
    """Those lines of `apt-config dump` that say how to reach archives. Pure."""
    prefixes = tuple(f"Acquire::{name}" for name in _REACHING)
    return tuple(line for line in dump if line.startswith(prefixes) and not line.endswith(' "";'))


def mmdebstrap_argv(program: str, wish: Wish, workspace: Workspace, settings: tuple[str, ...]) -> list[str]:
    """The command line of mmdebstrap. The settings are in a file: a proxy's password is nobody's business."""
    conf = f"{workspace.path}/apt.conf"
    with open(conf, "w") as file:
        file.writelines(f"{line}\n" for line in settings)
    argv = [
        program,
        "--verbose",  # so that there is output to follow
        "--mode=root",
        "--format=directory",
        "--variant=minbase",
        "--dpkgopt=force-unsafe-io",  # everything is brought to the disk at the end, at once
        f"--include={','.join(wish.packages)}",
    ]
    if settings:
        argv.append(f"--aptopt={conf}")
    if wish.architecture:
        argv.append(f"--architectures={wish.architecture}")
    return [*argv, *_hooks(wish), wish.codename, workspace.rootfs, *(wish.lines or wish.mirrors)]


def _hooks(wish: Wish) -> Iterator[str]:
    """What mmdebstrap does in between: have /bin, /sbin and /lib be links into /usr before anything is unpacked, and
    show the packages of a directory of this host to what is installed."""
    if not wish.has_marker:
        links = f"bin sbin lib {_MORE_LIBRARIES.get(wish.architecture or host_architecture(), '')}"
        yield f'--setup-hook=for d in {links}; do mkdir -p "$1/usr/$d" && ln -s "usr/$d" "$1/$d" || exit; done'
    elif wish.codename != "bullseye" and os.path.isdir(f"{_HOOKS}/merged-usr"):
        yield f"--hook-dir={_HOOKS}/merged-usr"
    if any(mirror.startswith("file:") for mirror in wish.mirrors):
        yield f"--hook-dir={_HOOKS}/file-mirror-automount"


def debootstrap_argv(program: str, wish: Wish, workspace: Workspace) -> list[str]:
    """The command line of debootstrap. It knows of one archive only: updates since the release are not in it."""
    argv = [program, "--variant=minbase", f"--include={','.join(wish.packages)}"]
    if wish.architecture:
        argv.append(f"--arch={wish.architecture}")
    if wish.components:
        argv.append(f"--components={','.join(wish.components)}")
    if wish.keyring:
        argv.append(f"--keyring={wish.keyring}")
    return [*argv, wish.codename, workspace.rootfs, *wish.mirrors[:1]]
