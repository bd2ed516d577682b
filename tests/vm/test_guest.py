"""Pure cgroup v2 under systemd, on a kernel of a distribution: the tests marked `guest`, in the guest of make test-vm.

One after the other, not beside the other tests: emulation takes both processors, and some of those measure.
"""

import xml.etree.ElementTree as ElementTree

import pytest

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_qemu,
    pytest.mark.slow,
    pytest.mark.flaky(reruns=0),  # it does so itself, by the test
    pytest.mark.timeout(3900),  # the guest has a deadline of its own; two images may have to be built
]
FEWEST = 150  # of the tests that pass; a selection that no longer selects would pass too


def test_what_is_marked_for_the_guest_passes_in_it(
    capfd: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    from cloison.base.errors import CloisonError
    from tools.vm import cache, machine, session

    try:
        results = session.run()
    except (CloisonError, cache.Failed, machine.Hung) as failure:
        pytest.fail(f"{capfd.readouterr().out}\n{failure}", pytrace=False)
    said = capfd.readouterr().out
    if results.code:
        pytest.fail(f"in the guest, pytest ended with {results.code}:\n{said}", pytrace=False)
    assert passed(results.junit) >= FEWEST, said
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        with capfd.disabled():
            reporter.write(f" in the guest: {said.splitlines()[-1].strip('= ')} ")


def passed(junit: str) -> int:
    """How many tests passed, by a report of pytest."""
    suite = ElementTree.fromstring(junit).find("testsuite")
    assert suite is not None
    failed = sum(int(suite.attrib[name]) for name in ("errors", "failures", "skipped"))
    return int(suite.attrib["tests"]) - failed
