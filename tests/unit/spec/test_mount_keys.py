"""The keys of mounts: what each takes, in which form it comes back, and what does not go together."""

import pytest

from cloison.base.errors import Invalid
from cloison.spec.config import Config, assign_all, items, value_of
from cloison.spec.mount_keys import check


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("mounts.data.source=/srv/www/", "/srv/www"),
        ("mounts.data.source=/", "/"),
        ("mounts.data.source=fast/db-1", "fast/db-1"),
        ("mounts.data.target=/srv//x/./y/", "/srv/x/y"),
        ("mounts.data.target=/dev/own", "/dev/own"),
        ("mounts.data.ro=yes", "true"),
        ("mounts.data.idmap=no", "false"),
        ("mounts.data.idmap=1000:100", "1000:100"),
        ("mounts.data.idmap=1000:100@0:0", "1000:100"),
        ("mounts.data.idmap=1000:100@33:34", "1000:100@33:34"),
        ("mounts.data.size=1024K", "1M"),
    ],
)
def test_a_value_comes_back_in_its_one_form(assignment: str, shown: str) -> None:
    config = assign_all(Config(), [assignment])
    name = assignment.partition("=")[0]
    assert value_of(config, name) == shown
    assert dict(items(config)) == {name: shown}
    assert assign_all(config, [f"{name}="]) == Config()


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("mounts.data.source=../x", "slash"),
        ("mounts.data.source=/srv/../etc", "without"),
        ("mounts.data.source=a/b/c", "slash"),
        ("mounts.data.target=srv", "absolute"),
        ("mounts.data.target=/srv/../x", "without"),
        ("mounts.data.target=/", "mounted already"),
        ("mounts.data.target=//", "mounted already"),
        ("mounts.data.target=/proc/1", "mounted already"),
        ("mounts.data.idmap=1000", "UID:GID"),
        ("mounts.data.idmap=1:4294967295", "inside ids"),
        ("mounts.data.idmap=1:1@1:65536", "inside ids"),
        ("mounts.data.propagation=unbindable", "slave"),
        ("mounts.data.size=10%", "percentage"),
        ("mounts.-x.ro=true", "mount"),
    ],
)
def test_what_cannot_be_is_refused_by_name(assignment: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        assign_all(Config(), [assignment])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("source=/x",), "no target"),
        (("target=/x",), "no source"),
        (("target=/x", "source=data", "create=true"), "volume create"),
        (("target=/x", "source=/x", "size=1M"), "tmpfs"),
        (("target=/x", "type=tmpfs", "idmap=false"), "tmpfs has none"),
        (("target=/x", "source=/x", "propagation=shared"), "host"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], said: str) -> None:
    config = assign_all(Config(), [f"mounts.m.{word}" for word in words])
    with pytest.raises(Invalid, match=said) as problem:
        check(config.mounts, is_privileged=False)
    assert "mounts.m" in str(problem.value)


def test_only_a_privileged_instance_may_mount_on_the_host() -> None:
    config = assign_all(Config(), ["mounts.m.source=/x", "mounts.m.target=/x", "mounts.m.propagation=shared"])
    check(config.mounts, is_privileged=True)
