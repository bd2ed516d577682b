"""The command: `make bench`, or `.venv/bin/python -m bench [--quick] [--json FILE] [ROWS]`."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import report
from bench.ground import KEPT, Ground, ground, leftovers, sweep
from bench.rows import command, fifty, images, limits, network, start, stats, storage, system
from bench.series import Row

ROWS: dict[str, Callable[[Ground], Iterator[Row]]] = {
    "start": start.rows,
    "command": command.rows,
    "fifty": fifty.rows,
    "system": system.rows,
    "images": images.rows,
    "storage": storage.rows,
    "limits": limits.rows,
    "stats": stats.rows,
    "network": network.rows,
}


def main() -> int:
    """Measure, print, write; 0 unless something was left behind. A missed bar is a result, not an error."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: run as root", file=sys.stderr)
        return 5
    began = time.monotonic()
    rows = []
    print(report.machine())
    print(report.heading(), flush=True)
    with ground(is_quick=options.quick, kept=options.root) as place:
        for name in options.rows or ROWS:
            for row in ROWS[name](place):
                rows.append(row)
                print(report.shown(row), flush=True)
    sweep(place.mark)
    print("medians of the times ± half the distance of their quartiles, and of the pairs' ratios [quartiles]")
    print(f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_bytes(report.as_json(rows))
    left = leftovers(place.mark)
    for thing in left:
        print(f"bench: left behind: {thing}", file=sys.stderr)
    return 1 if left else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help=f"which rows: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few rounds, only crun and unshare")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON too")
    parser.add_argument("--root", type=Path, default=KEPT, help="where images are kept from run to run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
