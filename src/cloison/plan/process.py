"""From a process of the host to the payload: terminal, limits, credentials, exec. For `start` and `exec`. Pure."""

from cloison.base.capabilities import CAPABILITY_BITS, capability_mask
from cloison.base.errors import Invalid
from cloison.kernel.abi import NAMESPACE_FLAGS, RLIMITS
from cloison.plan.builder import Builder
from cloison.plan.process_steps import (
    Ambient,
    Capset,
    DropBounding,
    KeepCaps,
    LoadSeccomp,
    NoNewPrivs,
    Pdeathsig,
    Prlimit,
    Setgroups,
    Setresgid,
    Setresuid,
)
from cloison.plan.steps import Chdir, Dup2, Exec, SetCtty, Umask
from cloison.spec.oci import Process, Spec

SIGKILL = 9
NEW = 0  # the new process, for `Prlimit`
DEFAULT_UMASK = 0o022
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def namespace_flags(spec: Spec) -> int:
    """The namespaces that a container has of its own, as CLONE_NEW* flags."""
    flags = 0
    for namespace in spec.linux.namespaces:
        if not namespace.path:
            flags |= NAMESPACE_FLAGS[namespace.type]
    return flags


def parameter_path(key: str) -> str:
    """The file of a kernel parameter."""
    return "/proc/sys/" + key.replace(".", "/")


def take_terminal(build: Builder, slave: int) -> None:
    """Make a terminal the standard streams and the controlling terminal of the session."""
    build.inside(SetCtty(slave))
    for number in (0, 1, 2):
        build.inside(Dup2(slave, number))


def become(
    build: Builder,
    process: Process,
    *,
    seccomp: bytes,
    host_capabilities: int,
    env: tuple[str, ...],
    end_with_parent: bool,
    argv0: str = "",
) -> None:
    """Everything from the resource limits to exec.

    The filter is loaded while the process may still do so without `no_new_privs`; the steps after it are in every
    profile that a payload can run under. A change of ids clears the parent-death signal, so it is set last."""
    build.chapter("limits of the process")
    for limit in process.rlimits:
        build.host(Prlimit(NEW, _resource(limit.type), limit.soft, limit.hard))
    build.chapter("credentials: capabilities, system call filter, ids")
    bounding = effective = permitted = inheritable = ambient = host_capabilities
    if process.capabilities is not None:
        sets = process.capabilities
        bounding = _mask(sets.bounding) & host_capabilities
        effective = _mask(sets.effective) & host_capabilities
        permitted = _mask(sets.permitted) & host_capabilities
        inheritable = _mask(sets.inheritable) & host_capabilities
        ambient = _mask(sets.ambient) & host_capabilities
        build.inside(DropBounding(bounding))
    if process.no_new_privileges:
        build.inside(NoNewPrivs())
    if seccomp:
        build.inside(LoadSeccomp(seccomp))
    build.inside(Chdir(process.cwd))
    if process.user.uid != 0:
        build.inside(KeepCaps())
    build.inside(Setgroups(tuple(str(gid) for gid in process.user.additional_gids)))
    build.inside(Setresgid(process.user.gid))
    build.inside(Setresuid(process.user.uid))
    if process.capabilities is not None:
        build.inside(Capset(effective, permitted, inheritable))
        if ambient:
            build.inside(Ambient(ambient))
    build.inside(Umask(DEFAULT_UMASK if process.user.umask is None else process.user.umask))
    build.chapter(f"run {process.args[0]}")
    if end_with_parent:
        build.inside(Pdeathsig(SIGKILL))
    argv = (argv0 or process.args[0], *process.args[1:])
    build.inside(Exec(programs_of(process.args[0], env), argv, env))


def programs_of(word: str, env: tuple[str, ...]) -> tuple[str, ...]:
    """The paths that a command word can mean: itself with a slash in it, else one for each directory of PATH."""
    if "/" in word:
        return (word,)
    path = next((item[5:] for item in env if item.startswith("PATH=")), DEFAULT_PATH)
    return tuple(f"{directory or '.'}/{word}" for directory in path.split(":"))


def _mask(names: tuple[str, ...]) -> int:
    unknown = [name for name in names if name not in CAPABILITY_BITS]
    if unknown:
        raise Invalid(f"{unknown[0]!r} is no capability", hint="capabilities(7) lists them, such as CAP_NET_ADMIN")
    return capability_mask(names)


def _resource(name: str) -> int:
    try:
        return RLIMITS[name]
    except KeyError:
        raise Invalid(f"{name!r} is no resource limit", hint="getrlimit(2) lists them, such as RLIMIT_NOFILE") from None
