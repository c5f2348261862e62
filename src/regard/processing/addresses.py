"""Which addresses are on the public internet, and which host names try to look like something else.

The lists are IANA's registries of special-purpose addresses, written out here because Python's `ipaddress` knows
different parts of them in each version (3.11 calls 192.0.0.192, fec0::1 and ::127.0.0.1 global). IPv6 is an
allow-list: global unicast without the ranges that carry an IPv4 address inside (6to4, Teredo, IPv4-mapped). Of
those only the well-known NAT64 prefix passes, since networks without IPv4 reach public hosts through it; the
address inside it is checked.

It resolves nothing: the caller checks what it is going to connect to.
"""

from __future__ import annotations

import ipaddress
import re

from regard.errors import InputError

_V4_REFUSED = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 is this machine
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT; 100.100.100.200 is Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host: public by its number, inside every machine there
            "169.254.0.0/16",  # link-local; .169.254 is most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_V6_UNICAST = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments, among them Teredo
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def check_address(address: str, host: str) -> None:
    """Errors: InputError for any address that is not on the public internet, in whichever form it is written."""
    if not _is_public(ipaddress.ip_address(address.partition("%")[0])):
        raise InputError(
            f"{host} is at {address}, which is not a public address; "
            "download the file yourself, or allow private addresses explicitly"
        )


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _V4_REFUSED)
    if address in _NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _V6_UNICAST and not any(address in network for network in _V6_REFUSED)


def check_host(host: str) -> None:
    """Refuse an IPv4 address in another spelling than 1.2.3.4, such as 2130706433, 0x7f.1 or 0177.0.0.1.

    Programs disagree about what these mean; a host whose last label is a number is always an address.
    Errors: InputError naming the host.
    """
    labels = host.rstrip(".").split(".")
    if ":" in host or not _NUMBER.fullmatch(labels[-1]):
        return
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise InputError(f"{host} is an address in an unusual spelling; write four numbers from 0 to 255") from None
