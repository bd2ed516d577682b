"""The configuration: dotted keys in, typed values out, and errors that name key, value and what is allowed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.spec.config import KEYS, Config, assign, assign_all, find, items, network_of, value_of


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("limits.memory=256M", "256M"),
        ("limits.memory=1.5G", "1536M"),
        ("limits.cpus=1.5", "1.5"),
        ("limits.processes=512", "512"),
        ("security.privileged=yes", "true"),
        ("security.seccomp=off", "false"),
        ("boot.stop_signal=sigpwr", "SIGPWR"),
        ("boot.stop_timeout=1m30s", "1m30s"),
        ("console.log_size=2M", "2M"),
        ("env.TZ=Europe/Paris", "Europe/Paris"),
        ("init.command=/bin/sh -c 'echo a b'", "/bin/sh -c 'echo a b'"),
        ("nics.eth0.type=host", "host"),
    ],
)
def test_what_was_set_is_what_get_shows(assignment: str, shown: str) -> None:
    key = assignment.partition("=")[0]
    assert value_of(assign_all(Config(), [assignment]), key) == shown


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("limits.memory=-1", "limits.memory=-1"),
        ("limits.memory=12X", '"12X" is no size'),
        ("limits.memory=0", "at least 1M"),
        ("limits.memory=101%", "at most 100%"),
        ("env.X=\udcff", "not UTF-8"),
        ("env.\udcff=x", "not UTF-8"),
        ("limits.cpus=0", "0.01"),
        ("limits.cpus=many", "no number of CPUs"),
        ("limits.processes=0", "from 1 to"),
        ("limits.processes=1.5", "whole number"),
        ("security.privileged=maybe", "true or false"),
        ("boot.stop_signal=SIGNOTHING", "no signal"),
        ("boot.stop_timeout=soon", "no duration"),
        ("init.cwd=srv", "absolute path"),
        ("init.command='unbalanced", "No closing quotation"),
        ("nics.eth0.type=wifi", "one of none, empty, host, bridged"),
        ("limits.memory", "key=value"),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_allowed(assignment: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        assign_all(Config(), [assignment])
    assert said in str(caught.value)


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(Invalid, match=r"'limits.memory' is one"):
        find("limits.memroy")


def test_a_star_stands_for_one_name_and_not_for_none() -> None:
    for name in ("nics.type", "nics..type", "env.", "nics.a.b.type"):
        with pytest.raises(Invalid):
            find(name)


def test_several_assignments_are_all_or_nothing() -> None:
    before = assign(Config(), "limits.processes", "5")
    with pytest.raises(Invalid):
        assign_all(before, ["limits.memory=64M", "limits.cpus=none"])
    assert before == assign(Config(), "limits.processes", "5")


def test_an_empty_value_takes_a_key_back_to_its_default() -> None:
    config = assign_all(Config(), ["limits.memory=64M", "env.A=1", "nics.x.type=host", "boot.own_clock=on"])
    assert assign_all(config, ["limits.memory=", "env.A=", "nics.x.type=", "boot.own_clock="]) == Config()


def test_items_lists_what_differs_from_the_defaults_and_nothing_else() -> None:
    assert list(items(Config())) == []
    config = assign_all(Config(), ["limits.memory=64M", "env.A=1", "nics.x.type=host"])
    assert dict(items(config)) == {"limits.memory": "64M", "env.A": "1", "nics.x.type": "host"}


def test_what_items_shows_can_be_set_again() -> None:
    settings = [
        "limits.cpus=0.25",
        "init.command=/bin/a 'b c'",
        "boot.stop_timeout_s=250ms",
        "console.log_size_bytes=3K",
    ]
    config = assign_all(Config(), settings)
    assert assign_all(Config(), [f"{key}={value}" for key, value in items(config)]) == config


def test_the_example_of_every_key_is_accepted() -> None:
    for key in KEYS:
        name = key.name.replace("*", key.samples[0])
        assert value_of(assign(Config(), name, key.example), name)


def test_a_config_survives_the_store() -> None:
    config = assign_all(Config(), ["limits.memory=64M", "nics.x.type=host", "init.command=a b"])
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_one_host_nic_shares_the_hosts_network() -> None:
    assert network_of(Config()) == "empty"
    assert network_of(assign(Config(), "nics.a.type", "host")) == "host"


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_words_are_set_or_refused_but_never_crash(key: str, value: str) -> None:
    try:
        assign(Config(), key, value)
    except Invalid as problem:
        assert str(problem)
