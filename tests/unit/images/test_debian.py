"""The template "debian", without building anything."""

from pathlib import Path

import pytest

from cloison.base.errors import CloisonError, Host, Invalid, NoSpace, Remote
from cloison.images.architecture import host_architecture
from cloison.images.templates import debian, debian_system, debian_tools, templates
from cloison.images.templates.debian_output import Hearer, failure
from cloison.images.templates.debian_tools import Wish
from cloison.images.workspace import Workspace


def test_every_template_says_what_it_is() -> None:
    assert [template.NAME for template in templates()] == ["busybox", "debian", "ubuntu"]
    assert all(template.SUMMARY for template in templates())


# --- what is asked for


@pytest.mark.parametrize("release", ["", "12", "bookworm"])
def test_number_code_name_and_nothing_are_the_same_image(release: str) -> None:
    request = debian.resolve(release, {})
    assert request == debian.resolve("12", {})
    assert request.names == ("debian/12", "debian/bookworm")


def test_unstable_has_no_number() -> None:
    assert debian.resolve("unstable", {}).names == debian.resolve("sid", {}).names == ("debian/sid",)


def test_an_unknown_release_names_those_that_there_are() -> None:
    with pytest.raises(Invalid, match="'etch'") as wrong:
        debian.resolve("etch", {})
    assert wrong.value.hint.startswith("there is 12 (bookworm), 13 (trixie), ")


def test_packages_are_the_same_in_any_order_and_those_that_are_there_anyway_are_none() -> None:
    one = debian.resolve("12", {"packages": "vim,nginx,vim"})
    assert one == debian.resolve("12", {"packages": " nginx vim"})
    assert one.names[0].startswith("debian/12+") and len(one.names) == 1
    assert debian.resolve("12", {"packages": "dbus"}) == debian.resolve("12", {})


def test_this_hosts_architecture_is_no_choice() -> None:
    assert debian.resolve("12", {"architecture": host_architecture()}) == debian.resolve("12", {})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("packages", "--purge"),
        ("packages", "./vim.deb"),
        ("packages", "?essential"),
        ("packages", "Vim"),
        ("mirror", "/etc/passwd"),
        ("mirror", "deb http://a b c"),
        ("mirror", "http://a'b"),
        ("architecture", "vax"),
        ("colour", "red"),
    ],
)
def test_such_a_value_cannot_be(option: str, value: str) -> None:
    with pytest.raises(Invalid) as wrong:
        debian.resolve("12", {option: value})
    assert wrong.value.facts["option"] == option


# --- how the tools are called

WISH = Wish("bookworm", "", (), ("dbus", "vim"))


def test_mmdebstrap_chooses_the_archives_itself_unless_they_are_named(tmp_path: Path) -> None:
    work = Workspace(f"{tmp_path}", -1)
    argv = debian_tools.mmdebstrap_argv("mmdebstrap", WISH, work, ())
    assert argv[-2:] == ["bookworm", work.rootfs]
    assert "--include=dbus,vim" in argv
    named = Wish("bookworm", "arm64", ("http://a", "http://b"), ())
    argv = debian_tools.mmdebstrap_argv("mmdebstrap", named, work, ())
    assert argv[-3:] == [work.rootfs, "http://a", "http://b"]
    assert "--architectures=arm64" in argv


def test_a_proxys_password_is_in_no_command_line(tmp_path: Path) -> None:
    settings = ('Acquire::http::Proxy "http://ana:secret@proxy:3128";',)
    argv = debian_tools.mmdebstrap_argv("mmdebstrap", WISH, Workspace(f"{tmp_path}", -1), settings)
    assert "secret" not in " ".join(argv)
    assert (tmp_path / "apt.conf").read_text() == settings[0] + "\n"
    assert f"--aptopt={tmp_path}/apt.conf" in argv


def test_only_how_archives_are_reached_is_taken_from_this_host() -> None:
    dump = [
        'Acquire "";',
        'Acquire::http "";',
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::CAInfo "/etc/ssl/own.pem";',
        'Acquire::Retries "3";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages "none";',
        'Acquire::IndexTargets::deb::Packages::Description "…";',
        'DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";',
    ]
    assert debian_tools.reaching(dump) == tuple(dump[2:6])


def test_the_environment_is_this_hosts_in_its_proxies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in debian_tools._PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", "http://caller")
    monkeypatch.setenv("SECRET", "x")
    settings = ('Acquire::http::Proxy "http://apt";', 'Acquire::https::Proxy "http://apt";', 'Acquire::Retries "3";')
    environment = debian_tools.environment(Workspace("/w", -1), settings)
    assert environment["http_proxy"] == "http://apt"
    assert environment["https_proxy"] == "http://caller"
    assert environment["TMPDIR"] == "/w/tmp"
    assert "SECRET" not in environment


# --- what they say

MMDEBSTRAP = """\
I: running apt-get update...
Get:1 http://archive bookworm InRelease [151 kB]
Get:2 http://archive bookworm/main amd64 Packages [8790 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 1 not upgraded.
Get:1 http://archive bookworm/main amd64 libc6 amd64 2.36 [2757 kB]
Get:2 http://archive bookworm/main amd64 dash amd64 0.5 [97 kB]
I: extracting archives...
I: installing essential packages...
Unpacking libc6:amd64 (2.36) ...
Unpacking dash (0.5) ...
Setting up libc6:amd64 (2.36) ...
Setting up dash (0.5) ...
I: running --essential-hook directly: /usr/share/mmdebstrap/hooks/merged-usr/essential00.sh /r
1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.
Setting up usr-is-merged (35) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://archive bookworm/main amd64 apt amd64 2.6 [1 kB]
Unpacking apt (2.6) ...
Setting up apt (2.6) ...
I: cleaning package lists and apt cache...
I: success in 12.0585 seconds
"""


def heard(output: str) -> list[tuple[str, int, int | None]]:
    calls: list[tuple[str, int, int | None]] = []
    hearer = Hearer(lambda stage, done, total: calls.append((stage, done, total)))
    for line in output.splitlines():
        hearer.hear(line)
    return calls


def test_progress_is_what_mmdebstrap_counts() -> None:
    assert heard(MMDEBSTRAP) == [
        ("lists", 1, None),
        ("lists", 2, None),
        ("base download", 1, 2),
        ("base download", 2, 2),
        ("base unpack", 0, 2),
        ("base install", 1, 4),
        ("base install", 2, 4),
        ("base install", 3, 4),
        ("base install", 4, 4),
        ("download", 1, 1),
        ("install", 1, 2),
        ("install", 2, 2),
    ]


def test_apt_3_counts_in_other_words() -> None:
    output = "I: installing remaining packages\n  Installing: 5\nSetting up apt (3.0) ...\n"
    assert heard(output) == [("install", 1, 10)]


def test_progress_of_debootstrap_knows_no_total() -> None:
    output = "I: Retrieving libc6 2.36\nI: Retrieving dash 0.5\nI: Unpacking libc6...\nI: Configuring libc6...\n"
    assert heard(output) == [("download", 1, None), ("download", 2, None), ("unpack", 1, None), ("install", 1, None)]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("E: Write error - write (28: No space left on device)", NoSpace, "no space is left for images in /store"),
        ("dpkg: error: cannot copy '/x': Disk quota exceeded", NoSpace, "/store"),
        ("E: Unable to locate package vi", Invalid, "no package 'vi'"),
        ("E: Package 'vi' has no installation candidate", Invalid, "no package 'vi'"),
        ("Err:1 http://a b InRelease  Temporary failure resolving 'a'", Remote, "resolving 'a'"),
        ("  Could not connect to a:9 (127.0.0.1). - connect (111: Connection refused)", Remote, "connect to a:9"),
        ("E: Failed getting release file http://a", Remote, "http://a"),
        (
            "E: The repository 'http://a noble InRelease' is not signed.",
            Remote,
            "http://a noble is not signed",
        ),
        (
            "E: The repository 'http://a noble Release' does not have a Release file.",
            Remote,
            "http://a has no release 'n",
        ),
        ("E: Release signed by unknown key (key id 0123)", Remote, "the archive is not signed by a key of Debian's"),
        ("dpkg: error processing package systemd (--configure):", Host, "mmdebstrap failed (25): dpkg: error"),
    ],
)
def test_a_failure_says_what_to_do_something_about(line: str, kind: type[CloisonError], words: str) -> None:
    lines = ("Reading package lists...", line, "E: apt-get --yes install failed", "E: mmdebstrap failed to run")
    problem = failure("mmdebstrap", 25, lines, "/store", "Debian")
    assert type(problem) is kind
    assert words in problem.sentence


def test_a_tool_that_says_nothing_has_failed_all_the_same() -> None:
    assert failure("debootstrap", -9, (), "/store", "Debian").sentence == "debootstrap was ended by signal 9"


# --- what is left of this host


def test_what_came_from_this_host_is_removed(tmp_path: Path) -> None:
    for name in (
        "etc/hostname",
        "etc/machine-id",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "etc/ssh/ssh_host_rsa_key",
        "etc/resolv.conf",
        "var/log/apt/term.log",
        "var/log/dpkg.log",
        "var/lib/apt/lists/archive_InRelease",
        "run/lock/x",
        "dev/null",
        "tmp/x/y",
        "var/tmp/x",
        "lib/systemd/systemd-resolved",
        "etc/passwd",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("of this host")
    debian_system.tidy(f"{tmp_path}")
    files = (path for path in tmp_path.rglob("*") if not path.is_dir() and path.name != "container.conf")
    left = {str(path.relative_to(tmp_path)) for path in files}
    assert left == {
        "etc/machine-id",
        "etc/passwd",
        "etc/resolv.conf",
        "etc/systemd/network/50-eth.network",
        "etc/systemd/system/console-getty.service.d/autologin.conf",
        "lib/systemd/systemd-resolved",
    }
    assert (tmp_path / "etc/machine-id").read_bytes() == b""
    assert (tmp_path / "etc/resolv.conf").readlink() == Path("../run/systemd/resolve/stub-resolv.conf")
