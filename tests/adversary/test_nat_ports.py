# SPDX-License-Identifier: Apache-2.0
"""Two tenants use one service with one backend: one of them takes all NAT ports that it gets. It is
refused by name, the other never notices, and a second NAT address doubles the room at once."""
import contextlib
import threading

import culvert_harness
import pytest
from culvert_harness import wait_for
from datagrams import naming, opens, speechless
from scenes import BACKEND_PORT, consumer, provider, set_nat

FLOWS = 1 << 20  # the default: quotas of the flow table come after those of the ports
PORTS = 65536 - 1024
SHARE = PORTS * 3 // 4
FIRST, SECOND = "10.0.0.77", "10.0.0.78"
RULES = ((80, BACKEND_PORT), (53, 5353, "Udp"), (54, 5353, "Udp"))


@pytest.fixture(name="alone", scope="module")
def _alone():
    with contextlib.closing(culvert_harness.Topology(nodes=1, flows=FLOWS)) as topology:
        yield topology


class Quiet:
    """The other tenant: connections one after the other, by TCP and by UDP; each must work."""

    def __init__(self, workload, address):
        self.workload, self.address = workload, address
        self.done, self.failed = 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self):
        port = 2000
        while not self.over.is_set():
            try:
                self.workload.ask(self.address, 80, b"hello", timeout=30)
                port += 1
                answered = opens(self.workload, self.address, 53, port, 1)
                assert answered, f"datagram from port {port}"
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failed.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()


def used(node, address):
    """The connections that have the NAT address, by what the node tells."""
    return sum(
        ports["used"] for ports in node.status()["natPorts"] if ports["address"] == address
    )


def test_a_tenant_that_takes_every_port_is_refused_and_the_other_is_served(alone, ledger):
    net, node = alone, alone.nodes[0]
    made = provider(net, [node], rules=RULES, nat=[FIRST])
    clients = []
    for _ in range(2):
        client = consumer(net, node)
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        clients.append((client.workload, address))
    (greedy, address), (other, other_address) = clients
    backend = made.workloads[0]
    with naming(backend, 5353, "it"), speechless(greedy, 53, 54), speechless(other, 53):
        with Quiet(other, other_address) as quiet:
            with ledger.dropped("workload", "more than its share of NAT ports", node, "NAT_QUOTA",
                                1000):
                assert len(opens(greedy, address, 53, 1024, 60000)) == SHARE
            # what is told is what is there, soon: the other's few come on top
            wait_for(lambda: used(node, FIRST) >= SHARE, 30, 0.5, "the ports to be told")
            assert used(node, FIRST) <= SHARE + quiet.done + 1
            assert node.drops()["NAT_EXHAUSTED"] == 0
            set_nat(net, made, [FIRST, SECOND])
            assert len(opens(greedy, address, 54, 1024, 60000)) == SHARE, "twice the room"
            least = 2 * SHARE - PORTS
            wait_for(lambda: used(node, SECOND) >= least, 30, 0.5, "the second address's ports")
        assert quiet.done > 0 and not quiet.failed
        assert node.drops()["FLOW_TABLE_FULL"] == 0
