"""Pulls that are broken off, and the next one, which asks for nothing that has come already.

The witnesses are the proxy before the registry, which counts what was asked for and sent, and the registry's own log.
"""

import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cloison import Engine
from cloison.base.errors import Remote
from tests.integration.conftest import eventually
from tests.integration.registries.building import Made
from tests.integration.registries.conftest import PROGRAM, Cli, nothing_is_there
from tests.integration.registries.serving import Fault, Proxy, RunningRegistry
from tests.integration.registries.test_pull import blob_requests, whole

pytestmark = pytest.mark.needs_root
CUT = 1_000_000


def marks(engine: Engine) -> list[Path]:
    """Layers that are whole, and belong to no image."""
    return list(Path(engine.images.tmp_dir).glob("*/whole/*"))


def parts(engine: Engine) -> list[int]:
    """How many bytes there are of blobs that are not whole."""
    return [path.stat().st_size for path in Path(engine.images.tmp_dir).glob("*/parts/*")]


def broken_off(engine: Engine, between: Proxy, made: Made, how: int) -> None:
    """Pull all but the first layer, and CUT bytes of that; then this signal comes."""
    gate = threading.Event()
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=CUT, stall=gate)]
    words = [str(PROGRAM), "image", "pull", f"docker://{between.host}/team/it:1"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as victim:
        try:
            assert eventually(lambda: len(marks(engine)) == 2 and parts(engine) == [CUT])
            victim.send_signal(how)
            assert victim.wait(30) == (130 if how == signal.SIGINT else -how)
        finally:
            gate.set()
            victim.kill()
    between.asked.clear()


def only_the_rest_was_asked_for(between: Proxy, made: Made) -> None:
    first = made.directory / "blobs/sha256" / made.blobs[0].removeprefix("sha256:")
    assert [blob_requests(between, blob) for blob in made.blobs] == [[f"bytes={CUT}-"], [], []]
    assert sum(one.sent for one in between.of("GET", f"/blobs/{made.blobs[0]}")) == first.stat().st_size - CUT


def everything_was_asked_for(between: Proxy, made: Made) -> None:
    assert [blob_requests(between, blob) for blob in made.blobs] == [[""], [""], [""]]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_pull_after_one_that_was_ended_asks_for_the_rest_alone(
    engine: Engine, between: Proxy, plain: RunningRegistry, pushed: str, made: Made, cli: Cli, how: int
) -> None:
    broken_off(engine, between, made, how)
    assert engine.images.images() == () and cli("image", "ls", "-q").stdout == ""
    assert cli("image", "verify").returncode == 0
    before = len(plain.log)
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    only_the_rest_was_asked_for(between, made)
    served = re.findall(r'"GET /v2/\S+/blobs/(\S+) HTTP/1.1" (\d+)', plain.log[before:])
    assert [status for digest, status in served if digest in made.blobs] == ["206"]
    assert cli("image", "verify").returncode == 0
    assert os.listdir(engine.images.tmp_dir) == [] and engine.images.clean() == ()


def test_a_pull_after_a_server_that_went_away_asks_for_the_rest_alone(
    engine: Engine, between: Proxy, pushed: str, made: Made
) -> None:
    blob = f"/blobs/{made.blobs[0]}"
    between.faults = [Fault(blob, cut=CUT), Fault(blob, times=99, cut=0)]
    with pytest.raises(Remote, match=r"broke|ends layer"):
        engine.servers.pull(f"docker://{between.host}/team/it:1")
    assert engine.images.images() == () and len(marks(engine)) == 2 and parts(engine) == [CUT]
    between.faults.clear()
    between.asked.clear()
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    only_the_rest_was_asked_for(between, made)


@pytest.mark.parametrize("words", [("repair",), ("image", "prune")])
def test_what_was_left_behind_is_taken_away_by_those_who_clean(
    engine: Engine, between: Proxy, pushed: str, made: Made, cli: Cli, words: tuple[str, ...]
) -> None:
    broken_off(engine, between, made, signal.SIGINT)
    assert cli("image", "prune", "--dry-run").returncode == 0 and len(marks(engine)) == 2
    assert cli(*words).returncode == 0
    nothing_is_there(engine)
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    everything_was_asked_for(between, made)


def test_what_an_earlier_boot_has_left_is_of_no_use(engine: Engine, between: Proxy, pushed: str, made: Made) -> None:
    """What was not brought to the disk may not be there after a failure of power, whatever its name says."""
    broken_off(engine, between, made, signal.SIGKILL)
    (boot,) = Path(engine.images.tmp_dir).glob("*/boot")
    boot.write_text("an earlier one")
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    everything_was_asked_for(between, made)
    assert os.listdir(engine.images.tmp_dir) == []


@pytest.mark.parametrize("at", [0, 500_000])
def test_a_part_that_is_not_what_it_was_is_not_used_twice(
    engine: Engine, between: Proxy, pushed: str, made: Made, at: int
) -> None:
    broken_off(engine, between, made, signal.SIGKILL)
    (part,) = Path(engine.images.tmp_dir).glob("*/parts/*")
    content = bytearray(part.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\xff"
    part.write_bytes(content)
    with pytest.raises(Remote, match=r"cannot be taken|other bytes"):
        engine.servers.pull(f"docker://{between.host}/team/it:1")
    assert engine.images.images() == () and parts(engine) == []
    between.asked.clear()
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    assert [blob_requests(between, blob) for blob in made.blobs] == [[""], [], []]


def test_what_somebody_is_at_work_with_is_left_alone(engine: Engine, between: Proxy, pushed: str, made: Made) -> None:
    gate = threading.Event()
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=CUT, stall=gate)]
    words = [str(PROGRAM), "image", "pull", f"docker://{between.host}/team/it:1"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as slow:
        try:
            assert eventually(lambda: len(marks(engine)) == 2 and parts(engine) == [CUT])
            between.asked.clear()
            whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
            everything_was_asked_for(between, made)
            gate.set()
            assert slow.wait(30) == 0
        finally:
            gate.set()
            slow.kill()
    (image,) = engine.images.images()
    whole(engine, image, made)
    assert engine.images.clean() == ()


def test_killed_again_and_again_it_comes_to_its_end(
    engine: Engine, between: Proxy, pushed: str, made: Made, cli: Cli
) -> None:
    """Nobody repairs anything in between; whatever each one takes over from those before, it is whole in the end."""
    words = [str(PROGRAM), "image", "pull", f"docker://{between.host}/team/it:1"]
    begin = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    took_s = time.monotonic() - begin
    engine.images.remove(f"{between.host}/team/it:1")
    for part in range(8, 24):
        between.faults = [Fault(f"/blobs/{blob}", cut=part * 40_000) for blob in made.blobs]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as victim:
            time.sleep(took_s * part / 20)
            victim.kill()
        assert cli("image", "verify").returncode == 0
        for image in engine.images.images():
            whole(engine, image, made)
    between.faults.clear()
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    assert cli("image", "verify").returncode == 0
    engine.repair()
    assert os.listdir(engine.images.tmp_dir) == []
    held = {hashlib.sha256(b"".join(engine.images.stream(each))).hexdigest() for each in made.diff_ids}
    assert {name.partition(".")[0] for name in os.listdir(engine.images.layers_dir)} == held
