# SPDX-License-Identifier: Apache-2.0
"""A hostile node and the moves of NICs: it has nothing to do with the move, it is where the NIC
goes, or it is what the NIC leaves."""
import ipaddress
import json
import subprocess

import pytest
from culvert_harness import BIN, NETWORK, ns_command, wait_for
from liar import Liar
from moves import entries, settled
from scenes import BACKEND_PORT, consumer, index_of, link_id, nat_addresses, provider

MOVER_OUTER = "192.0.2.68"
NO_PLACE = "speaks of a NIC that does not move there"


@pytest.fixture(scope="module")
def liar(net):
    process = Liar(net, net.join("mover", MOVER_OUTER, net.folder / "mover"))
    yield process
    process.close()


@pytest.fixture
def stream(liar):
    name = liar.open(obey=True)
    liar.say(name, hello={"node": "mover"})
    liar.deltas(name)
    return name


def move(net, nic, node, **more):
    return net.rest.call("POST", f"{nic}/migrate", {"node": node, **more}, NETWORK)


def stage(net, nic):
    listed = net.rest.good("GET", "/culvert/attachments", None, None)["value"]
    return next(one for one in listed if one["nic"].lower() == nic.lower()).get("move")


def refused(net, liar, stream, ledger, attack, **message):
    """The message ends the stream, and the hub counts it."""
    before = net.rest.get("/culvert/nodes", None)["counters"]["garbage"]
    liar.say(stream, **message)
    status, words = liar.end(stream)
    assert (status, NO_PLACE in words) == ("INVALID_ARGUMENT", True), (status, words)
    moved = net.rest.get("/culvert/nodes", None)["counters"]["garbage"] - before
    assert moved >= 1
    ledger.note("node", attack, "INVALID_ARGUMENT", f"culvertd garbage +{moved}")


@pytest.mark.parametrize("what", ["flows", "CARRYING", "FAILED"])
def test_a_node_that_a_nic_does_not_move_from_or_to_has_no_say(net, liar, stream, ledger, what):
    """even when it knows the move's id, which it is never told"""
    made = provider(net, [net.nodes[0]])
    nic = made.workloads[0].nic
    named = {"nic": index_of(net.nodes[0], made.workloads[0]),
             "attachment": move(net, nic, "n2")["move"]}
    if what == "flows":
        message = {"flows": {**named, "last": True}}
    else:
        message = {"report": {**named, "what": what}}
    refused(net, liar, stream, ledger, f"move: {what} for a move of two others", **message)
    assert stage(net, nic) == "preparing"
    assert move(net, nic, "n2", callOff=True)["calledOff"]


def test_the_target_gets_what_the_source_has_of_that_nic_alone(net, liar, stream, ledger):
    """it asks for the flows of another NIC by its own move"""
    made = provider(net, [net.nodes[0], net.nodes[0]])
    client = consumer(net, net.nodes[1])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    socks = [client.workload.connect(address, 80) for _ in range(8)]
    mine, victim = (index_of(net.nodes[0], each) for each in made.workloads)
    begun = move(net, made.workloads[0].nic, "mover")["move"]
    liar.say(stream, report={"nic": victim, "attachment": begun, "what": "READY"})
    liar.say(stream, report={"nic": mine, "attachment": begun, "what": "READY"})
    flows = liar.heard(stream, "flows")
    told = [flow for part in flows for flow in part.get("flows", [])]
    assert all(part["nic"] == mine for part in flows)
    assert all(mine in (flow["consumer"]["nic"], flow["backend"]["nic"]) for flow in told)
    ledger.note("node", "move: the target asks for the flows of another NIC", "not answered",
                f"parts about it: 0 of {len(flows)}")
    # nor does it carry before the store says so
    liar.say(stream, report={"nic": mine, "attachment": begun, "what": "CARRYING"})
    liar.say(stream, heartbeat={})
    liar.heard(stream, "lease")
    assert stage(net, made.workloads[0].nic) == "preparing"
    ledger.note("node", "move: the target carries before the source has let go", "not believed",
                "stage preparing")
    assert move(net, made.workloads[0].nic, "mover", callOff=True)["calledOff"]
    for sock in socks:
        sock.close()


def told(liar, stream, kind):
    """The objects of a kind that the node knows, by id."""
    found = {}
    for delta in liar.deltas(stream):
        for each in delta.get("upsert", []):
            if kind in each:
                one = each[kind]
                found[one["id"].lower() if kind == "nic" else one["id"]] = one
    return found


def wrong_ones(sample, others):
    """Connections that are wrong in one thing each."""
    changes = {
        "a link that is not there": {"link": 4000},
        "a rejected link": others["rejected"],
        "an earlier approval": {"linkGeneration": sample["linkGeneration"] - 1},
        "a later approval": {"linkGeneration": sample["linkGeneration"] + 1},
        "another endpoint address": {"endpoint": sample["endpoint"] + 1},
        "a port without a rule": {"endpointPort": 81},
        "another protocol": {"protocol": 17},
        "a NAT address of nobody": {"nat": sample["nat"] + 1000},
        "a NAT port of the host's": {"natPort": 80},
        "another backend port": {"backend": {"port": 22}},
        "another backend address": {"backend": {"address": sample["backend"]["address"] + 1}},
        "an earlier backend": {"backend": {"generation": sample["backend"]["generation"] + 1}},
        "a backend that does not move": {"backend": others["backend"]},
        "an earlier consumer": {"consumer": {"generation": sample["consumer"]["generation"] + 1}},
        "another consumer address": {"consumer": {"address": sample["consumer"]["address"] + 1}},
        "a consumer of another network": {"consumer": others["stranger"]},
        "a consumer here that knows nothing of it": others["near"],
    }
    out = []
    for number, change in enumerate(changes.values()):
        flow = {**sample, "natPort": sample["natPort"] + 1 + number, **change}
        for end in ("consumer", "backend"):
            flow[end] = {**sample[end], **change.get(end, {})}
        flow["consumer"]["port"] = sample["consumer"]["port"] + 1 + number
        out.append(flow)
    return changes, out


def test_flows_that_the_intent_does_not_allow_are_not_taken_in(net, liar, stream, ledger):
    """the source makes connections up: each is wrong in one thing, and one in none"""
    target = net.nodes[1]
    made = provider(net, [target])
    nic, address = net.nic(made.group, made.subnet(), None, made.pool)
    net.rest.call("POST", f"{nic}/attach", {"node": "mover"}, NETWORK)
    clients = {"far": consumer(net, net.nodes[0]), "near": consumer(net, target),
               "rejected": consumer(net, net.nodes[0])}
    links = {}
    for name, client in clients.items():
        endpoint, _ = net.endpoint(client.group, client.subnet(), made.service)
        links[name] = link_id(net, made, endpoint)
    net.decide(made.service, endpoint, "Rejected")

    moving = net.unplugged(nic, target, address)
    command = subprocess.Popen(
        ns_command(target.namespace, BIN / "culvert", "migrate", "--nic", nic, "--netns",
                   moving.namespace, "--data-dir", target.data, "--output", "json"),
        env=net.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (order,) = liar.heard(stream, "order")
    nics, known = told(liar, stream, "nic"), told(liar, stream, "link")

    def end(of, port):
        one = nics[of.lower()]
        return {"nic": one["index"], "generation": one["generation"], "address": one["address"],
                "port": port}

    def by(name):
        link, client = known[links[name]], clients[name].workload
        return {"link": link["id"], "linkGeneration": link["generation"],
                "endpoint": link["endpoint"], "consumer": end(client.nic, 40000)}

    nat = int(ipaddress.ip_address(min(nat_addresses(net, made))))
    sample = {**by("far"), "backend": end(nic, BACKEND_PORT), "protocol": 6, "endpointPort": 80,
              "nat": nat, "natPort": 5000, "ageNs": 10**9, "idleNs": 10**6, "packets": 3}
    others = {"rejected": by("rejected"), "near": by("near"),
              "backend": end(made.workloads[0].nic, BACKEND_PORT),
              "stranger": end(clients["near"].workload.nic, 40000)}
    changes, wrong = wrong_ones(sample, others)
    part = {"nic": order["nic"], "attachment": order["attachment"], "restart": True, "last": True,
            "flows": [sample, *wrong]}
    liar.say(stream, flows=part)
    wait_for(lambda: stage(net, nic) == "moving", 20, 0.02, "moving")
    liar.say(stream, flows={**part, "final": True})
    said, errors = command.communicate(timeout=60)
    assert command.returncode == 0, errors
    moved = json.loads(said)
    assert (moved["connections"], moved["refusedConnections"]) == (1, len(wrong)), moved
    assert len(entries(net, order["nic"])[target.name]) == 2, "the one connection's"
    for attack in changes:
        ledger.note("node", f"move: {attack}", "not taken in", "refusedConnections +1")
    settled(net, moving)
