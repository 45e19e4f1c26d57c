# SPDX-License-Identifier: Apache-2.0
"""Somebody else's tc program: counts packets and passes them on, by tcx or as a clsact filter."""
import json
import os
import pathlib
import struct
import subprocess

from bpf import LINK_CREATE, Map, bpf, pinned
from culvert_harness import inside, ns_command, run

SOURCE = """
// SPDX-License-Identifier: GPL-2.0
#define SEC(name) __attribute__((section(name), used))
struct {
    int (*type)[2];        // BPF_MAP_TYPE_ARRAY
    unsigned int *key;
    unsigned long long *value;
    int (*max_entries)[1];
} seen SEC(".maps");
static void *(*lookup)(void *map, const void *key) = (void *)1;
SEC("tc") int other(void *packet)
{
    unsigned int zero = 0;
    unsigned long long *count = lookup(&seen, &zero);
    if (count)
        __sync_fetch_and_add(count, 1);
    return -1;  // TCX_NEXT, TC_ACT_UNSPEC
}
char licence[] SEC("license") = "GPL";
"""
TCX_INGRESS, BEFORE = 46, 1 << 3


class OtherProgram:
    """Compiled and loaded once; attached wherever it is told to be. A context manager."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.pins = self.folder / "pins"
        self.links = []

    def __enter__(self):
        self.pins.mkdir(parents=True)
        run("mount", "-t", "bpf", "bpf", self.pins)
        source, self.object = self.folder / "other.c", self.folder / "other.o"
        source.write_text(SOURCE)
        compile_it = ["clang-19", "-target", "bpf", "-O2", "-g", "-c", source, "-o", self.object]
        subprocess.run([str(word) for word in compile_it], check=True)
        where = ("type", "classifier", "pinmaps", self.pins)
        run("bpftool", "prog", "load", self.object, self.pins / "prog", *where)
        self.program = pinned(self.pins / "prog")
        self.map = Map(self.pins / "seen")
        return self

    def __exit__(self, *exc):
        for link in [*self.links, self.program, self.map.fd]:
            os.close(link)
        run("umount", "-l", self.pins, check=False)

    def attach_tcx(self, namespace, ifname):
        """First in line, before whatever is there."""
        index = json.loads(run("ip", "-n", namespace, "-j", "link", "show", ifname).stdout)
        wish = struct.pack("IIII", self.program, index[0]["ifindex"], TCX_INGRESS, BEFORE)
        with inside(namespace):
            self.links.append(bpf(LINK_CREATE, wish)[0])

    def seen(self):
        """Packets so far."""
        return struct.unpack("Q", self.map.lookup(bytes(4)))[0]

    def attach_filter(self, namespace, ifname):
        """A filter of clsact, after whatever has a priority below 100."""
        run(*ns_command(namespace, "tc", "qdisc", "add", "dev", ifname, "clsact"), check=False)
        add = ("tc", "filter", "add", "dev", ifname, "ingress", "prio", "100", "bpf")
        run(*ns_command(namespace, *add, "direct-action", "object-pinned", self.pins / "prog"))


def filters(namespace, ifname):
    return run(*ns_command(namespace, "tc", "filter", "show", "dev", ifname, "ingress")).stdout
