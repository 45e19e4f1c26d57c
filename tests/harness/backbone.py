# SPDX-License-Identifier: Apache-2.0
"""What a backbone does to packets: loses some, delivers some late."""
import contextlib
import fcntl
import os
import random
import select
import struct
import threading
import time

from machine import inside, run

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
FRAME_BYTES = 65550
HELD_S = 0.005  # a frame that is held goes on after this long, whatever passed it


@contextlib.contextmanager
def filtered(net, rules):
    """nft rules (port, match) at ports of the backbone's switch."""
    text = "add table netdev liveness\n"
    for number, match in rules:
        text += (
            f"add chain netdev liveness p{number} "
            f"{{ type filter hook ingress device p{number} priority 0; }}\n"
            f"add rule netdev liveness p{number} {match} drop\n"
        )
    run("ip", "netns", "exec", net.backbone, "nft", "-f", "-", input=text)
    try:
        yield
    finally:
        run("ip", "netns", "exec", net.backbone, "nft", "delete", "table", "netdev", "liveness")


def _tap(namespace, name, bridge):
    with inside(namespace):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    run("ip", "-n", namespace, "link", "set", name, "master", bridge, "up")
    return tap


class Relay:
    """Carries frames between two taps; of each `one_in` one waits until three have passed it."""

    def __init__(self, ends, one_in):
        self.ends, self.one_in, self.late = ends, one_in, 0
        self.random = random.Random(one_in)
        self.waiting = {end: [] for end in ends}  # to each end: [frame, passed by, until]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _write(self, end, frame):
        with contextlib.suppress(BlockingIOError):  # a full queue loses frames, as queues do
            os.write(end, frame)

    def _release(self, end):
        now = time.monotonic()
        for held in list(self.waiting[end]):
            if held[1] >= 3 or now > held[2]:
                self.waiting[end].remove(held)
                self._write(end, held[0])

    def _run(self):
        other = dict(zip(self.ends, reversed(self.ends)))
        while not self.over.is_set():
            held = any(self.waiting.values())
            for end in select.select(self.ends, [], [], HELD_S if held else 0.2)[0]:
                with contextlib.suppress(BlockingIOError):
                    self._take(os.read(end, FRAME_BYTES), other[end])
            for end in self.ends:
                self._release(end)

    def _take(self, frame, end):
        if self.random.randrange(self.one_in) == 0:
            self.late += 1
            self.waiting[end].append([frame, 0, time.monotonic() + HELD_S])
            return
        self._write(end, frame)
        for held in self.waiting[end]:
            held[1] += 1

    def close(self):
        self.over.set()
        self.thread.join(10)
        for end in self.ends:
            os.close(end)


@contextlib.contextmanager
def reordered(net, number, one_in=20):
    """The node's port of the switch behind a relay that delivers one frame of `one_in` late."""
    space, port = net.backbone, f"p{number}"
    run("ip", "-n", space, "link", "add", "br1", "type", "bridge")
    ends = []
    try:
        run("ip", "-n", space, "link", "set", "br1", "up")
        ends = [_tap(space, "relay0", "br0"), _tap(space, "relay1", "br1")]
        run("ip", "-n", space, "link", "set", port, "master", "br1")
        with contextlib.closing(Relay(ends, one_in)) as relay:
            yield relay
    finally:
        run("ip", "-n", space, "link", "set", port, "master", "br0")
        run("ip", "-n", space, "link", "del", "br1")
