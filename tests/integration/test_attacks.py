"""Ways out of a container that others have had: the image, or its root, is hostile.

Each test names the hole that it is after. What matters is that nothing of the host is reached; whether a container with
a hostile image starts is its own affair, as long as a refusal is one in words.
"""

import contextlib
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance, State
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, QUICK, Launch, answer, init_of, own_files

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


# --- mount targets (CVE-2015-1335, CVE-2021-30465) --------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that nobody in a container has any business with."""
    outside = tmp_path / "outside"
    (outside / "sys" / "net").mkdir(parents=True)
    (outside / "secret").write_text("of the host")
    return outside


LINKS = {
    "proc": "/etc",
    "dev": "/",
    "sys": "../../../../..",
    "run": "/proc/1/root/run",
    "etc": "/proc/self/cwd",
}


def files_below(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


def start_if_it_can(instance: Instance) -> None:
    """A refusal is as good as a start, when it is one in words."""
    with contextlib.suppress(CloisonError):
        instance.start()


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_place_of_a_mount_target_reaches_no_mount_of_the_host(stopped: Instance, name: str) -> None:
    place = f"{own_files(stopped)}/{name}"
    shutil.rmtree(place, ignore_errors=True)  # /etc is there already, with the instance's name in it
    os.symlink(LINKS[name], place)
    before = set(traces.mount_table(os.getpid()))
    start_if_it_can(stopped)
    assert not {"/etc", "/root", f"/{name}/null"} & (set(traces.mount_table(os.getpid())) - before)


@pytest.mark.parametrize("name", ["proc", "dev", "sys", "run"])
def test_a_link_that_names_a_place_of_the_host_leads_nowhere(stopped: Instance, outside: Path, name: str) -> None:
    os.symlink(outside, f"{own_files(stopped)}/{name}")
    before = files_below(outside)
    start_if_it_can(stopped)
    assert (files_below(outside), traces.mounts(outside)) == (before, [])


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
def test_in_a_privileged_container_it_leads_nowhere_either(engine: Engine, outside: Path, name: str) -> None:
    web = engine.create("busybox", "web", config=[*QUICK, "security.privileged=true"])
    os.symlink(outside, f"{own_files(web)}/{name}")
    before = files_below(outside)
    start_if_it_can(web)
    assert (files_below(outside), traces.mounts(outside)) == (before, [])


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
def test_a_file_in_place_of_a_mount_target_is_refused_in_words(stopped: Instance, name: str) -> None:
    Path(f"{own_files(stopped)}/{name}").write_text("")
    with pytest.raises(CloisonError, match=f'mount /{name}: step .* path="/{name}"'):
        stopped.start()


# --- the working directory (CVE-2024-21626) --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3, 40))
def test_an_init_that_begins_in_a_descriptor_of_the_launcher_is_inside(stopped: Instance, number: int) -> None:
    """Some of them lead to directories of the instance; from all others there is no way up to its root."""
    stopped.set(f"init.cwd=/proc/self/fd/{number}")
    start_if_it_can(stopped)
    if stopped.state is not State.STOPPED:
        proc = f"/proc/{init_of(stopped)}"
        assert os.path.samefile(f"{proc}/cwd", f"{proc}/root{os.readlink(f'{proc}/cwd')}")


# --- terminals (CVE-2016-10124, CVE-2017-5226) -----------------------------------------------------------------------


def said_on_a_terminal(instance: Instance, *verb: str) -> bytes:
    with instance.spawn([PAYLOAD, *verb], tty=True) as execution:
        ready, _, _ = select.select((execution.terminal,), (), (), 10)
        assert ready, "nothing was said"
        return os.read(execution.terminal, 100).strip()


def test_nobody_types_into_a_terminal_from_inside(quick: Instance) -> None:
    assert said_on_a_terminal(quick, "tiocsti") == b"EPERM"


def test_nobody_types_into_it_in_a_privileged_container_either(launch: Launch) -> None:
    assert said_on_a_terminal(launch(*QUICK, "security.privileged=true"), "tiocsti") == b"EPERM"


# --- whoever is on the way in (CVE-2016-9962, CVE-2019-5736) ----------------------------------------------------------

Entering = Callable[[Instance], "contextlib.AbstractContextManager[int]"]


@pytest.fixture
def entering(launcher_test: Path, monkeypatch: pytest.MonkeyPatch) -> Entering:
    """`with entering(web) as pid`: a command has joined all namespaces and stands before its exec; its pid."""

    @contextlib.contextmanager
    def held(instance: Instance) -> Iterator[int]:
        kinds = [action.step.kind for action in instance.explain_exec(["true"]).actions]
        child = os.fork()
        if child == 0:
            os.environ["CLOISON_LAUNCHER"] = str(launcher_test)
            os.environ["CLOISON_STOP_AT"] = str(kinds.index("exec"))
            _run_and_leave(instance.id)
        pid = _stopped_process_of(instance)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)
            os.waitpid(child, 0)

    monkeypatch.delenv("CLOISON_STOP_AT", raising=False)
    return held


def seen_inside(pid: int) -> str:
    """The directory of a process in the container's /proc."""
    return f"/proc/{traces.status(pid)['NSpid'].split()[-1]}"


def _run_and_leave(instance_id: str) -> None:
    """In a child of this process: run a command inside, and be gone whatever happens."""
    try:
        import cloison

        cloison.open().get(instance_id).exec(["true"])
    finally:
        os._exit(0)


def _stopped_process_of(instance: Instance) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for pid in traces.all_pids():
            with contextlib.suppress(OSError):
                is_ours = instance.id in Path(f"/proc/{pid}/cgroup").read_text()
                if is_ours and traces.status(pid)["State"].startswith("T"):
                    return pid
        time.sleep(0.005)
    raise AssertionError("nobody stands before its exec")


def test_root_inside_cannot_look_into_the_memory_of_who_is_on_the_way_in(quick: Instance, entering: Entering) -> None:
    with entering(quick) as pid:
        assert answer(quick, "open", f"{seen_inside(pid)}/mem", "w") in ("EACCES", "EPERM")


def test_root_inside_cannot_see_what_it_has_open(quick: Instance, entering: Entering) -> None:
    with entering(quick) as pid:
        assert quick.exec(["ls", f"{seen_inside(pid)}/fd/"]).code == 1


def test_root_inside_cannot_open_its_program(quick: Instance, entering: Entering) -> None:
    with entering(quick) as pid:
        assert answer(quick, "open", f"{seen_inside(pid)}/exe", "w") in ("EACCES", "EPERM")


def test_in_a_privileged_container_its_program_cannot_be_written(launch: Launch, entering: Entering) -> None:
    """What open(2) says is no witness: ETXTBSY, as long as the program runs."""
    with entering(launch(*QUICK, "security.privileged=true")) as pid:
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


def test_a_script_cannot_make_the_launcher_its_interpreter(launch: Launch) -> None:
    web = launch(*QUICK, "security.privileged=true")
    script = Path(f"{own_files(web)}/trap")
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    with contextlib.suppress(CloisonError):
        assert web.exec(["/trap"]).code != 0
    assert web.exec(["true"]).code == 0, "the launcher is what it was"


# --- what is shown of the kernel (CVE-2025-31133, CVE-2022-0492) ------------------------------------------------------


def test_a_link_in_place_of_the_null_device_does_not_become_the_mask(stopped: Instance, outside: Path) -> None:
    os.mkdir(f"{own_files(stopped)}/dev")
    os.symlink(outside / "secret", f"{own_files(stopped)}/dev/null")
    stopped.start()
    found = os.stat(f"/proc/{init_of(stopped)}/root/proc/keys")
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (1, 3)


def test_a_control_group_has_no_program_to_run_at_its_end(web: Instance) -> None:
    assert answer(web, "write", "/sys/fs/cgroup/release_agent", "/bin/sh") in ("EACCES", "EPERM", "ENOENT")
