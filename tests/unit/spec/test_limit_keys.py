"""The keys of the limits: what each takes, in which form it comes back, and what it says of what cannot be."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.spec.config import KEYS, Config, address, assign, assign_all, items, value_of
from cloison.spec.limit_keys import LIMIT_KEYS, RLIMITS
from cloison.spec.limits import Bounds, DeviceEntry, Rates, Share
from cloison.spec.mount_keys import MOUNT_KEYS
from cloison.spec.nic_keys import NIC_KEYS
from cloison.spec.nics import IPVLAN_MODES, MACVLAN_MODES, TYPES


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("limits.memory=12.50%", "12.5%"),
        ("limits.memory_soft=1024K", "1M"),
        ("limits.swap=0", "0"),
        ("limits.swap=100%", "100%"),
        ("limits.hugepages.2048K=64M", "64M"),
        ("limits.cpu_set=3,0-1,1,2", "0-3"),
        ("limits.cpu_set=5, 0 ,2-3", "0,2-3,5"),
        ("limits.cpu_weight=10000", "10000"),
        ("limits.cpu_burst=0.02", "20ms"),
        ("limits.io.weight=1", "1"),
        ("limits.io.sda.read_bps=1024K", "1M"),
        ("limits.io./var//lib/x.y/.write_iops=20", "20"),
        ("limits.io.8:0.read_iops=20", "20"),
        ("limits.io.mapper/root.read_iops=20", "20"),
        ('limits.io."/srv/a.b".write_bps=5M', "5M"),
        ("limits.devices=a, c 1:3 mr,deny b *:7 w", "allow a, allow c 1:3 rm, deny b *:7 w"),
        ("limits.devices=deny a *:* rwm\nallow /dev/fuse", "deny a, allow /dev/fuse rwm"),
        ("limits.rlimits.NOFILE=1024", "1024"),
        ("limits.rlimits.memlock=64M:unlimited", "67108864:unlimited"),
        ("limits.rlimits.RLIMIT_CORE=unlimited", "unlimited"),
        ("limits.sysctls.net.ipv4.ip_forward=1", "1"),
        ("limits.oom_score=-1000", "-1000"),
        ('limits.raw."memory.high"=64M', "64M"),
        ("limits.raw.hugetlb.2MB.max=0", "0"),
        ("accounting.project=shop", "shop"),
    ],
)
def test_a_limit_comes_back_in_its_one_form(assignment: str, shown: str) -> None:
    key = assignment.rpartition("=")[0]
    config = assign_all(Config(), [assignment])
    assert value_of(config, key) == shown
    assert assign_all(Config(), [f"{name}={text}" for name, text in items(config)]) == config


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("limits.memory=0%", "at least 1M"),
        ("limits.memory=200%", "at most 100%"),
        ("limits.memory_soft=0", "protects nothing"),
        ("limits.swap=-1", "such as 256M"),
        ("limits.hugepages.3M=6M", "'3M' is no size of a huge page, such as 2M"),
        ("limits.hugepages.big=6M", "'big' is no size of a huge page"),
        ("limits.cpu_set=0-1-2", "0-1,3"),
        ("limits.cpu_set=-1", "0 to 8191"),
        ("limits.cpu_set=1-0", "write it as 0-1"),
        ("limits.cpu_set=9999", "0 to 8191"),
        ("limits.cpu_weight=0", "1 to 10000"),
        ("limits.cpu_weight=10001", "1 to 10000"),
        ("limits.cpu_weight=1.5", "1 to 10000"),
        ("limits.cpu_burst=0", "from 1ms"),
        ("limits.io.weight=0", "1 to 10000"),
        ("limits.io.sda.read_bps=0", "from 1"),
        ("limits.io.sda.read_iops=0", "1 to 4294967295"),
        ("limits.io.s a.read_bps=1", "such as sda, 8:0 or /var/lib"),
        ("limits.io.sda/.read_bps=1", "such as sda"),
        ("limits.io.a/../b.read_bps=1", "such as sda"),
        ("limits.io.sda.sideways=1", "read_bps"),
        ("limits.devices=allow", "an entry is empty"),
        ("limits.devices=deny a,", "an entry is empty"),
        ("limits.devices=perhaps c 1:3 rwm", "allow c 1:3 rwm"),
        ("limits.devices=allow x 1:3 rwm", "allow c 1:3 rwm"),
        ("limits.devices=allow a 1:3 rwm", "allow c 1:3 rwm"),
        ("limits.devices=allow c 1 rwm", "no pair of numbers"),
        ("limits.devices=allow c 4096:0 rwm", "0 to 4095"),
        ("limits.devices=allow c 1:x rwm", "0 to 1048575"),
        ("limits.devices=allow c 1:3 rwx", "r (read), w (write) and m (mknod)"),
        ("limits.devices=allow /dev/fuse rw now", "allow /dev/fuse rw"),
        ("limits.rlimits.files=1", "nofile"),
        ("limits.rlimits.nofile=10:5", "at most the hard one"),
        ("limits.rlimits.nofile=-1", "unlimited"),
        ("limits.rlimits.nofile=:5", "1024:4096"),
        ("limits.rlimits.nproc=64M", "whole number"),
        ("limits.sysctls.kernel.panic=1", "the whole host"),
        ("limits.sysctls.vm.swappiness=1", "net.*"),
        ("limits.sysctls.net/ipv4=1", "net.*"),
        ("limits.sysctls.net...x=1", "net.*"),
        ("limits.sysctls.kernel.hostname=x", "the instance's name"),
        ("limits.sysctls.net.ipv4.ip_forward=1\n2", "one line"),
        ("limits.oom_score=1001", "-1000 to 1000"),
        ("limits.oom_score=--5", "-1000 to 1000"),
        ("limits.raw.cgroup.procs=1", "that is no limit"),
        ("limits.raw.tasks=1", "cloison exec"),
        ("limits.raw.release_agent=/x", "cloison events"),
        ("limits.raw.notify_on_release=1", "cloison events"),
        ("limits.raw.freezer.state=FROZEN", "cloison freeze"),
        ("limits.raw.devices.deny=a", "limits.devices"),
        ("limits.raw.memory.force_empty=0", "is done once"),
        ("limits.raw.memory.reclaim=1G", "is done once"),
        ("limits.raw.hugetlb.2MB.max_usage_in_bytes=0", "is done once"),
        ("limits.raw.cpuacct.usage=0", "is done once"),
        ("limits.raw.memory.kmem.limit_in_bytes=1M", "kernels take it and do nothing"),
        ("limits.raw.../memory.max=1", "its bare name"),
        ("limits.raw.memory=1", "its bare name"),
        ("limits.raw.memory.high\n=1", "its bare name"),
        ("limits.raw.memory.high=1\n2", "one line"),
        ("accounting.project=a b", "no name for a project"),
    ],
)
def test_an_impossible_limit_is_refused_with_what_is_possible(assignment: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        assign_all(Config(), [assignment])
    assert str(caught.value).startswith(f"{assignment}: ")
    assert said in f"{caught.value} {caught.value.hint}"


def test_names_with_dots_may_be_in_quotes() -> None:
    assert (
        address('limits.raw."memory.high"').name == address("limits.raw.memory.high").name == "limits.raw.memory.high"
    )
    assert address("limits.io.'/a.b'.read_bps").item == "/a.b"


def test_the_last_dot_ends_the_name_of_a_disk() -> None:
    found = address("limits.io./srv/read_bps.d.read_bps")
    assert (found.key.name, found.item) == ("limits.io.*.read_bps", "/srv/read_bps.d")


def test_what_is_set_under_one_name_is_kept_together_and_gone_when_all_of_it_is() -> None:
    config = assign_all(Config(), ["limits.io.sda.read_bps=1M", "limits.io.sda.write_iops=5"])
    assert config.limits.io == {"sda": Rates(read_bps=1 << 20, write_iops=5)}
    config = assign(config, "limits.io.sda.read_bps", "")
    assert config.limits.io == {"sda": Rates(write_iops=5)}
    assert assign(config, "limits.io.sda.write_iops", "") == Config()


def test_the_values_are_those_of_their_units() -> None:
    config = assign_all(
        Config(),
        [
            "limits.memory=50%",
            "limits.cpu_burst=10ms",
            "limits.rlimits.nofile=1:2",
            "limits.devices=deny b 7:* w",
            "limits.hugepages.1GB=2G",
        ],
    )
    limits = config.limits
    assert limits.memory == Share(5000)
    assert Share(5000).of(7) == 3
    assert limits.cpu_burst_us == 10_000
    assert limits.rlimits == {"nofile": Bounds(1, 2)}
    assert limits.devices == (DeviceEntry(allow=False, type="b", major=7, access="w"),)
    assert limits.hugepages == {"1G": 2 << 30}


def test_every_limit_can_be_changed_while_it_runs() -> None:
    assert [key.name for key in LIMIT_KEYS if not key.is_live] == []


# --- every key, with any value -------------------------------------------------------------------------------

whole = st.integers(0, 1 << 62)
size = st.one_of(whole.map(lambda n: str(n + (1 << 20))), st.integers(1, 10_000).map(lambda n: f"{n / 100}%"))
small = st.integers(1, 10_000).map(str)
number = st.one_of(st.just("*"), st.integers(0, 4095).map(str))
entry = st.one_of(
    st.sampled_from(["a", "allow a", "deny a *:* rwm", "allow /dev/fuse", "deny /dev/kvm w"]),
    st.builds(
        "{} {} {}:{} {}".format,
        st.sampled_from(["allow", "deny"]),
        st.sampled_from("bc"),
        number,
        number,
        st.text("rwm", min_size=1, max_size=4),
    ),
)
bound = st.one_of(st.just("unlimited"), st.integers(0, 10**17).map(str))
path = st.lists(st.text("abc.-_ ", min_size=1, max_size=5), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
disk = st.one_of(st.sampled_from(["sda", "8:0", "nvme0n1", "cciss!c0d0"]), path)
line = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=20)
FLAGS = (
    "security.privileged",
    "security.no_new_privs",
    "security.read_only_root",
    "security.seccomp",
    "boot.own_clock",
)
flag = st.sampled_from(["true", "no", "on", "0"])
cidrs = st.lists(
    st.one_of(
        st.ip_addresses(v=4, network="10.0.0.0/8").flatmap(lambda a: st.sampled_from([str(a), f"{a}/24", f"{a}/8"])),
        st.ip_addresses(v=6, network="fd00::/8").flatmap(lambda a: st.sampled_from([a.exploded, f"{a}/64"])),
    ),
    unique=True,
    min_size=1,
).map(",".join)
who = st.sampled_from(["10.0.0.1", "10.0.0.9/8", "web", "lan", "web,db", "10.0.0.7,web"])
access_rule = st.builds(
    "{} {} {}{}{}".format,
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["in", "out"]),
    st.sampled_from(["", "any", "icmp", "tcp", "udp 53", "tcp 80,8000-8010"]),
    st.one_of(st.just(""), who.map(" from {}".format)),
    st.one_of(st.just(""), who.map(" to {}".format)),
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "mounts.*.source": st.sampled_from(["/srv/www", "/srv/a b/", "data", "fast/data-1", "/"]),
    "mounts.*.target": st.sampled_from(["/srv", "/srv//deep/./er/", "/dev/own", "/a:b", "/procs"]),
    "mounts.*.type": st.sampled_from(["bind", "tmpfs"]),
    "mounts.*.idmap": st.one_of(st.sampled_from(["true", "no"]), st.just("1000:100@33:34"), st.just("0:7")),
    "mounts.*.propagation": st.sampled_from(["private", "slave", "shared"]),
    "mounts.*.size": st.integers(1, 1 << 40).map(str),
    "limits.memory": size,
    "limits.memory_soft": size,
    "limits.swap": st.one_of(size, st.just("0")),
    "limits.hugepages.*": size,
    "limits.cpus": st.integers(10, 100_000).map(lambda n: f"{n / 1000}"),
    "limits.cpu_set": st.lists(
        st.one_of(st.integers(0, 8191).map(str), st.integers(0, 90).map(lambda n: f"{n}-{n + n % 7}")), min_size=1
    ).map(",".join),
    "limits.cpu_weight": small,
    "limits.cpu_burst": st.integers(1, 10**6).map(lambda n: f"{n}ms"),
    "limits.processes": st.integers(1, 4_194_304).map(str),
    "limits.io.weight": small,
    **{f"limits.io.*.{name}_bps": st.integers(1, 1 << 50).map(str) for name in ("read", "write")},
    **{f"limits.io.*.{name}_iops": st.integers(1, 1 << 31).map(str) for name in ("read", "write")},
    "limits.devices": st.lists(entry, min_size=1, max_size=4).map(", ".join),
    "limits.rlimits.*": bound,
    "limits.sysctls.*": line,
    "limits.oom_score": st.integers(-1000, 1000).map(str),
    "limits.disk": st.integers(1 << 20, 1 << 50).map(str),
    "limits.inodes": st.integers(16, (1 << 32) - 1).map(str),
    "limits.raw.*": line,
    "nics.*.type": st.sampled_from(TYPES),
    "nics.*.network": st.text("abc019", min_size=1, max_size=20),
    "nics.*.parent": st.text("abc.019", min_size=1, max_size=15).filter(lambda name: name not in (".", "..")),
    "nics.*.mode": st.sampled_from([*MACVLAN_MODES, *IPVLAN_MODES]),
    "nics.*.vlan": st.integers(1, 4094).map(str),
    "nics.*.mac": st.binary(min_size=5, max_size=5).map(lambda raw: "0A:" + raw.hex(":")),
    "nics.*.mtu": st.integers(68, 65535).map(str),
    "nics.*.addresses": st.one_of(st.sampled_from(["auto", "dhcp", "none"]), cidrs),
    "nics.*.gateway": st.sampled_from(["none", "10.0.0.1", "fd00::1", "10.0.0.1, fd00:0::1"]),
    "nics.*.routes": st.sampled_from(["default via 10.0.0.1", "10.9.1.2/16, fd00:9::/32 via fd00::1 metric 7"]),
    "nics.*.dns": st.sampled_from(["10.0.0.53", "fd00::53,9.9.9.9"]),
    **{f"nics.*.limits.{way}": st.integers(64, 10**6).map(lambda n: f"{n}.5k") for way in ("ingress", "egress")},
    "nics.*.rules": st.lists(access_rule, min_size=1, max_size=4).map(";".join),
    "ports.*": st.integers(1, 65000).map(str),
    **dict.fromkeys(("nics.*.force", "nics.*.security.mac_filter", "nics.*.security.ip_filter"), flag),
    "boot.stop_signal": st.sampled_from(["SIGTERM", "hup", "9", "SIGRTMIN+3"]),
    "boot.stop_timeout_s": st.integers(0, 10**9).map(lambda n: f"{n}ms"),
    "boot.proc_views": st.sampled_from(["auto", "true", "false"]),
    "console.log_size_bytes": whole.map(str),
    **dict.fromkeys(("env.*", "user.*", "cloud-init.*"), line),
    "init.command": line.filter(lambda text: bool(text.strip()) and not set(text) & set("'\"\\#")),
    "init.cwd": path,
    "init.uid": st.integers(0, 65535).map(str),
    "init.gid": st.integers(0, 65535).map(str),
    "snapshots.schedule": st.sampled_from(["@hourly", "@daily", "0 3 * * *", "*/15 8-18 1,15 * 1-5"]),
    "snapshots.expiry": st.integers(1, 10**9).map(lambda n: f"{n}ms"),
    "snapshots.pattern": st.sampled_from(["auto-%Y%m%d-%H%M", "nightly", "%Y.%m_%d"]),
    "accounting.project": st.text("abcXYZ019", min_size=1, max_size=20),
    **dict.fromkeys(
        (
            "security.privileged",
            "security.no_new_privs",
            "security.read_only_root",
            "security.seccomp",
            "boot.own_clock",
            "boot.ephemeral",
            "snapshots.stopped",
            *(f"mounts.*.{name}" for name in ("ro", "create", "recursive")),
        ),
        flag,
    ),
}
NAMES: dict[str, st.SearchStrategy[str]] = {
    "limits.hugepages.*": st.sampled_from(["2M", "1G", "64K", "2048KB", "16GiB"]),
    **{f"limits.io.*.{d}_{u}": disk for d in ("read", "write") for u in ("bps", "iops")},
    "limits.rlimits.*": st.sampled_from(RLIMITS),
    "limits.sysctls.*": st.sampled_from(
        ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"]
    ),
    "limits.raw.*": st.sampled_from(["memory.high", "cpu.idle", "hugetlb.2MB.max", "memory.oom.group"]),
    **{key.name: st.text("abc019-", min_size=1, max_size=15).map(lambda name: f"m{name}m") for key in MOUNT_KEYS},
    **{key.name: st.text("abc019", min_size=1, max_size=15) for key in NIC_KEYS},
    "ports.*": st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "10.0.0.1:", "[fd00:0::1]:", "0.0.0.0:"]),
        st.integers(1, 65535),
        st.sampled_from(["", "/tcp", "/udp"]),
    ),
    **dict.fromkeys(("env.*", "user.*", "cloud-init.*"), line.filter(lambda name: "=" not in name)),
}


def test_every_key_is_tried_with_any_value() -> None:
    assert set(VALUES) == {key.name for key in KEYS}
    assert set(NAMES) == {key.name for key in KEYS if "*" in key.name}


@st.composite
def assignments(draw: st.DrawFn) -> list[str]:
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1, max_size=8))
    return [f"{key.replace('*', draw(NAMES[key])) if '*' in key else key}={draw(VALUES[key])}" for key in keys]


@given(assignments())
def test_any_configuration_comes_back_from_its_items_and_from_the_store(settings: list[str]) -> None:
    config = assign_all(Config(), settings)
    listed = list(items(config))
    assert assign_all(Config(), [f"{key}={text}" for key, text in listed]) == config
    assert [value_of(config, key) for key, _text in listed] == [text for _key, text in listed]
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


@given(assignments())
def test_any_configuration_can_be_taken_back_key_by_key(settings: list[str]) -> None:
    config = assign_all(Config(), settings)
    keys = [key for key, _text in items(config)]
    last = [f"nics.{name}.type" for name in config.nics]  # a nic about which nothing is said is there, until that
    assert assign_all(config, [f"{key}=" for key in (*(key for key in keys if key not in last), *last)]) == Config()


def test_a_star_that_somebody_writes_is_a_name_and_no_pattern() -> None:
    assert assign_all(Config(), ["env.*=0"]).env == {"*": "0"}
    with pytest.raises(Invalid):
        assign_all(Config(), ["limits.rlimits.*=5"])
