"""Files that are there whole or not at all."""

import os


def write_beside(path: str, content: bytes) -> None:
    """Replace the file `path` by one with this content: written beside, brought to the disk, renamed."""
    beside = f"{path}.new"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.rename(beside, path)
    except BaseException:  # such as a full disk, on which nothing more should be kept than needs to be
        os.unlink(beside)
        raise
    settle_names(os.path.dirname(path))


def settle_names(directory: str) -> None:
    """Bring the names in `directory` to the disk, so that a rename there outlives a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
