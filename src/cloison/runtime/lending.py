"""What interfaces of the host are before they are lent to an instance."""

import msgspec

from cloison.kernel import rtnetlink
from cloison.kernel.netlink import routes
from cloison.kernel.rtnetlink import Connection
from cloison.spec.network import Home, Interface
from cloison.spec.nics import PHYS


def with_homes(interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    """The interfaces; those that are lent know what they are at home, if that is where they are."""
    if all(each.type != PHYS for each in interfaces):
        return interfaces
    with rtnetlink.connect() as connection:
        return tuple(_with_home(each, connection) if each.type == PHYS else each for each in interfaces)


def _with_home(interface: Interface, connection: Connection) -> Interface:
    """What was leased (to a DHCP client, by router advertisements) ends by itself, and is not given back."""
    found = connection.link(interface.host_name)
    if found is None:
        return interface
    own = tuple(
        f"{each.address}/{each.prefix}"
        for each in connection.addresses(index=found.index)
        if each.scope == routes.RT_SCOPE_UNIVERSE and each.flags & routes.IFA_F_PERMANENT
    )
    return msgspec.structs.replace(interface, home=Home(found.mac, found.mtu, found.is_up, own))
