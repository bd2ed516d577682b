"""The guest of `make test-vm`: a Debian 12 with systemd, pure cgroup v2 and a distribution's kernel, under QEMU.

    base       builds the disk image once and keeps it outside the checkout
    tree       packs what is tested, anew for each run
    machine    boots the one with the other, and brings back what the tests said
    inside     runs in the guest: the tests, and the way their results take out of it

Nothing of the guest outlasts a run: what it writes to its disk is thrown away.
"""
