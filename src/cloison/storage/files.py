"""The files of a tree that nobody has mounted, looked at and changed one by one."""

from contextlib import AbstractContextManager

from cloison.kernel import file_door
from cloison.spec.files import Door


def below(root: int) -> AbstractContextManager[Door]:
    """Those below a directory descriptor, as `Driver.opened` gives it; owners are those inside."""
    return file_door.below(root)
