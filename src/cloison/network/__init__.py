"""Networks of this host: bridges with their addresses, packet rules, names and leases.

network     a network as a value, and what of it has which name
host        what the host has: interfaces, routes, listening sockets
subnets     subnets that collide with nothing
nft         packet rules as the JSON that nft(8) reads
table       the rules of the whole installation, and of one network
nic         the rules of one interface: ports, access, filters, rate
dnsmasq     what the daemon for names and leases is told
leases      what that has leased, and giving it back for who is gone
forwarding  between which interfaces the host forwards
bridge      the plans that bring a network up and take it down
ground      what nics need that are on no network of cloison's own
strays      what is nobody's any more
upkeep      what is done to keep a network up; the lock
counters    what rules have counted, and those of nobody
report      leases, rules and what they have counted
findings    what `cloison check` says about them
firewalls   what others drop, and what would help
"""
