"""The plan that is shown is the plan that runs: Python and the launcher read the same out of the same bytes."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from cloison import Engine, Instance
from cloison.base.errors import Unsupported
from cloison.engine import records, specification
from cloison.plan.codec import encode
from cloison.plan.plan import Plan
from cloison.plan.text import text
from cloison.spec.driver import ExecRequest
from cloison.spec.oci import Rlimit

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

CONFIGS = {
    "plain": [],
    "no network": ["nics.eth0.type=none"],
    "limits": ["limits.memory=64M", "limits.cpus=1.5", "limits.processes=100"],
    "host network": ["nics.eth0.type=host"],
    "privileged": ["security.privileged=true"],
    "sealed": ["security.read_only_root=true", "security.no_new_privs=true"],
    "unfiltered": ["security.seccomp=false"],
    "clock": ["boot.own_clock=true"],
    "odd words": ['init.command=/bin/sh -c "echo é \\\\ \\"x\\""', "env.A=b\nc", "init.uid=7", "init.cwd=/tmp"],
}


def as_the_launcher_reads_it(plan: Plan, launcher: Path, tmp_path: Path) -> str:
    (tmp_path / "plan").write_bytes(encode(plan))
    with (tmp_path / "plan").open("rb") as file:
        return subprocess.run([launcher, "--print"], stdin=file, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_launcher_reads_a_start_as_python_does(
    engine: Engine, launcher_test: Path, tmp_path: Path, name: str
) -> None:
    plan = engine.create("busybox", "web", config=CONFIGS[name]).explain()
    assert as_the_launcher_reads_it(plan, launcher_test, tmp_path) == text(encode(plan))


@pytest.mark.parametrize("tty", [False, True])
def test_the_launcher_reads_a_command_as_python_does(
    quick: Instance, launcher_test: Path, tmp_path: Path, *, tty: bool
) -> None:
    plan = quick.explain_exec(["sh", "-c", "echo é"], tty=tty)
    assert as_the_launcher_reads_it(plan, launcher_test, tmp_path) == text(encode(plan))


def test_the_journal_is_the_plan_that_was_explained(stopped: Instance, root: Path) -> None:
    explained = encode(stopped.explain())
    stopped.start()
    assert (root / "run" / stopped.id / "journal").read_bytes() == explained


def limits_of_a_command(engine: Engine, instance: Instance, *limits: Rlimit) -> dict[str, list[str]]:
    """What a command inside finds in /proc/self/limits that is run with these: soft and hard, by name."""
    record = records.load(engine.store, instance.name)
    spec = specification.specification(record)
    process = msgspec.structs.replace(spec.process, args=("cat", "/proc/self/limits"), terminal=False, rlimits=limits)
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    try:
        with engine.driver.execute(instance.id, ExecRequest("quick", spec, process), (null, writer, null)) as command:
            assert command.wait(10) == 0
        lines = os.read(reader, 1 << 16).decode().splitlines()[1:]
    finally:
        for fd in (reader, writer, null):
            os.close(fd)
    return {line[:25].strip(): line[25:].split()[:2] for line in lines}


def test_a_resource_limit_of_the_specification_is_set(engine: Engine, quick: Instance) -> None:
    assert limits_of_a_command(engine, quick, Rlimit("RLIMIT_NOFILE", 100, 200))["Max open files"] == ["100", "200"]


def test_a_resource_limit_that_the_host_does_not_raise_is_refused_by_name(engine: Engine, quick: Instance) -> None:
    """A limit is never silently dropped; a process with CAP_SYS_RESOURCE may raise it."""
    wanted = Rlimit("RLIMIT_MEMLOCK", 1 << 40, 1 << 40)
    try:
        assert limits_of_a_command(engine, quick, wanted)["Max locked memory"][1] == str(1 << 40)
    except Unsupported as refused:
        assert "RLIMIT_MEMLOCK" in refused.sentence
        assert str(1 << 40) in refused.sentence
