# SPDX-License-Identifier: Apache-2.0
"""Frames made by hand, for what a workload or a node must not be able to do."""
import ipaddress
import struct

ROUTER = bytes.fromhex("02cf00000000")  # index 0 (src/abi/wire.h)
VNI_LINK = 0x800000
VXLAN_PORT = 4789


def mac(index):
    """The MAC that names a NIC index."""
    return b"\x02\xcf" + struct.pack("!I", index)


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


def checksum(data):
    """RFC 1071"""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload, ttl=64):
    src, dst = ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(destination).packed
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, ttl, protocol, 0, src, dst
    )
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source, destination, following, payload, hops=64):
    """following: the next header's number"""
    ends = (ipaddress.IPv6Address(each).packed for each in (source, destination))
    return struct.pack("!IHBB", 6 << 28, len(payload), following, hops) + b"".join(ends) + payload


def pseudo_sum(source, destination, protocol, body):
    """The checksum of a transport's bytes between two addresses (RFC 9293 3.1, RFC 8200 8.1)."""
    ends = b"".join(ipaddress.ip_address(each).packed for each in (source, destination))
    return checksum(ends + struct.pack("!HH", protocol, len(body)) + body)


def summed(source, destination, protocol, body, at):
    """The same bytes with their checksum, which is at `at`."""
    total = pseudo_sum(source, destination, protocol, body[:at] + b"\0\0" + body[at + 2 :])
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]


def tcp(source, destination, sport, dport, flags=0x02, payload=b"", seq=1, ack=0):
    """A segment with its checksum; flags: 0x02 SYN, 0x10 ACK, 0x18 PSH ACK."""
    body = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload
    return summed(source, destination, 6, body, 16)


def tcp_frame(
    source_mac, source, destination, sport, dport, flags=0x02, payload=b"", destination_mac=ROUTER
):
    segment = tcp(source, destination, sport, dport, flags, payload)
    return destination_mac + source_mac + b"\x08\x00" + ipv4(source, destination, 6, segment)


def vxlan(vni, frame, flags=0x08):
    """RFC 7348 5, without the outer headers."""
    return struct.pack("!B3xI", flags, vni << 8) + frame
