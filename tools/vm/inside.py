"""Runs in the guest, as a service of its systemd: the tests, and what they found out of it.

Emulation is slow and shares its processors with whatever else the host does, so a deadline may pass where nothing is
wrong: a few tests that fail are run once more, by themselves. What fails twice has failed, and both runs are shown.

Standard output is the port "log", which the host follows. Results go through the port "results": JSON, a `Results` of
tools/vm/machine.py. Nothing is imported but the standard library and what the guest's image has.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

RUN = Path(".run.json")
IMAGES = Path("/images")
LAST_WORDS_S = 60
REPORT = Path("/tmp/junit.xml")
CACHE = Path("/tmp/pytest-cache")  # pytest writes down there what has failed
FAILED = CACHE / "v/cache/lastfailed"
MOST_AGAIN = 6  # more than that is no accident


def main() -> int:
    """Run what the host has asked for, and send what came of it."""
    run = json.loads(RUN.read_bytes())
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    print(f"guest: Linux {os.uname().release}, systemd up after {began:.1f} s", flush=True)
    IMAGES.mkdir(exist_ok=True)
    subprocess.run(["mount", "LABEL=images", str(IMAGES)], check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "/usr/local/lib"], stdout=subprocess.DEVNULL)
    environment = {
        **os.environ,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "CLOISON_TEST_IMAGES": str(IMAGES),
        "CLOISON_TEST_PATIENCE": str(run["patience"]),
        "CLOISON_TEST_PROMISED": " ".join(run["promised"]),
    }
    limit_s = 60 * run["patience"]
    left_s = run["deadline_s"] - began - LAST_WORDS_S
    limits = [f"--timeout={limit_s}", f"--session-timeout={left_s - limit_s}"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        f"cache_dir={CACHE}",
        *limits,
        *run["words"],
    ]
    code = follow([*command, f"--junit-xml={REPORT}"], environment, left_s)
    if code == 1 and 0 < how_many_failed() <= MOST_AGAIN:
        print(f"\nguest: {how_many_failed()} failed, and are run once more", flush=True)
        left_s = run["deadline_s"] - time.clock_gettime(time.CLOCK_BOOTTIME) - LAST_WORDS_S
        code = follow([*command, "--last-failed", "--last-failed-no-failures=none"], environment, left_s)
    report = REPORT.read_text(errors="replace") if REPORT.exists() else ""
    journal = subprocess.run(
        ["journalctl", "--boot", "--no-pager", "--lines=400"], capture_output=True, text=True
    ).stdout
    results = {"code": code, "booted_s": began, "junit": report, "journal": journal}
    sys.stdout.flush()
    with open("/dev/virtio-ports/results", "wb", buffering=0) as port:
        left = memoryview(json.dumps(results).encode() + b"\n")
        while left:
            left = left[port.write(left) or 0 :]
    return 0


def how_many_failed() -> int:
    """How many tests did, of the last run that any did in."""
    return len(json.loads(FAILED.read_text())) if FAILED.exists() else 0


def follow(command: list[str], environment: dict[str, str], left_s: float) -> int:
    """Run the tests. pytest itself stops in time between two of them; one that hangs in spite of its limit is killed,
    so that the host hears the rest before it gives up on the guest."""
    with subprocess.Popen(command, env=environment) as tests:
        try:
            return tests.wait(left_s)
        except subprocess.TimeoutExpired:
            print("\nguest: the tests hang, and are killed", flush=True)
            tests.kill()
            return tests.wait()


if __name__ == "__main__":
    sys.exit(main())
