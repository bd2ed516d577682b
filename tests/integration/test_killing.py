"""A signal for every process of an instance: nothing escapes SIGKILL, and every other signal comes to all of them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Instance, State
from cloison.runtime import killing
from tests.integration import traces
from tests.integration.conftest import Cli, Launch, busy, eventually, refused
from tests.patience import patient

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]

TRAPPED = 'trap "echo told >>/told; exit" HUP; echo ready >>/ready; while :; do sleep 0.1; done'
# Each makes the next and ends, several chains at once: who lists them comes too late.
HOPPING = "echo ready >>/ready; f() { f & exit; }; for n in 1 2 3 4; do f & done"


def rootfs_file(instance: Instance, name: str) -> list[str]:
    path = Path(f"/proc/{instance.observe().pid}/root/{name}")
    return path.read_text().splitlines() if path.exists() else []


@contextlib.contextmanager
def commands(instance: Instance, count: int, script: str) -> Iterator[None]:
    """That many shells inside, each running `script`, from its "ready" on."""
    null = os.open("/dev/null", os.O_RDWR)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, null)
        for _ in range(count):
            stack.enter_context(instance.spawn(["sh", "-c", script], stdio=(null, null, null)))
        assert eventually(lambda: len(rootfs_file(instance, "ready")) == count)
        yield


def test_every_process_is_told(web: Instance) -> None:
    with commands(web, 5, TRAPPED):
        web.kill("HUP", is_whole_tree=True)
        assert eventually(lambda: rootfs_file(web, "told") == ["told"] * 5)
    assert web.state is State.RUNNING


def test_without_all_only_the_init_is_told(web: Instance) -> None:
    with commands(web, 2, TRAPPED):
        web.kill("HUP")
        assert rootfs_file(web, "told") == []
        web.kill("HUP", is_whole_tree=True)


def test_more_processes_than_there_are_descriptors_are_told(web: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "AT_ONCE", 2)
    with commands(web, 5, TRAPPED):
        web.kill("HUP", is_whole_tree=True)
        assert eventually(lambda: rootfs_file(web, "told") == ["told"] * 5)


def test_no_process_outside_is_told(quick: Instance) -> None:
    """As would happen to who has the number of one that has just ended."""
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        killing._tell(str(traces.cgroups([quick.id])[-1]), [bystander.pid, quick.observe().pid], signal.SIGTERM)
        assert quick.wait(patient(20))
        assert bystander.poll() is None
        bystander.kill()


def test_killing_all_ends_it(web: Instance, root: Path) -> None:
    with busy(web, "hold", "1"):
        web.kill(is_whole_tree=True)
        assert web.wait(patient(20))
    assert web.state is State.STOPPED
    assert traces.left(root, [web.id]) == []


def test_what_forks_all_the_time_is_killed(launch: Launch, root: Path) -> None:
    web = launch("limits.processes=1000")
    with commands(web, 1, HOPPING):
        web.kill(is_whole_tree=True)
        assert web.wait(patient(20))
    assert traces.left(root, [web.id]) == []


def test_what_is_frozen_is_killed(web: Instance) -> None:
    web.freeze()
    web.kill(is_whole_tree=True)
    assert web.wait(patient(20))


def test_a_signal_to_all_of_a_frozen_one_comes_when_it_is_thawed(web: Instance) -> None:
    with commands(web, 2, TRAPPED):
        web.freeze()
        web.kill("HUP", is_whole_tree=True)
        assert rootfs_file(web, "told") == []
        web.unfreeze()
        assert eventually(lambda: rootfs_file(web, "told") == ["told"] * 2)


def test_the_command_line_kills_all(web: Instance, cli: Cli) -> None:
    assert cli("kill", "--all", "web").returncode == 0
    assert web.wait(patient(20))


def test_a_stopped_one_cannot_be_sent_a_signal(stopped: Instance, cli: Cli) -> None:
    refused(cli("kill", "--all", stopped.name), 4, "it is stopped")


def test_what_is_no_signal_is_refused(web: Instance, cli: Cli) -> None:
    refused(cli("kill", "--all", "-s", "NOSUCH", "web"), 2, "is no signal")
    assert web.state is State.RUNNING
