"""The guest's disk: Debian 12 with what cloison and its tests need, built once and kept outside the checkout.

    base-<key>/disk.img          ext4 with the root file system, sparse
    base-<key>/vmlinuz           the package's own kernel
    base-<key>/initrd.img        and its initial RAM disk
    base-<key>/requirements.txt  the Python packages, as pip has chosen them

The key is a hash of everything that goes in: this file, the files of `root/` and the names of the Python packages.
"""

import hashlib
import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from cloison.images.templates.debian_tools import apt_settings
from tools.vm import cache

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parent.parent
SUITE: Final = "bookworm"
PYTHON: Final = "3.11"  # what this suite calls python3
DISK_BYTES: Final = 6 << 30  # sparse: some 700 MiB are written

# What a machine is, what cloison runs with, what its tests call, and what those of later parts will: interfaces and
# packet rules, quotas and the file systems that have them.
PACKAGES: Final = tuple(
    """
    acl apparmor btrfs-progs busybox-static ca-certificates dbus dnsmasq-base e2fsprogs iperf3 iproute2 iputils-ping
    kmod libcap2-bin libseccomp2 linux-image-cloud-amd64 lvm2 lxcfs nftables openssh-client procps python3 quota
    strace systemd-sysv thin-provisioning-tools tmux udev util-linux xfsprogs
    """.split()
)
# Of the packages for development, those that tests import.
DEVELOPMENT: Final = ("hypothesis", "pytest", "pytest-timeout")
# They only make the image larger.
UNWANTED: Final = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# A machine that is there for a minute needs none of these, and under emulation each takes seconds.
DISABLED: Final = (
    "apparmor.service",
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "iperf3.service",
    "networking.service",
    "systemd-timesyncd.service",
)


class Base(msgspec.Struct, frozen=True):
    """What QEMU is given; nothing of it is ever written to."""

    disk: Path
    kernel: Path
    initrd: Path


def obtain() -> Base:
    """The image of the present recipe, built now where it is missing: as root, about a minute. Raises Failed."""
    place = cache.obtain(f"base-{key()}", _build)
    return Base(place / "disk.img", place / "vmlinuz", place / "initrd.img")


def key() -> str:
    """Sixteen hexadecimal digits: the same recipe has the same key wherever the checkout is."""
    hashed = hashlib.sha256()
    for path in sorted(
        [HERE / "base.py", HERE / "cache.py", *(path for path in (HERE / "root").rglob("*") if path.is_file())]
    ):
        hashed.update(f"{path.relative_to(HERE)} {path.stat().st_mode & 0o111} ".encode())
        hashed.update(hashlib.sha256(path.read_bytes()).digest())
    hashed.update("\n".join(requirements()).encode())
    return hashed.hexdigest()[:16]


def requirements() -> list[str]:
    """The Python packages, as pyproject.toml names them."""
    with open(CHECKOUT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    development = project["optional-dependencies"]["dev"]
    return [*project["dependencies"], *(line for line in development if line.split()[0] in DEVELOPMENT)]


def _build(new: Path) -> None:
    root = new / "root"
    _bootstrap(root, new / "apt.conf")
    _add_python(root, new / "requirements.txt")
    _settle(root)
    _take_kernel(root, new)
    # Quotas of projects are a feature that cannot be turned on while it is mounted.
    cache.make_disk(root, new / "disk.img", "guest", DISK_BYTES, "quota,project,^has_journal", "quotatype=prjquota")
    shutil.rmtree(root)


def _bootstrap(root: Path, conf: Path) -> None:
    conf.write_text("".join(f"{line}\n" for line in apt_settings()))
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED]
    include = f"--include={','.join(PACKAGES)}"
    options = ["--quiet", "--mode=root", "--format=directory", "--variant=minbase", "--dpkgopt=force-unsafe-io"]
    cache.run(["mmdebstrap", *options, *excluded, f"--aptopt={conf}", include, SUITE, str(root)])
    conf.unlink()


def _add_python(root: Path, chosen: Path) -> None:
    """As wheels for the guest's Python, which need not be that of this checkout: no compiler, and no network inside."""
    target = root / f"usr/local/lib/python{PYTHON}/dist-packages"
    wheels = [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={PYTHON}",
        "--platform=manylinux2014_x86_64",
    ]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    cache.run([*pip, *wheels, f"--target={target}", *requirements()])
    shutil.rmtree(target / "bin", ignore_errors=True)
    cache.run(["chroot", str(root), "python3", "-m", "compileall", "-q", f"/{target.relative_to(root)}"])
    found = sorted(path.stem for path in target.glob("*.dist-info"))
    chosen.write_text("".join(f"{name}\n" for name in found))


def _settle(root: Path) -> None:
    """What makes a root file system a machine that boots quickly, alone, and runs tests."""
    cache.run(["cp", "--recursive", "--no-target-directory", str(HERE / "root"), str(root)])
    cache.run(["chroot", str(root), "update-initramfs", "-u", "-k", "all"])
    cache.run(["chroot", str(root), "systemctl", "--quiet", "enable", "cloison-tests.service"])
    cache.run(["chroot", str(root), "systemctl", "--quiet", "mask", *DISABLED])
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)


def _take_kernel(root: Path, new: Path) -> None:
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(root / os.readlink(root / name), new / name)  # a link to the installed version
