"""Where things are on disk.

    <data>/state.db                     the store
    <data>/images/                      images (see `cloison.images`)
    <data>/cache/                       what can be made again: compiled system call filters
    <data>/reserve/                     space for what makes space on a full disk (see `cloison.storage.reserve`)
    <data>/storage/<pool>/              the trees of files of instances (see `cloison.engine.pools`)
    <data>/instances/<id>/console.log   an instance's console, with console.log.1
    <data>/instances/<id>/exit          how it ended last
    <data>/instances/<id>/held          its run that is held still just now (see `cloison.engine.holding`)
    <data>/instances/<id>/exit.usage    what it had used then, until that is booked (see `cloison.engine.accounting`)
    <run>/<id>/, <run>/locks/           see `cloison.runtime.rundir`
    <run>/volumes/<tree>/               the disk of a volume, mounted (see `cloison.storage.shared_disk`)
    <etc>/cloison.toml                  the host's configuration (see `cloison.engine.host_settings`)
    <etc>/templates/                    the host's own templates and recipes
    <run>/networks/<name>/              a network that is up (see `cloison.network`); <data>/networks/<name>/ its leases

<data> is /var/lib/cloison, <run> is /run/cloison and <etc> is /etc/cloison; `CLOISON_ROOT=DIR` moves all of them below
DIR (DIR/lib, DIR/run, DIR/etc), so that tests and several installations never meet.
"""

import os

import msgspec

DATA = "/var/lib/cloison"
RUN = "/run/cloison"
ETC = "/etc/cloison"


class Layout(msgspec.Struct, frozen=True):
    """The directories of one installation; `root` is empty for the host's own."""

    root: str
    data: str
    run: str

    @property
    def store(self) -> str:
        return f"{self.data}/state.db"

    @property
    def settings(self) -> str:
        """The host's configuration, a file that may be missing."""
        return f"{self.root}/etc/cloison.toml" if self.root else f"{ETC}/cloison.toml"

    @property
    def templates(self) -> str:
        """The directory of the host's own templates and recipes, which may be missing."""
        return f"{os.path.dirname(self.settings)}/templates"

    @property
    def images(self) -> str:
        return f"{self.data}/images"

    @property
    def cache(self) -> str:
        return f"{self.data}/cache"

    @property
    def reserve(self) -> str:
        return f"{self.data}/reserve"

    @property
    def reserve_last(self) -> str:
        """The piece of the reserve that is made last: where it is, all of them are."""
        return f"{self.reserve}/15"

    @property
    def instances(self) -> str:
        return f"{self.data}/instances"

    def instance(self, instance_id: str) -> str:
        """The directory of one instance."""
        return f"{self.data}/instances/{instance_id}"

    def volume_run(self, tree: str) -> str:
        """Where the disk of a volume is mounted, of a pool that has one for each."""
        return f"{self.run}/volumes/{tree}"

    def network_run(self, name: str) -> str:
        """What there is of a network as long as the machine runs."""
        return f"{self.run}/networks/{name}"

    def network_data(self, name: str) -> str:
        """What of a network outlives the machine's run: leases."""
        return f"{self.data}/networks/{name}"

    def make(self) -> None:
        """Make the directories, for root of the host alone."""
        for path in (self.data, self.run, self.cache, self.instances):
            os.makedirs(path, mode=0o700, exist_ok=True)


def layout(root: str | None = None) -> Layout:
    """The installation below `root`, or below CLOISON_ROOT, or the host's own."""
    chosen = os.environ.get("CLOISON_ROOT", "") if root is None else root
    if not chosen:
        return Layout("", DATA, RUN)
    base = os.path.abspath(chosen)
    return Layout(base, f"{base}/lib", f"{base}/run")
