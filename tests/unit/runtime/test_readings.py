"""What an instance had used when it ended, from its monitor's record."""

from cloison.runtime.readings import recorded
from cloison.spec.driver import Usage
from tests.unit.kernel import test_cgroups, test_procfs


def record(texts: dict[str, str]) -> bytes:
    """The record that a monitor writes: docs are in `cloison.runtime.readings`."""
    return b"".join(f"{path} {len(text)}\n{text}\n".encode() for path, text in texts.items())


def test_a_record_says_what_the_files_said() -> None:
    found = recorded(record({**test_cgroups.V2, "net/dev": test_procfs.NET_DEV}))
    assert (found.cpu_ns, found.oom_kills, found.written_bytes) == (2_500_000_000, 3, 8194)
    assert (found.received_bytes, found.sent_bytes) == (1505, 703)


def test_on_the_hosts_network_nothing_is_its_own() -> None:
    assert recorded(record(test_cgroups.V1)).received_bytes is None


def test_a_file_that_could_not_be_read_is_unknown() -> None:
    assert recorded(record({"/a/pids.current": "", "/a/memory.current": "5"})) == Usage(memory_bytes=5)


def test_a_path_may_hold_spaces_and_a_text_may_hold_anything() -> None:
    assert recorded(record({"/a b/pids.current": "3", "/x y/odd": "1 2\n/a/pids.current 1\n9"})).processes == 3


def test_a_record_that_was_cut_off_says_what_it_still_holds() -> None:
    whole = record({"/a/pids.current": "3", "/a/memory.current": "4096"})
    assert recorded(whole[:-3]) == Usage(processes=3)
    assert recorded(b"") == Usage()
