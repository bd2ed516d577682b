"""Messages of rtnetlink(7), made in Python and sent by others. Pure: nothing here opens a socket.

    wire     how bytes become messages and attributes, and back
    inet     addresses as text and as bytes
    links    interfaces: make, change, move, delete
    routes   addresses, routes, proxied neighbours
    qdiscs   the rate of an interface
    values   what the kernel answers (not imported here: only who asks needs it)

A start sends its messages through the launcher (a plan carries their bytes); `kernel.rtnetlink` sends them from Python.
"""

from cloison.kernel.netlink.links import (
    IpvlanMode,
    Link,
    MacvlanMode,
    add_altname,
    add_bridge,
    add_ifb,
    add_ipvlan,
    add_macvlan,
    add_port_vlan,
    add_veth,
    add_vlan,
    delete_altname,
    delete_link,
    delete_port_vlan,
    set_link,
    set_port,
)
from cloison.kernel.netlink.qdiscs import add_tbf, delete_qdisc
from cloison.kernel.netlink.routes import (
    Route,
    add_address,
    add_proxy,
    add_route,
    delete_address,
    delete_proxy,
    delete_route,
)
from cloison.kernel.netlink.wire import NETNS_LATER, NOWHERE, Batch, Message, batch

__all__ = [
    "NETNS_LATER",
    "NOWHERE",
    "Batch",
    "IpvlanMode",
    "Link",
    "MacvlanMode",
    "Message",
    "Route",
    "add_address",
    "add_altname",
    "add_bridge",
    "add_ifb",
    "add_ipvlan",
    "add_macvlan",
    "add_port_vlan",
    "add_proxy",
    "add_route",
    "add_tbf",
    "add_veth",
    "add_vlan",
    "batch",
    "delete_address",
    "delete_altname",
    "delete_link",
    "delete_port_vlan",
    "delete_proxy",
    "delete_qdisc",
    "delete_route",
    "set_link",
    "set_port",
]
