#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do answers about what one may not see take as long as answers about what is not there? 1,000 of
each, interleaved, over one connection; the medians must be within 5 %. A machine that is busy with
something else is given three tries. (That the answers read alike is tested in every check:
tests/adversary/test_tenants.py.)"""
import pathlib
import statistics
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
for folder in ("harness", "system", "adversary"):
    sys.path.insert(0, str(TESTS / folder))

import culvert_harness  # noqa: E402
from scenes import provider  # noqa: E402
from test_tenants import Attacker, references, settle, targets  # noqa: E402

ROUNDS, WITHIN, TRIES = 1000, 0.05, 3


def medians(ask, there, absent):
    took = ([], [])
    for turn in range(ROUNDS):
        for side in ((0, 1), (1, 0))[turn % 2]:
            begin = time.perf_counter()
            ask((there, absent)[side])
            took[side].append(time.perf_counter() - begin)
    return tuple(statistics.median(each) for each in took)


def alike(what, ask, there, absent):
    for attempt in range(1, TRIES + 1):
        seen, unseen = medians(ask, there, absent)
        ratio = seen / unseen
        print(f"{what}: {seen * 1e6:.0f} us there, {unseen * 1e6:.0f} us absent, ratio {ratio:.3f}"
              f" (try {attempt})", flush=True)
        if abs(ratio - 1) <= WITHIN:
            return True
    return False


def main():
    culvert_harness.interrupt_on_signals()
    net = culvert_harness.Topology(nodes=1)
    try:
        made = provider(net, [net.nodes[0]], auto=False)
        shown = net.rest.get(made.service)
        shown["properties"]["visibility"] = {"subscriptions": []}
        net.rest.put(made.service, dict(shown))
        good = True
        for tenant in (False, True):
            attacker = Attacker(net, tenant)
            label = "another tenant" if tenant else "the same tenant"
            for path in (made.service, made.vnet, made.workloads[0].nic):
                get = lambda target: attacker.rest.call("GET", target)  # noqa: B023,E731
                good &= alike(f"GET {path.split('/')[-2]}, {label}", get, path, path + "none")
            for what, path, body, where, kind in references(attacker):
                if kind not in ("service", "subnet", "pool", "frontend"):
                    continue

                def put(target, path=path, body=body, where=where):
                    settle(body, *where[:-1])[where[-1]] = target
                    return attacker.rest.call("PUT", path, body)  # noqa: B023

                good &= alike(f"PUT {what}, {label}", put, *targets(made)[kind])
            attacker.rest.close()
        return 0 if good else 1
    finally:
        net.close()


if __name__ == "__main__":
    sys.exit(main())
