"""What the files of /proc say."""

import errno
import os

import pytest

from cloison.kernel.procfs import pidfd, traffic

NET_DEV = """\
Inter-|   Receive                                          |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 1000000  100    0    0    0     0     0     0  1000000     100    0    0    0     0       0          0
  eth0:    1500   12    0    0    0     0     0     0      700       9    0    0    0     0       0          0
eth0:1:       5    1    0    0    0     0     0     0        3       1    0    0    0     0       0          0
"""


def test_traffic_is_that_of_all_interfaces_but_the_loopback() -> None:
    assert traffic(NET_DEV) == (1505, 703)


def test_without_an_interface_there_is_no_traffic() -> None:
    assert traffic("") == (0, 0)


@pytest.mark.parametrize("error", [errno.ESRCH, errno.EINVAL])
def test_a_process_that_has_ended_has_no_descriptor(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refused(_pid: int) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert pidfd(4711) == -1


def test_another_refusal_of_a_descriptor_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(OSError, match="Too many open files"):
        pidfd(4711)


def test_a_process_that_runs_has_one() -> None:
    descriptor = pidfd(os.getpid())
    assert os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
