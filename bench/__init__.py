"""cloison beside its neighbours, on this machine, in one run: `make bench`, or `python -m bench --help`.

    __main__.py     the command: which rows, how many rounds, table and JSON
    series.py       pairs of measurements and what is said about them: pure
    processes.py    a whole process, timed; `elsewhere.py` does so in a mount namespace of its own
    ground.py       the root filesystem that all share, the directories, and the check that nothing is left
    peers.py        the neighbours: how each starts /bin/true in new namespaces
    lxc.py, docker.py, podman.py    those that also keep something running
    rows/           one module per bar: what is measured there, against whom
    report.py       the table

Measurements alternate: ours and theirs are one pair, each compared with its own neighbour in time, so that a machine
that is busy for a moment is busy for both. docs/PERFORMANCE.md says what came out.
"""
