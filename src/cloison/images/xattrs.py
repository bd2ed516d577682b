"""Which extended attributes of an archive become those of a layer. Pure. Source: xattr(7), capabilities(7)."""

from typing import Final

OPAQUE: Final = "user.overlay.opaque"
DEFAULT_ACL: Final = "system.posix_acl_default"
_ORDERS = ("user.overlay.", "trusted.overlay.")
_CAPABILITY = "security.capability"


def reason_to_leave_out(key: str) -> str:
    """Why an attribute is not set; "" for one that is."""
    if key.startswith(_ORDERS):
        return "attribute of overlayfs"
    if key.startswith("security.") and key != _CAPABILITY:
        return "label of another host's security module"
    return ""
