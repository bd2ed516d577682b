"""What an OCI specification may ask for besides what the configuration has keys for: limits, parameters, names."""

import resource
from pathlib import Path

import msgspec
import pytest

from cloison import Engine, Instance, Unsupported
from cloison.engine import starting
from cloison.spec.driver import StepDone
from cloison.spec.oci import Mount, Rlimit, Spec
from tests.integration.conftest import entered, init_of, inside

pytestmark = pytest.mark.needs_root


def start(engine: Engine, instance: Instance, spec: Spec) -> list[StepDone]:
    """Start `instance` with another specification than its own; the steps that were done."""
    done: list[StepDone] = []
    request = msgspec.structs.replace(starting.request(engine, instance.record), spec=spec)
    with engine.driver.command(instance.id, "start"):
        engine.driver.start(instance.id, request, done.append)
    return done


@pytest.fixture
def spec(engine: Engine, stopped: Instance) -> Spec:
    return starting.request(engine, stopped.record).spec


def test_resource_limits_are_set(engine: Engine, stopped: Instance, spec: Spec) -> None:
    process = msgspec.structs.replace(spec.process, rlimits=(Rlimit("RLIMIT_NOFILE", 100, 200),))
    start(engine, stopped, msgspec.structs.replace(spec, process=process))
    assert resource.prlimit(init_of(stopped), resource.RLIMIT_NOFILE) == (100, 200)


def test_a_limit_that_the_host_does_not_raise_is_refused_by_name(engine: Engine, stopped: Instance, spec: Spec) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if "CAP_SYS_RESOURCE" not in missing_capabilities():
        pytest.skip("this process may raise hard limits: it has CAP_SYS_RESOURCE")
    process = msgspec.structs.replace(spec.process, rlimits=(Rlimit("RLIMIT_NOFILE", hard + 1, hard + 1),))
    with pytest.raises(Unsupported, match=f"raise the hard limit RLIMIT_NOFILE to {hard + 1}"):
        start(engine, stopped, msgspec.structs.replace(spec, process=process))


def missing_capabilities() -> set[str]:
    bounding = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    return set() if int(bounding.split()[1], 16) >> 24 & 1 else {"CAP_SYS_RESOURCE"}


def test_kernel_parameters_are_its_own(engine: Engine, stopped: Instance, spec: Spec) -> None:
    path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    before = path.read_text()
    linux = msgspec.structs.replace(spec.linux, sysctl={"net.ipv4.ip_unprivileged_port_start": "7"})
    start(engine, stopped, msgspec.structs.replace(spec, linux=linux))
    assert entered(stopped, "cat", str(path)) == "7\n"
    assert path.read_text() == before


def test_a_parameter_of_the_host_is_refused_by_name(engine: Engine, stopped: Instance, spec: Spec) -> None:
    linux = msgspec.structs.replace(spec.linux, sysctl={"kernel.panic": "7"})
    with pytest.raises(Exception, match="kernel/panic"):
        start(engine, stopped, msgspec.structs.replace(spec, linux=linux))
    assert Path("/proc/sys/kernel/panic").read_text() != "7\n"


def test_a_domain_name_and_a_score_for_the_out_of_memory_killer(engine: Engine, stopped: Instance, spec: Spec) -> None:
    process = msgspec.structs.replace(spec.process, oom_score_adj=321)
    start(engine, stopped, msgspec.structs.replace(spec, domainname="example", process=process))
    assert inside(stopped, "cat", "/proc/sys/kernel/domainname") == "example\n"
    assert Path(f"/proc/{init_of(stopped)}/oom_score_adj").read_text() == "321\n"


@pytest.mark.parametrize("options", [("rbind", "ro"), ("bind", "ro", "nosuid")])
def test_a_read_only_bind_cannot_be_written_through(
    engine: Engine, stopped: Instance, spec: Spec, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("of the host")
    (tmp_path / "shared").chmod(0o777)
    mount = Mount("/srv/shared", "bind", str(tmp_path / "shared"), options)
    start(engine, stopped, msgspec.structs.replace(spec, mounts=(*spec.mounts, mount)))
    assert inside(stopped, "cat", "/srv/shared/file") == "of the host"
    refused = stopped.exec(["touch", "/srv/shared/new"])
    assert b"Read-only" in refused.stderr


@pytest.mark.parametrize("link", ["/etc", "/proc/self/root/etc", "../../../../../../../../etc"])
def test_a_mount_target_that_is_a_link_stays_inside(
    engine: Engine, stopped: Instance, spec: Spec, tmp_path: Path, link: str
) -> None:
    """CVE-2015-1335, CVE-2021-30465: a link in the root file system must not lead a mount anywhere else."""
    stopped.start()
    stopped.exec(["ln", "-s", link, "/trap"])
    stopped.stop()
    mount = Mount("/trap/inner", "tmpfs", "tmpfs", ("size=64k",))
    before = Path("/proc/self/mountinfo").read_text()
    try:
        start(engine, stopped, msgspec.structs.replace(spec, mounts=(*spec.mounts, mount)))
    except Exception as refused:  # a magic link is refused, which is as good
        assert "/trap" in str(refused)
    else:
        assert "/etc/inner" in Path(f"/proc/{init_of(stopped)}/mountinfo").read_text()
    assert not Path("/etc/inner").exists()
    assert Path("/proc/self/mountinfo").read_text() == before
