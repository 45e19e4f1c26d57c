# SPDX-License-Identifier: Apache-2.0
"""A TAP interface as an emulator has it: frames by hand, without a machine behind them."""
import fcntl
import os
import select
import struct
import time

from machine import inside

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
HEADER = 10  # of virtio (linux/virtio_net.h): nothing is left to the receiver
BROADCAST = b"\xff" * 6


class Tap:
    """Opens the interface; use it as a context manager."""

    def __init__(self, namespace, name):
        with inside(namespace):
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            wish = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
            try:
                fcntl.ioctl(self.fd, TUNSETIFF, wish)
            except OSError:
                os.close(self.fd)
                raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)

    def send(self, frame, checksum=None):
        """checksum: (start, offset) of one that the receiver is to fill in."""
        header = struct.pack("<BBHHHH", 1, 0, 0, 0, *checksum) if checksum else bytes(HEADER)
        os.write(self.fd, header + frame)

    def receive(self, wanted, seconds=10):
        """The first frame that `wanted` takes; None when none comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return None
            frame = os.read(self.fd, 1 << 17)[HEADER:]
            if wanted(frame):
                return frame
        return None


def dhcp(kind, mac, *, wanted=None, transaction=b"\xde\xad\xbe\xef"):
    """A client's message, up to its UDP payload; kind: 1 DISCOVER, 3 REQUEST."""
    head = struct.pack("!BBBB4sHHIIII", 1, 1, 6, 0, transaction, 0, 0, 0, 0, 0, 0)
    options = bytes([99, 130, 83, 99, 53, 1, kind])
    if wanted:
        options += bytes([50, 4]) + wanted
    return head + mac + bytes(10) + bytes(192) + options + b"\xff"


def udp(sport, dport, payload):
    """Without a checksum."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
