"""Lists of images, and what is chosen from them."""

import json
from typing import Any

import pytest

from cloison.base.errors import NotFound, Remote, Unsupported
from cloison.images.servers import simplestreams
from cloison.images.servers.simplestreams import Product

SHA = "ab" * 32


def item(ftype: str, path: str = "", **more: str) -> dict[str, Any]:
    return {"ftype": ftype, "path": path or f"images/{ftype}", "size": 5, "sha256": SHA, **more}


SPLIT = {
    "meta": item("lxd.tar.xz", combined_squashfs_sha256="11" * 32, combined_rootxz_sha256="22" * 32),
    "squash": item("squashfs"),
    "tar": item("root.tar.xz"),
    "disk": item("disk-kvm.img"),
}


def product(aliases: str, arch: str = "amd64", variant: str = "default", **versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "aliases": aliases,
        "arch": arch,
        "os": "Debian",
        "release": "bookworm",
        "variant": variant,
        "versions": {name.replace("v", ""): {"items": items} for name, items in versions.items()},
    }


def known(*products: dict[str, Any]) -> tuple[Product, ...]:
    content = json.dumps({"products": {str(number): one for number, one in enumerate(products)}}).encode()
    return simplestreams.products(content, server="lan")


DEBIAN = known(
    product("debian/12,debian/bookworm", v20240101=SPLIT, v20240202=SPLIT),
    product("debian/12/cloud", variant="cloud", v20240101=SPLIT),
    product("debian/12,debian/bookworm", "arm64", v20240101=SPLIT),
    product("alpine/3.20", "riscv64", v1=SPLIT),
)


def chosen(name: str, arch: str = "amd64", *, has_squashfs: bool = True) -> simplestreams.Choice:
    return simplestreams.choose(DEBIAN, name, arch, server="lan", has_squashfs=has_squashfs)


def test_the_newest_version_is_chosen() -> None:
    choice = chosen("debian/12")
    assert (choice.version, choice.product.arch, choice.rootfs.ftype, choice.size_bytes) == (
        "20240202",
        "amd64",
        "squashfs",
        10,
    )
    assert choice.metadata is not None and choice.metadata.ftype == "lxd.tar.xz" and choice.combined == "11" * 32


def test_without_the_tools_for_squashfs_the_tar_is_taken() -> None:
    choice = chosen("debian/bookworm", has_squashfs=False)
    assert (choice.rootfs.ftype, choice.combined) == ("root.tar.xz", "22" * 32)


def test_a_variant_and_an_architecture_can_be_asked_for() -> None:
    assert chosen("debian/12/cloud").product.variant == "cloud"
    assert chosen("debian/12/arm64").product.arch == "arm64"
    assert chosen("debian/12", "arm64").product.arch == "arm64"


def test_what_is_not_there_names_what_is() -> None:
    with pytest.raises(NotFound) as missing:
        chosen("debian/13")
    assert "debian/12" in missing.value.hint
    with pytest.raises(NotFound, match=r"no 'alpine/3\.20' for amd64") as missing:
        chosen("alpine/3.20")
    assert missing.value.hint == "there is riscv64"


def test_a_version_with_nothing_for_a_container_is_passed_over() -> None:
    products = known(product("x", v1={"a": item("incus_combined.tar.gz")}, v2={"a": item("disk-kvm.img")}))
    choice = simplestreams.choose(products, "x", "amd64", server="lan", has_squashfs=True)
    assert (choice.version, choice.metadata, choice.rootfs.ftype) == ("1", None, "incus_combined.tar.gz")
    products = known(product("x", v2={"a": item("disk-kvm.img")}))
    with pytest.raises(Unsupported, match="in a format known here"):
        simplestreams.choose(products, "x", "amd64", server="lan", has_squashfs=True)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "http://evil.org/x"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    products = known(product("x", v1={"a": item("lxd_combined.tar.gz", path)}))
    with pytest.raises(Remote, match="no path below it"):
        simplestreams.choose(products, "x", "amd64", server="lan", has_squashfs=True)


@pytest.mark.parametrize("wrong", [{"sha256": ""}, {"sha256": "zz" * 32}, {"size": 0}])
def test_what_cannot_be_verified_is_refused(wrong: dict[str, Any]) -> None:
    products = known(product("x", v1={"a": item("lxd_combined.tar.gz") | wrong}))
    with pytest.raises(Remote, match="cannot be verified"):
        simplestreams.choose(products, "x", "amd64", server="lan", has_squashfs=True)


def test_a_search_goes_by_parts_of_names() -> None:
    assert [found.arch for found in simplestreams.matching(DEBIAN, "debian", "")] == ["amd64", "arm64", "amd64"]
    assert [found.variant for found in simplestreams.matching(DEBIAN, "cloud", "amd64")] == ["cloud"]


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b'{"products": 3}'])
def test_what_is_no_list_is_named(content: bytes) -> None:
    with pytest.raises(Remote, match="list of images of lan cannot be read"):
        simplestreams.products(content, server="lan")


def test_only_lists_of_images_are_followed() -> None:
    lists = {"images": {"path": "streams/v1/images.json", "datatype": "image-downloads"}, "x": {"path": "y"}}
    assert simplestreams.lists(json.dumps({"index": lists}).encode(), server="lan") == ("streams/v1/images.json",)
