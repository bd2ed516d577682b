"""Recipes as values: what is understood, and what is refused with its key."""

import pytest

from cloison.base.errors import Invalid
from cloison.spec.recipe import File, Recipe, parse

WHOLE = b"""
base = "debian/12"
name = "tools/web"
packages = ["nginx", "libc6:amd64", "less=590-2"]
commands = ["systemctl enable nginx", ["/bin/prepare", "--quiet"]]
command = ["/sbin/init"]
workdir = "/srv"
user = "www-data"
network = false
env = { TZ = "Europe/Paris" }
options = { mirror = "http://archive.lan/debian" }

[[files]]
path = "/etc/site.conf"
content = "hello"
owner = "root:adm"
mode = "0640"

[[files]]
path = "/srv/site"
source = "site"
early = true

[[files]]
path = "/etc/alias"
link = "/srv/site/alias"
"""


def test_everything_that_a_recipe_may_say_is_understood() -> None:
    assert parse(WHOLE) == Recipe(
        base="debian/12",
        name="tools/web",
        options={"mirror": "http://archive.lan/debian"},
        packages=("nginx", "libc6:amd64", "less=590-2"),
        files=(
            File("/etc/site.conf", content="hello", owner="root:adm", mode="0640"),
            File("/srv/site", source="site", early=True),
            File("/etc/alias", link="/srv/site/alias"),
        ),
        commands=("systemctl enable nginx", ("/bin/prepare", "--quiet")),
        command=("/sbin/init",),
        env={"TZ": "Europe/Paris"},
        workdir="/srv",
        user="www-data",
        network=False,
    )


@pytest.mark.parametrize(
    ("said", "is_networked"),
    [
        ("", False),
        ("packages = ['vim']", True),
        ("network = true", True),
        ("packages = ['vim']\nnetwork = false", False),
    ],
)
def test_there_is_a_network_where_there_are_packages_unless_it_says_otherwise(said: str, is_networked: object) -> None:
    assert parse(f"base = 'busybox'\n{said}".encode()).is_networked is is_networked


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "the key base is missing"),
        ("base = 3", "base: expected `str`, got `int`"),
        ("base = ''", "base=:"),
        ("base = './other.toml'", "build that recipe first"),
        ("base = 'busybox'\npackage = ['vim']", "there is no key package"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\ncontents = ''", r"there is no key files\[0\]\.contents"),
        ("base = 'busybox'\n[[files]]\ncontent = ''", r"the key files\[0\]\.path is missing"),
        ("base = 'busybox'\n[[files]]\npath = '/x'", r"files\[0\] \(/x\): one of content, source and link.*not none"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\ncontent = ''\nlink = '/y'", "not content and link"),
        ("base = 'busybox'\n[[files]]\npath = 'x'\ncontent = ''", "an absolute path"),
        ("base = 'busybox'\n[[files]]\npath = '/x/../y'\ncontent = ''", r"without \.\."),
        ("base = 'busybox'\n[[files]]\npath = '/'\ncontent = ''", "an absolute path"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\ncontent = ''\nmode = '0999'", "octal digits"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\ncontent = ''\nmode = 420", "expected `str`, got `int`"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\nlink = '/y'\nmode = '0644'", "links have no mode"),
        ("base = 'busybox'\n[[files]]\npath = '/x'\ncontent = ''\nowner = 'a b'", "a user, or user:group"),
        ("base = 'busybox'\npackages = ['--purge']", r"packages\[0\]=--purge"),
        ("base = 'busybox'\ncommands = ['']", r"commands\[0\]"),
        ("base = 'busybox'\nenv = { 'a b' = 'x' }", "in the name of a variable"),
        ("base = 'busybox'\nworkdir = 'srv'", "workdir=srv"),
        ("base = ", "it is no TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(said: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        parse(said.encode())


def test_what_is_no_text_is_no_recipe() -> None:
    with pytest.raises(Invalid, match="it is no TOML"):
        parse(b"\xff\xfe")
