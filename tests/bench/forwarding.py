# SPDX-License-Identifier: Apache-2.0
"""One-core forwarding of 64-byte packets: the peers' own generator, topologies and sink
(peers_pps.py, imported unchanged), and Culvert between the same two ends."""
import importlib
import json
import re
import shutil
import statistics
import sys

from culvert_case import Hosts

CASES = ("route", "nft", "culvert")
PORT = 9000  # where the generator sends
SINK = "table ip r { chain p { type filter hook prerouting priority -300; counter drop\n }\n}\n"


def one(pps, name, secs, two):
    """kpps that arrived, of one run"""
    if name != "culvert":
        return pps.run(name, secs, two)
    hosts = Hosts(pps, two)
    try:
        hosts.build()
        shown = json.loads(hosts.installation.culvert(pps.N, hosts.node, *"status -o json".split()))
        (near,) = [
            nic["hostIfname"] for nic in shown["agent"]["nics"] if nic.get("ifname") == "c0"
        ]
        pps.sh(f"ip -n {pps.N} link set {near} down")
        pps.sh(f"ip -n {pps.N} link set {near} name n0")
        pps.sh(f"ip -n {pps.N} link set n0 up")
        pps.ns(pps.N, "ethtool -K n0 gro on")  # as the peers': frames are taken by NAPI alone
        with open(f"{pps.TMP}/t.nft", "w", encoding="utf-8") as file:
            file.write(SINK)
        pps.ns(pps.V, f"nft -f {pps.TMP}/t.nft")
        pps.threaded(pps.N, "n0", 1)
        before = pps.dropped()
        ends = f"{pps.mac(pps.C, 'c0')} {pps.mac(pps.N, 'n0')} 10.1.0.10 {pps.PE}"
        load = f"taskset -c 0 {pps.TMP}/l {pps.TMP}/g.o c0 {ends} {secs}"
        said = pps.ns(pps.C, load, check=False)
        found = re.search(r"gen (\d+) ([\d.]+)", said)
        if not found:
            return {"error": said[-300:]}
        sent, took = int(found.group(1)), float(found.group(2))
        arrived = pps.dropped() - before
        if not arrived:
            drops = hosts.installation.culvert(pps.N, hosts.node, "drops")
            return {"error": f"nothing arrived; drops:\n{drops}"}
        return {"fwd_kpps": arrived / took / 1e3, "offered_kpps": sent / took / 1e3}
    finally:
        hosts.remove()
        for name in (pps.C, pps.N, pps.B, pps.V):
            pps.sh(f"ip netns del {name}", check=False)


def measure(folder, reps, secs):
    """case -> median, least, most of kpps and the ratio to plain routing"""
    sys.path.insert(0, folder)
    pps = importlib.import_module("peers_pps")
    pps.PE, pps.PROV, pps.PORTS = "10.1.0.100", "10.2.0.10", (PORT,)
    found = {}
    try:
        pps.build()
        for rep in range(reps):
            for two in (False, True):
                for name in CASES[:: 1 if rep % 2 == 0 else -1]:
                    got = one(pps, name, secs, two)
                    case = f"2h-{name}" if two else name
                    print(rep, case, got, file=sys.stderr, flush=True)
                    if "fwd_kpps" in got:
                        found.setdefault(case, []).append(got["fwd_kpps"])
    finally:
        shutil.rmtree(pps.TMP, ignore_errors=True)
    out = {}
    for case, rates in found.items():
        base = found.get("2h-route" if case.startswith("2h") else "route")
        middle = statistics.median(rates)
        out[case] = {"median": middle, "min": min(rates), "max": max(rates), "n": len(rates)}
        out[case]["ratio"] = middle / statistics.median(base) if base else None
    return out
