"""The programs that a network takes, and which of them this host lacks."""

from cloison.base.errors import Unsupported
from cloison.kernel.programs import which
from cloison.network.network import Network

NFT, DNSMASQ = ("nft", "nftables"), ("dnsmasq", "dnsmasq-base")  # the program, and Debian's package


def are_there(of: Network) -> bool:
    """Whether this host has all of them."""
    return all(which(program) for program, _package in _of(of))


def expect_programs(of: Network) -> None:
    """Raise Unsupported where a program is missing that the network takes on this host."""
    for program, package in _of(of):
        if which(program) is None:
            raise Unsupported(
                f"the network {of.name!r} takes the program {program!r}, which is not installed",
                hint=f"apt-get install --no-install-recommends {package}; or make instances without: --network none",
                program=program,
                package=package,
            )


def _of(network: Network) -> tuple[tuple[str, str], ...]:
    return ((NFT,) if network.is_own else ()) + ((DNSMASQ,) if network.is_served else ())
