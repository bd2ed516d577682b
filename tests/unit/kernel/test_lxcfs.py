"""Where an lxcfs is mounted, from the text of mountinfo."""

import pytest

from cloison.kernel.lxcfs import is_mounted

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
LXCFS = "44 27 0:41 / /var/lib/lxcfs rw,nosuid,nodev,relatime shared:9 - fuse.lxcfs lxcfs rw,user_id=0,allow_other\n"
COVER = "45 44 0:42 / /var/lib/lxcfs rw,relatime - tmpfs tmpfs rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "directory", "expected"),
    [
        (ROOT, "/var/lib/lxcfs", False),
        (ROOT + LXCFS, "/var/lib/lxcfs", True),
        (ROOT + LXCFS, "/var/lib", False),
        (ROOT + LXCFS + COVER, "/var/lib/lxcfs", False),
        (ROOT + COVER + LXCFS, "/var/lib/lxcfs", True),
        (ROOT + LXCFS.replace("/var/lib/lxcfs", "/srv/a\\040b"), "/srv/a b", True),
    ],
)
def test_what_counts_is_what_is_mounted_last_at_that_place(mountinfo: str, directory: str, *, expected: bool) -> None:
    assert is_mounted(mountinfo, directory) is expected
