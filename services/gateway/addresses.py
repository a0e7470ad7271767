"""From where a request comes: the peer, or what a trusted proxy says. Pure."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+):\d+", re.ASCII)


def networks(text: str) -> tuple[Network, ...]:
    """Of addresses and networks separated by commas. Raises: ValueError, which names the wrong one."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The nearest address that is not a trusted proxy. Of IPv6 the network of 64 bits, which one household has."""
    peer = (scope.get("client") or (UNKNOWN, 0))[0]
    if not trusted:
        return _grouped(peer)
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in ",".join(said).split(",") if hop.strip()]
    address = peer
    while hops and _within(address, trusted):
        address = hops.pop()
    return _grouped(address)


def _within(text: str, trusted: Sequence[Network]) -> bool:
    try:
        address = _parsed(text)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def _grouped(text: str) -> str:
    try:
        address = _parsed(text)
    except ValueError:
        return text[:100]
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False).network_address)
    return str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address:
    """Without the port that some proxies write: each connection has another. An IPv4 address that came in by an IPv6
    socket is itself again. Raises: ValueError.
    """
    with_port = _WITH_PORT.fullmatch(text)
    address = ip_address(with_port.group(1) or with_port.group(2) if with_port else text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
