#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 connections, half idle and half busy, between two nodes while agents are killed, replaced
by another map layout and back, and culvertd is killed and cut off. No connection may break, no new
one fail.

  faults.py [--connections N] [--kills N] [--cut-off SECONDS] [--pace MS]

Nothing has an injected clock here: the cut-off takes as long as it says, an hour by default.
"""
import argparse
import pathlib
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import culvert_harness  # noqa: E402
from faults import Faults  # noqa: E402
from scenes import consumer, provider  # noqa: E402


def suffer(net, args):
    start = time.monotonic()
    half = args.connections // 2
    faults = Faults(
        net, provider, consumer, idle=half, busy=half, fresh=40, pace=args.pace, patience=120
    )
    try:
        faults.kill_agents(args.kills)
        faults.stop_agents()
        faults.freeze_agents()
        faults.change_build("next")
        faults.change_build("this")
        faults.change_build("next")
        faults.kill_agents(2)
        faults.change_build("this")
        faults.kill_control(args.kills)
        faults.cut_off(args.cut_off)
        sums = faults.end()
    finally:
        faults.close()
    print(f"{faults.wanted} connections, {time.monotonic() - start:.0f} s: {sums}", flush=True)
    return sums["broken"] == 0 and sums["failed"] == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cut-off", type=int, default=3600)
    parser.add_argument("--pace", type=int, default=2000)
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()
    net = culvert_harness.Topology(nodes=2)
    try:
        return 0 if suffer(net, args) else 1
    finally:
        net.close()


if __name__ == "__main__":
    sys.exit(main())
