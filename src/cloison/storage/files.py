"""The files of a tree that nobody has mounted, looked at and changed one by one."""

from contextlib import AbstractContextManager

from cloison.kernel import file_door
from cloison.spec.files import Door


def below(root: int, mounts: tuple[tuple[str, str, bool], ...] = ()) -> AbstractContextManager[Door]:
    """Those below a directory descriptor, as `Driver.opened` gives it; owners are those inside. `mounts` are seen in
    it: (directory of the host, path inside, whether it is read-only), or "" for a path that nothing can be put below.
    """
    return file_door.below(root, mounts)
