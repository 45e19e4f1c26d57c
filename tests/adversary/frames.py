# SPDX-License-Identifier: Apache-2.0
"""Frames whose every field can be wrong: more than tests/harness/packets.py, which makes good
ones."""
import ipaddress
import json
import struct

from culvert_harness import run
from packets import ROUTER, checksum, mac_bytes

IPV4 = b"\x08\x00"


def packed(address):
    return ipaddress.IPv4Address(address).packed


def ip(source, destination, protocol, payload, **lies):
    """An IPv4 packet; lies: version, ihl (as said), length (as said), fragment, options (bytes),
    ttl, bad_sum."""
    options = lies.get("options", b"")
    words = lies.get("ihl", 5 + len(options) // 4)
    length = lies.get("length", 20 + len(options) + len(payload))
    head = struct.pack(
        "!BBHHHBBH4s4s",
        lies.get("version", 4) << 4 | words,
        0,
        length & 0xFFFF,
        lies.get("id", 7),
        lies.get("fragment", 0x4000),
        lies.get("ttl", 64),
        protocol,
        0,
        packed(source),
        packed(destination),
    )
    total = checksum(head + options) ^ (0x5555 if lies.get("bad_sum") else 0)
    return head[:10] + struct.pack("!H", total) + head[12:] + options + payload


def tcp(source, destination, sport, dport, flags=0x02, payload=b"", words=5, seq=1, ack=0):
    body = (
        struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, 65535, 0, 0) + payload
    )
    pseudo = packed(source) + packed(destination) + struct.pack("!BBH", 0, 6, len(body))
    return body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]


def udp(sport, dport, payload=b"", length=None):
    size = 8 + len(payload) if length is None else length
    return struct.pack("!HHHH", sport, dport, size & 0xFFFF, 0) + payload


def eth(source, payload, destination=ROUTER, kind=IPV4):
    return destination + source + kind + payload


def arp(source_mac, operation, sender_mac, sender, target_mac, target, **lies):
    body = struct.pack(
        "!HHBBH6s4s6s4s",
        lies.get("hardware", 1),
        lies.get("protocol", 0x0800),
        lies.get("hardware_bytes", 6),
        lies.get("protocol_bytes", 4),
        operation,
        sender_mac,
        packed(sender),
        target_mac,
        packed(target),
    )
    return b"\xff" * 6 + source_mac + b"\x08\x06" + body


def neighbour_advertisement(source_mac, claimed_mac):
    """RFC 4861 4.4: "fe80::1 is at claimed_mac", to all nodes."""
    source = ipaddress.IPv6Address("fe80::1").packed
    destination = ipaddress.IPv6Address("ff02::1").packed
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + source + b"\x02\x01" + claimed_mac
    pseudo = source + destination + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + destination + body
    return b"\x33\x33\x00\x00\x00\x01" + source_mac + b"\x86\xdd" + packet


def mac_of(namespace, ifname):
    shown = run("ip", "-n", namespace, "-j", "link", "show", ifname).stdout
    return mac_bytes(json.loads(shown)[0]["address"])
