"""What the files of /proc say."""

from cloison.kernel.procfs import traffic

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
