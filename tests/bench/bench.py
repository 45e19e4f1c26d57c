#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Culvert beside its peers: the peers' own topologies and loads, one interleaved run.

The peers' script (peers_bench.py, and its folder in CULVERT_BENCH_PEERS; by default
../shared/bench-peers beside this repository) is imported unchanged. Culvert takes part as two more
cases: `culvert` (one host) and `2h-culvert` (two hosts, an agent on each). They keep its
namespaces, addresses and programs; the node in between runs culvertd and the agent, and both
workloads hang on interfaces that `culvert attach` made. Then: the latency of 1,000 private endpoint
PUTs.

Needs root. Results are ratios within one run on virtual Ethernet ("veth"), not rates of a network.

--programs measures the programs by themselves (program_bench.cpp) and --forwarding small packets of
one core (forwarding.py) instead.

--instructions runs the same cases in an emulated machine (tools/guest) that counts every
instruction it executes, also where this machine shows perf no counters; loads are counted whole,
both ends' programs and kernels. The real machine need not be quiet for it.
"""
import argparse
import atexit
import importlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from counter import Counter, count_with

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = os.environ.get("CULVERT_BENCH_PEERS", str(ROOT.parent / "shared" / "bench-peers"))
COUNTED_CASES = "route,nft,culvert,2h-route-vxlan,2h-nft-vxlan,2h-culvert"
COUNTER = "CULVERT_BENCH_COUNTER"  # set inside the counting guest: where its counts are
# what is judged, best first: work done by the machine, then time
KEYS = (
    "tcp1.ins_per_unit",
    "tcp4.ins_per_unit",
    "crr.ins_per_unit",
    "tcp1.kernel_ins_per_unit",
    "udp.ins_per_unit",
    "crr.kernel_ins_per_unit",
    "tcp1.cyc_per_unit",
    "crr.cyc_per_unit",
    "tcp1.cpu_s_per_GB",
    "crr.cpu_us_per_conn",
    "tcp1.gbps",
    "crr.conn_per_s",
    "lat.rtt_p50_us",
    "udp.rx_kpps",
)


def load_peers(folder):
    if not (pathlib.Path(folder) / "peers_bench.py").exists():
        sys.exit(
            f"bench: the peers' script peers_bench.py is not in {folder}; name its folder with "
            "--peers DIR or CULVERT_BENCH_PEERS"
        )
    sys.path[:0] = [folder, str(HERE)]
    sys.dont_write_bytecode = True
    return importlib.import_module("peers_bench")


def ratios(summary):
    """each case's medians to plain routing (kernel VXLAN for two hosts) of the same run"""
    out = {}
    for case, values in summary.items():
        base = "2h-route-vxlan" if case.startswith("2h") else "route"
        out[case] = {"base": base}
        for key in KEYS:
            mine = values.get(key, {}).get("median")
            theirs = summary.get(base, {}).get(key, {}).get("median")
            if mine is not None and theirs:
                out[case][key] = mine / theirs
    return out


def print_ratios(table):
    print("\nratio to plain routing (one host) or to the kernel's VXLAN (2h), medians, veth")
    keys = [key for key in KEYS if any(key in row for row in table.values())]
    print("%-18s" % "" + "".join("%20s" % key for key in keys))
    for case, row in table.items():
        print("%-18s" % case + "".join("%20s" % _cell(row.get(key)) for key in keys))
    if "tcp1.ins_per_unit" not in keys:
        print("this machine shows no hardware counters to perf: no instructions in this run")


def print_instructions(summary, table):
    """medians, [least..most] and the ratio of medians"""
    keys = [key for key in KEYS if key.endswith("ins_per_unit")]
    print("\ninstructions a byte (tcp) and a connection (crr): all, and the kernel's alone")
    for case, values in summary.items():
        print(case)
        for key in keys:
            if key in values:
                v = values[key]
                numbers = (key, v["median"], v["min"], v["max"], _cell(table[case].get(key)))
                print("  %-26s %12.4f [%.4f..%.4f]  ratio %s" % numbers)


def _cell(value):
    return "-" if value is None else "%.3f" % value


def runnable(peers):
    """the cases whose programs this machine has; the others are said aloud"""
    needs = {"ovs-userspace": "ovs-vswitchd"}
    cases = []
    for case in peers.CASES:
        if case in needs and not shutil.which(needs[case]):
            print(f"bench: left out {case}: {needs[case]} is not installed", file=sys.stderr)
        else:
            cases.append(case)
    return cases


def run_cases(peers, args, out):
    """the peers' own main, with our cases registered: same loop, same files"""
    cases = args.cases or ",".join(runnable(peers))
    sys.argv = ["peers_bench", "--reps", str(args.reps), "--secs", str(args.secs)]
    sys.argv += ["--cases", cases, "--out", out]
    peers.main()
    return json.loads(pathlib.Path(out).read_text())


def parse():
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", help="write the results here as JSON")
    parser.add_argument("--reps", type=int, help="rounds over all cases (3; instructions: 2)")
    parser.add_argument("--secs", type=int, help="seconds of each load (3; instructions: 1)")
    parser.add_argument("--cases", help="only these, separated by commas")
    parser.add_argument("--endpoints", type=int, default=1000, help="endpoint PUTs; 0: none")
    parser.add_argument("--only-provisioning", action="store_true", help="leave traffic out")
    parser.add_argument(
        "--smoke", action="store_true", help="do not wait for a quiet machine: numbers mean nothing"
    )
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions in an emulated machine"
    )
    parser.add_argument("--programs", action="store_true", help="the BPF programs by themselves")
    parser.add_argument("--forwarding", action="store_true", help="64-byte packets of one core")
    parser.add_argument("--profile", help="with --instructions: folder for counts by address")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--peers", default=PEERS, help="folder of peers_bench.py")
    args = parser.parse_args()
    if args.instructions and (args.only_provisioning or args.smoke):
        parser.error("--instructions is about traffic, and always the same")
    args.reps = args.reps or (2 if args.instructions else 3)
    args.secs = args.secs or (1 if args.instructions else 3)
    return args


def in_guest(args):
    """this program again, in a guest that counts; returns its status"""
    binaries = pathlib.Path(os.environ.get("CULVERT_BIN", "build/release/bin")).resolve()
    with tempfile.TemporaryDirectory(prefix="culvert-bench.") as kept:
        guest = [ROOT / "tools/guest", "--kernel", "6.12", "--cpus", 1, "--memory", 4096]
        guest += ["--timeout", 3600, "--keep", args.profile or kept]
        guest += ["--count", binaries.parent / "lib/instruction_count.so"]
        guest += ["--profile"] if args.profile else []
        guest += ["--env", f"CULVERT_BIN={binaries}", "--env", f"{COUNTER}=/run/guest/count"]
        guest += ["--", "/usr/bin/python3", __file__, "--peers", args.peers, "--endpoints", 0]
        guest += ["--reps", args.reps, "--secs", args.secs, "--out", "/run/guest/result.json"]
        guest += ["--cases", args.cases or COUNTED_CASES]
        status = subprocess.run([str(word) for word in guest], check=False).returncode
        result = pathlib.Path(args.profile or kept) / "result.json"
        if status == 0 and args.out:
            shutil.copyfile(result, args.out)
            print(f"wrote {args.out}")
    return status


def measure_parts(peers, args):
    """--programs, --forwarding"""
    result = {}
    if args.programs:
        program = pathlib.Path(os.environ.get("CULVERT_BIN", "build/release/bin")).resolve()
        argv = [program.parent / "tests/bench/program_bench", *((2000, 1) if args.smoke else ())]
        done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return done.returncode
        result["programs"] = [json.loads(line) for line in done.stdout.splitlines()]
        for row in result["programs"]:
            numbers = (row["what"], row["median"], row["min"], row["max"], row["unit"], row["p50"])
            print("%-62s %10.1f [%.1f..%.1f] %s, p50 %.0f" % numbers)
    if args.forwarding:
        import forwarding  # needs the peers' folder

        if not args.smoke:
            peers.quiet()
        result["forwarding"] = forwarding.measure(args.peers, args.reps, args.secs)
        for case, row in result["forwarding"].items():
            numbers = (case, row["median"], row["min"], row["max"], _cell(row["ratio"]))
            print("%-12s %8.0f kpps [%.0f..%.0f] ratio %s" % numbers)
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    return 0


def leave_nothing(peers):
    """whatever ends us, namespaces, processes and files go"""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def clean():
        peers.cleanup()
        shutil.rmtree(peers.TMP, ignore_errors=True)

    atexit.register(clean)


def main():
    args = parse()
    peers = load_peers(args.peers)
    import culvert_case  # needs the peers' module

    culvert_case.register(peers)
    leave_nothing(peers)
    if args.smoke:
        peers.foreign = dict  # nobody else's processor time is seen, so nothing waits for it
    if args.list:
        print("\n".join(peers.CASES))
        return 0
    if os.geteuid() != 0:
        sys.exit("bench: needs root: it makes network namespaces and loads BPF")
    if args.instructions:
        return in_guest(args)
    if args.programs or args.forwarding:
        return measure_parts(peers, args)
    result = {"label": "veth, smoke: means nothing" if args.smoke else "veth"}
    if COUNTER in os.environ:
        counter = Counter(os.environ[COUNTER])
        result = {"label": "veth, emulated machine, one processor"}
        result |= {"kernel": os.uname().release, "counter": counter.check()}
        print("counter", json.dumps(result["counter"]), flush=True)
        count_with(peers, counter)
    if not args.only_provisioning:
        scratch = f"{args.out or f'/tmp/culvert-bench-{os.getpid()}.json'}.part"
        try:
            result |= run_cases(peers, args, scratch)
        finally:
            pathlib.Path(scratch).unlink(missing_ok=True)
        result["ratios"] = ratios(result["summary"])
        if COUNTER in os.environ:
            print_instructions(result["summary"], result["ratios"])
            uncounted = [case for case, values in result["summary"].items() if not values]
            if uncounted:
                sys.exit(f"bench: no figures of {', '.join(uncounted)}: see above")
        else:
            print_ratios(result["ratios"])
    if args.endpoints:
        result["provisioning"] = culvert_case.provisioning(peers, args.endpoints)
        print("\nprovisioning", json.dumps(result["provisioning"]))
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
        if COUNTER not in os.environ:
            print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
