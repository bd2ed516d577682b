"""The options of a network."""

import pytest

from cloison.base.errors import Invalid
from cloison.spec.networks import NETWORK_KEYS, Options, assign_all, items


def test_what_was_set_is_what_is_shown_and_can_be_set_again() -> None:
    said = ["ipv4=10.9.0.1/24", "ipv6=FD00:9::1/64", "nat=no", "mtu=1400", "rules=deny in tcp 22 from lan"]
    options = assign_all(Options(), said)
    shown = dict(items(options))
    assert shown == {
        "ipv4": "10.9.0.1/24",
        "ipv6": "fd00:9::1/64",
        "nat": "false",
        "mtu": "1400",
        "rules": "deny in tcp 22 from lan",
    }
    assert assign_all(Options(), [f"{name}={text}" for name, text in shown.items()]) == options
    assert assign_all(options, [f"{name}=" for name in shown]) == Options()


def test_the_example_of_every_option_is_accepted() -> None:
    for key in NETWORK_KEYS:
        assert key.format(key.parse(key.name, key.example))


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (("ipv4=10.9.0.1",), "prefix length from 8 to 30"),
        (("ipv4=10.9.0.1/31",), "prefix length from 8 to 30"),
        (("ipv4=10.9.0.0/24",), "the first and the last address of 10.9.0.0/24"),
        (("ipv4=10.9.0.255/24",), "the first and the last address"),
        (("ipv4=fd00::1/64",), "IPv4 address"),
        (("ipv6=fd00::1/80",), "prefix length 64"),
        (("ipv6=fd00::/64",), "prefix length 64"),
        (("ipv6=fe80::1/64",), "prefix length 64"),
        (("domain=Lab.example",), "lower case"),
        (("domain=-lab",), "lower case"),
        (("mtu=1000",), "IPv6 takes 1280"),
        (("vlan=5",), "name that too"),
        (("parent=br0", "nat=false"), "the host's own"),
        (("parnet=br0",), "'parent' is one"),
        (("nat",), "no assignment"),
    ],
)
def test_bad_options_are_refused(assignments: tuple[str, ...], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        assign_all(Options(), assignments)
    assert said in str(caught.value)


def test_a_small_mtu_is_possible_without_ipv6() -> None:
    assert assign_all(Options(), ["mtu=1000", "ipv6=none"]).mtu == 1000
