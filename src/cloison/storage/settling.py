"""Trees are on the disk before a record mentions them: a failure of power must not leave a record of empty files."""

from cloison.kernel import files
from cloison.storage.driver import Driver, Tree


def settle(driver: Driver, tree: Tree) -> None:
    """Bring a new tree to the disk. Raises OSError for a disk that fails."""
    with driver.directories(tree) as found:
        files.settle_at(found.upper)


def settle_at(directory: str) -> None:
    """Bring all of the file system of a directory to its disk. Raises OSError for a disk that fails."""
    files.settle_at(directory)
