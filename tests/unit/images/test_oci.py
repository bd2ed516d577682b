import json

import pytest

from cloison.base.errors import Invalid
from cloison.images.oci import diff_ids_of, facts_of, platform_of, signal_name


def document(**config: object) -> bytes:
    return json.dumps({"architecture": "arm", "variant": "v7", "os": "linux", "config": config}).encode()


def test_what_docker_writes_becomes_facts() -> None:
    facts = facts_of(
        document(Entrypoint=["/run"], Cmd=["a", "b"], Env=None, User="1:2", WorkingDir="/w", StopSignal="2"),
        names=("x:1",),
    )
    assert (facts.command, facts.entrypoint, facts.user, facts.workdir) == (("/run", "a", "b"), ("/run",), "1:2", "/w")
    assert (facts.architecture, facts.stop_signal, facts.is_system) == ("armhf", "SIGINT", False)
    assert facts.env and facts.names == ("x:1",)


def test_an_image_that_runs_an_init_is_a_system() -> None:
    facts = facts_of(document(Cmd=["/sbin/init"]))
    assert facts.is_system and facts.stop_signal == "SIGRTMIN+3"
    assert facts_of(document(Cmd=None, Labels={"cloison.system": "true"})).is_system


def test_an_image_that_says_nothing_runs_a_shell() -> None:
    assert facts_of(b"{}").command == ("/bin/sh",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("15", "SIGTERM"),
        ("9", "SIGKILL"),
        ("quit", "SIGQUIT"),
        ("SIGRTMIN+3", "SIGRTMIN+3"),
        ("SIGFOO", "SIGTERM"),
        ("999", "SIGTERM"),
        ("SIGRTMIN+x", "SIGTERM"),
    ],
)
def test_a_signal_has_one_name(text: str, name: str) -> None:
    assert signal_name(text) == name


@pytest.mark.parametrize("text", [b"", b"[]", b'{"rootfs": 1}', b'{"rootfs":{"type":"layers","diff_ids":[1]}}'])
def test_a_damaged_config_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match="config is damaged"):
        diff_ids_of(text)
    if text in (b"", b"[]"):
        with pytest.raises(Invalid, match="config is damaged"):
            platform_of(text)
