"""Images that tests make by themselves, byte for byte, and hand to other programs."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.integration.registries import serving

BUSYBOX = Path("/bin/busybox")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar(files: dict[str, bytes | str | None]) -> bytes:
    """A tar of these: bytes are files, texts targets of symbolic links, None directories; all of root's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            member.mtime = 1_700_000_000
            if content is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def joined(*archives: bytes) -> bytes:
    """One tar with what is in several."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as target:
        for archive in archives:
            with tarfile.open(fileobj=io.BytesIO(archive)) as source:
                for member in source:
                    target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def system(*more: dict[str, bytes | str | None]) -> tuple[bytes, ...]:
    """The layers of a system that runs: BusyBox and /bin/sh below, then those of `more`."""
    bottom: dict[str, bytes | str | None] = dict.fromkeys(("bin", "dev", "etc", "proc", "run", "sys", "tmp"))
    bottom |= {"bin/busybox": BUSYBOX.read_bytes(), "bin/sh": "busybox", "bin/cat": "busybox", "bin/sleep": "busybox"}
    bottom |= {"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "gone": b"below", "big": os.urandom(3 << 20)}
    return (tar(bottom), *(tar(files) for files in more))


@dataclass
class Made:
    """An image in an OCI layout directory."""

    directory: Path
    config: bytes
    diff_ids: tuple[str, ...]
    blobs: tuple[str, ...]  # the digests of the layers as they are stored

    @property
    def id(self) -> str:
        return digest_of(self.config)


def layout(
    directory: Path,
    layers: tuple[bytes, ...],
    *,
    compression: str = "gzip",
    platforms: tuple[str, ...] = ("amd64",),
    env: str = "",
) -> Made:
    """An OCI layout with one image, or with a list of one for each of several platforms (the first one's is told)."""
    blobs_dir = directory / "blobs" / "sha256"
    blobs_dir.mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict[str, object]:
        (blobs_dir / digest_of(content).removeprefix("sha256:")).write_bytes(content)
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    ending = f"+{compression}" if compression else ""
    described = [put(packed(layer, compression), f"{LAYER}{ending}") for layer in layers]
    entries, first = [], b""
    for architecture in platforms:
        config = _config(layers, architecture, env)
        first = first or config
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": put(config, CONFIG), "layers": described}
        platform = {"architecture": architecture, "os": "linux"}
        entries.append(put(json.dumps(manifest).encode(), MANIFEST) | {"platform": platform})
    if len(entries) > 1:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        entries = [put(json.dumps(index).encode(), INDEX)]
    entries[0]["annotations"] = {"org.opencontainers.image.ref.name": "it"}
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    digests = tuple(str(one["digest"]) for one in described)
    return Made(directory, first, tuple(digest_of(layer) for layer in layers), digests)


def packed(content: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return subprocess.run(["zstd", "--quiet", "--stdout"], input=content, check=True, capture_output=True).stdout
    return gzip.compress(content, 6, mtime=0) if compression else content


def _config(layers: tuple[bytes, ...], architecture: str, env: str) -> bytes:
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-02T03:04:05.123456789Z",
        "config": {
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["trap 'exit 0' TERM; while :; do sleep 0.1; done"],
            "Env": ["PATH=/bin", f"WHO={env}"],
            "Labels": {"org.example.who": "test"},
            "Healthcheck": {"Test": ["NONE"]},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        "unknown": {"kept": [1, 2.5, None]},
    }
    return json.dumps(config, indent=1).encode()


def skopeo(*words: str | Path) -> str:
    """What skopeo says; it must succeed. It looks at no credentials of this machine's users."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *words], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpacked(content: bytes) -> bytes:
    """The stream in a layer's blob, by other programs than the one that packed it."""
    for magic, program in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if content.startswith(magic):
            return subprocess.run([program, "-dc"], input=content, check=True, capture_output=True).stdout
    return content


@contextlib.contextmanager
def registry_of(made: Made, directory: Path) -> Iterator[str]:
    """A registry that has this image, as long as the block; the image's name there."""
    with serving.registry(directory) as running:
        name = f"{running.host}/some/it:1"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
        yield name
