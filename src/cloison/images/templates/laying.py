"""Files that a template brings along, laid over a root filesystem."""

import os
import shutil


def lay_over(source: str, rootfs: str) -> None:
    """Copy the files below `source` to the same places below `rootfs`.

    A script becomes 0755, any other file 0644 and a new directory 0755, whatever the umask and however cloison was
    installed; a directory that is there already stays as it is (shutil.copytree would change it)."""
    for directory, _, files in os.walk(source):
        target = os.path.normpath(os.path.join(rootfs, os.path.relpath(directory, source)))
        if not os.path.isdir(target):
            os.mkdir(target)
            os.chmod(target, 0o755)
        for name in files:
            _copy(os.path.join(directory, name), os.path.join(target, name))


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        is_script = file.read(2) == b"#!"
    os.chmod(target, 0o755 if is_script else 0o644)
