"""Which extended attributes of an archive become those of a layer. Pure. Source: xattr(7), capabilities(7)."""

from typing import Final

OPAQUE: Final = "user.overlay.opaque"
DEFAULT_ACL: Final = "system.posix_acl_default"
NAMED_ACL: Final = "named "  # begins the key of an ACL whose users have names and no numbers; no attribute has a blank
_ORDERS = ("user.overlay.", "trusted.overlay.")
_CAPABILITY = "security.capability"


def reason_to_leave_out(key: str) -> str:
    """Why an attribute is not set; "" for one that is."""
    if key.startswith(_ORDERS):
        return "attribute of overlayfs"
    if key.startswith("security.") and key != _CAPABILITY:
        return "label of another host's security module"
    if key.startswith(NAMED_ACL):
        return "ACL that names users without their numbers"
    return ""
