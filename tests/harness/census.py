# SPDX-License-Identifier: Apache-2.0
"""Everything of a topology that may leak, counted: what is in the kernel's maps, what is pinned,
what processes hold, what the store has."""
import collections
import contextlib
import os
import pathlib
import re
import sqlite3
import time

from bpf import Map
from machine import interfaces, run

# which bytes of a value are zeros when it stands for nothing (abi/maps.h, abi/quota.h); maps whose
# values only count or are scratch are left out
PARTS = {
    "cv_slots": (24, 8),  # check_ns: the key stays behind
    "cv_nics": (0, None),
    "cv_links": (0, None),
    "cv_nodes": (0, None),
    "cv_nic_held": (0, None),
    "cv_link_held": (0, None),
    "cv_nat_held": (0, None),
}
SOME_THREADS = 4
ENTRIES = (
    "cv_ports cv_leases cv_addresses cv_sixes cv_six_addresses cv_prefixes cv_services cv_rules "
    "cv_pools cv_members cv_flows"
).split()
# its pools grow and shrink as they see fit
GRPC_THREADS = (
    "default-executo event_engine grpc_global_tim grpcpp_sync_ser resolver-executo timer_manager"
).split()


def kernel(node):
    """What is in the node's maps, by name, of every layout."""
    counts = collections.Counter()
    for path in sorted((node.data / "pin").glob("v*/cv_*")):
        if path.name in PARTS:
            with Map(path) as each:
                counts[path.name] += each.held(*PARTS[path.name])
        elif path.name in ENTRIES:
            with Map(path) as each:
                counts[path.name] += len(each)
    return counts


def process(pid):
    """Its descriptors by kind and its threads by name."""
    counts = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            kind = re.sub(r"\d+", "N", target.split(":")[0] if ":[" in target else target)
            counts[f"fd {kind.rsplit('/', 1)[-1]}"] += 1
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            name = (thread / "comm").read_text().strip()
            counts["threads of gRPC" if name in GRPC_THREADS else f"thread {name}"] += 1
    return counts


def files(folder):
    """What lies there, by name; logs left out, and what SQLite keeps beside a file."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return collections.Counter(
        re.sub(r"\d+", "N", str(name))
        for name in names
        if not re.search(r"\.log$|-(wal|shm|journal)$", name.name) and name.parts[0] != "pin"
    )


def store(path):
    """Rows by the first part of their keys. What is kept on purpose, and bounded, is left out: the
    audit, and the generations of numbers that are free again (control/allocate.hpp)."""
    counts = collections.Counter()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for key, value in db.execute("SELECT key, value FROM kv"):
            if not bytes(value).startswith(b"free "):
                counts["/" + bytes(key).decode().split("/")[1]] += 1
    counts.pop("/audit", None)
    return counts


def take(net):
    """name -> how many; nothing is there with a zero."""
    counts = collections.Counter()

    def add(who, what):
        counts.update({f"{who}: {name}": count for name, count in what.items()})

    for node in net.nodes:
        add(node.name, kernel(node))
        add(node.name, process(node.agent.pid))
        pins = [path for path in (node.data / "pin").rglob("*") if not path.is_dir()]
        add(node.name, {"pinned files": len(pins), "interfaces": len(interfaces(node.namespace))})
        add(node.name, {f"file {name}": count for name, count in files(node.data).items()})
    control = net.folder / "control"
    add("culvertd", process(net.culvertd.pid))
    add("culvertd", {f"file {name}": count for name, count in files(control).items()})
    add("store", store(control / "store.db"))
    spaces = run("ip", "netns", "list").stdout.split()
    mine = sum(name.startswith(net.prefix) for name in spaces)
    add("machine", {"namespaces": mine})
    return +counts


# A record for each certificate that was replaced, for a day after its end: who counts renewals says
# how many there may be (control/certificate_records.cpp).
REVOKED = "store: /revoked"


def differences(before, after):
    """name -> (before, after), where they differ; a few more threads of a pool are no difference,
    nor is what grows with renewals (REVOKED)"""
    return {
        name: (before[name], after[name])
        for name in sorted(before.keys() | after.keys())
        if before[name] != after[name]
        and name != REVOKED
        and not (name.endswith("gRPC") and after[name] <= before[name] + SOME_THREADS)
    }


def settled(net, before=None, seconds=60):
    """The census once it is as `before` (None: once two in a row agree); after `seconds` as it
    then is."""
    end = time.monotonic() + seconds
    last = take(net)
    while time.monotonic() < end and (before is None or differences(before, last)):
        time.sleep(2)
        now = take(net)
        if before is None and not differences(last, now):
            return now
        last = now
    return last
