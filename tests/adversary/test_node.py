# SPDX-License-Identifier: Apache-2.0
"""A hostile node: its certificate is valid, what it says over it is not."""
import base64
import contextlib
import json
import shutil
import signal
import socket

import packets
import pytest
from culvert_harness import inside, run, wait_for
from frames import eth, ip, mac_of, tcp, udp
from liar import Liar
from scenes import consumer, index_of, link_id, provider

LIAR_OUTER = "192.0.2.66"


@pytest.fixture(scope="module")
def identity(net):
    return net.join("liar", LIAR_OUTER, net.folder / "liar")


@pytest.fixture(scope="module")
def liar(net, identity):
    process = Liar(net, identity)
    yield process
    process.close()


def counters(net):
    return net.rest.get("/culvert/nodes", None)["counters"]


@contextlib.contextmanager
def counted(net, ledger, attack, refused_by, counter):
    """What happens inside moves the hub's counter."""
    before = counters(net)[counter]
    yield
    moved = wait_for(lambda: counters(net)[counter] - before, 10, 0.02, f"{counter} of the hub")
    ledger.note("node", attack, refused_by, f"culvertd {counter} +{moved}")


def hello(node="liar", **more):
    return {"node": node, **more}


def test_a_node_cannot_speak_as_another(net, liar, ledger):
    with counted(net, ledger, "stream: hello of another node", "PERMISSION_DENIED", "refused"):
        stream = liar.open()
        liar.say(stream, hello=hello("n1"))
        assert liar.end(stream)[0] == "PERMISSION_DENIED"
    with counted(net, ledger, "stream: hello of nobody", "PERMISSION_DENIED", "refused"):
        stream = liar.open()
        liar.say(stream, hello=hello("nobody"))
        assert liar.end(stream)[0] == "PERMISSION_DENIED"


def test_claiming_others_interfaces_brings_nothing(net, liar, ledger):
    """what a node is told follows from attachments, which a caller's token made, never from what
    the node says"""
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    net.endpoint(client.group, client.subnet(), made.service)
    nics = [client.workload.nic, made.workloads[0].nic]
    stream = liar.open()
    liar.say(stream, hello=hello(plumbed=nics))
    (delta,) = liar.deltas(stream)
    kinds = {kind for each in delta.get("upsert", []) for kind in each}
    assert delta["snapshot"] and kinds <= {"config", "peer"}, kinds
    own = {node["name"]: node for node in net.rest.get("/culvert/nodes", None)["value"]}
    assert own["liar"]["attached"] == 0 and own["n1"]["attached"] >= 1
    ledger.note("node", "stream: claims others' interfaces as plumbed", "not believed",
                "objects sent: " + ", ".join(sorted(kinds)))
    # and it cannot attach them: the API asks for a caller's token
    for headers in ({}, {"Authorization": "Bearer "}):
        answer = net.rest.exchange(
            "POST", f"{nics[0]}/attach?api-version=2024-05-01",
            json.dumps({"node": "liar"}).encode(), {"Content-Type": "application/json", **headers})
        assert answer.status == 401, answer.raw
    ledger.note("node", "API: attach without a caller's token", "401", "status 401")


def test_resuming_from_what_was_never_held_gives_a_snapshot(net, liar, ledger):
    stream = liar.open()
    liar.say(stream, hello=hello())
    epoch = liar.deltas(stream)[0]["epoch"]
    for version in (2**63, 2**64 - 1, 10**6):
        with counted(net, ledger, f"stream: resumes from version {version}", "a snapshot",
                     "snapshots"):
            stream = liar.open()
            liar.say(stream, hello=hello(epoch=epoch, version=str(version)))
            assert liar.deltas(stream)[0]["snapshot"]


def test_acknowledging_what_was_never_sent_ends_the_stream(net, liar, ledger):
    for version in (2, 1000, 2**63, 2**64 - 1):
        with counted(net, ledger, f"stream: acknowledges version +{version}", "INVALID_ARGUMENT",
                     "garbage"):
            stream = liar.open()
            liar.say(stream, hello=hello())
            sent = int(liar.deltas(stream)[0]["version"])
            liar.say(stream, ack={"version": str(min(sent + version, 2**64 - 1))})
            assert liar.end(stream)[0] == "INVALID_ARGUMENT"


def test_messages_out_of_place_end_the_stream(net, liar, ledger):
    for attack, first, then in (
        ("acknowledgement before hello", {"ack": {"version": "1"}}, None),
        ("heartbeat before hello", {"heartbeat": {}}, None),
        ("an empty message", {}, None),
        ("hello twice", {"hello": hello()}, {"hello": hello()}),
        ("an empty message after hello", {"hello": hello()}, {}),
    ):
        with counted(net, ledger, f"stream: {attack}", "INVALID_ARGUMENT", "garbage"):
            stream = liar.open()
            liar.say(stream, **first)
            if then is not None:
                liar.deltas(stream)
                liar.say(stream, **then)
            assert liar.end(stream)[0] == "INVALID_ARGUMENT"


def metric(net, resource, name):
    """The sum of a resource's metric over the last hours."""
    answer = net.rest.get(
        f"{resource}/providers/Microsoft.Insights/metrics?metricnames={name}&timespan=PT3H"
        "&interval=FULL", "2023-10-01")
    return sum(point.get("total", 0) for line in answer["value"][0]["timeseries"]
               for point in line["data"])


def test_totals_of_others_links_are_not_believed(net, liar, ledger):
    """a node may speak of ends that live on it alone, and its numbers only grow"""
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    client.workload.ask(address, 80)
    wait_for(lambda: metric(net, endpoint, "PEBytesIn"), 60, 0.3, "an honest node's report")
    link = link_id(net, made, endpoint) & 0x7FFFFF
    service = {"service": 1, "address": 1, "used": 5, "ports": 6}
    huge = {"consumerInBytes": str(2**40), "consumerOutBytes": str(2**40),
            "providerInBytes": str(2**40), "providerOutBytes": str(2**40)}
    for attack, totals in (
        ("totals of another node's link", {"links": [{"link": link} | huge]}),
        ("totals of links that there are not", {"links": [{"link": 2**32 - 1} | huge] * 300}),
        ("NAT ports of another's service", {"nat": [service]}),
        ("more NAT ports than there are", {"nat": [service | {"used": 2**32 - 1}]}),
    ):
        with counted(net, ledger, f"stream: {attack}", "not counted", "refusedTotals"):
            stream = liar.open()
            liar.say(stream, hello=hello())
            liar.deltas(stream)
            liar.say(stream, totals={"epoch": "7"} | totals)
    for resource, name in ((endpoint, "PEBytesIn"), (made.service, "PLSBytesIn"),
                           (made.service, "PLSBytesOut"), (made.balancer, "ByteCount")):
        assert metric(net, resource, name) < 2**30, name


def test_garbage_ends_the_stream(net, liar, ledger):
    for raw in ("ff", "0a", "0affffffff0f", "00" * 64, "de" * 1000):
        with counted(net, ledger, f"stream: garbage {raw[:12]}", "INVALID_ARGUMENT", "garbage"):
            stream = liar.open()
            liar.ask(do="bytes", stream=stream, hex=raw)
            assert liar.end(stream)[0] == "INVALID_ARGUMENT"


def test_giant_messages_are_not_read(net, liar, ledger):
    for size in (64 * 1024 + 1, 8 << 20):
        stream = liar.open()
        liar.ask(do="fill", stream=stream, count=size)
        status = liar.end(stream)[0]
        assert status in ("RESOURCE_EXHAUSTED", "CANCELLED"), status
        ledger.note("node", f"stream: a message of {size} bytes", "the size limit",
                    f"status {status}")


def test_of_two_streams_with_one_certificate_the_newer_is_the_node(net, liar, ledger):
    with counted(net, ledger, "stream: twice with one certificate", "the older one ends",
                 "replaced"):
        first = liar.open()
        liar.say(first, hello=hello())
        liar.deltas(first)
        second = liar.open()
        liar.say(second, hello=hello())
        assert liar.end(first)[0] == "ABORTED"
        liar.deltas(second)


def test_a_node_acknowledges_for_itself_alone(net, liar, ledger):
    """an operation that concerns a stopped node is not done because another node says so"""
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    stream = liar.open()
    liar.say(stream, hello=hello())
    sent = int(liar.deltas(stream)[0]["version"])
    net.nodes[0].agent.send(signal.SIGSTOP)
    try:
        path = f"{client.group}/providers/Microsoft.Network/privateEndpoints/{net.name('pe')}"
        liar.say(stream, ack={"version": str(sent)})
        answer = net.rest.call("PUT", path, net.endpoint_body(client.subnet(), made.service))
        assert answer.status == 201 and "azure-asyncoperation" in answer.headers, answer.raw
    finally:
        net.nodes[0].agent.send(signal.SIGCONT)
    done = net.rest.put(path, net.endpoint_body(client.subnet(), made.service))
    address = net.endpoint_address(done)
    assert client.workload.ask(address, 80)[0] == "backend0"
    ledger.note("node", "stream: acknowledges while the node concerned is stopped",
                "each for itself", "operation stays InProgress")


def forged_syn(net, made, path, endpoint, nic, address):
    """What the lying node's host sends for its consumer, to the second node."""
    link = packets.VNI_LINK | link_id(net, made, path)
    backend = index_of(net.nodes[1], made.workloads[0])
    inner = eth(packets.mac(nic), ip(address, endpoint, 6, tcp(address, endpoint, 33333, 80)),
                packets.mac(backend))
    datagram = udp(50000, packets.VXLAN_PORT, packets.vxlan(link, inner))
    there = mac_of(net.nodes[1].namespace, "bb0")
    return eth(mac_of(net.backbone, "br0"), ip(LIAR_OUTER, net.nodes[1].outer, 17, datagram), there)


def test_a_node_that_acknowledges_and_does_not_apply_keeps_nothing_open(net, liar, ledger):
    """a consumer attached to it by its owner: what the node does not enforce the other end does"""
    stream = liar.open(obey=True)
    liar.say(stream, hello=hello())
    liar.deltas(stream)
    made = provider(net, [net.nodes[1]])
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    nic, address = net.nic(group, subnet)
    net.rest.good("POST", f"{nic}/attach", {"node": "liar"})
    path, endpoint = net.endpoint(group, subnet, made.service)

    def index():
        told = [each["nic"] for delta in liar.deltas(stream) for each in delta.get("upsert", [])
                if "nic" in each]
        return next((each["index"] for each in told if each["id"].lower() == nic.lower()), None)

    own = wait_for(index, 10, 0.05, "the interface's index")
    frame = forged_syn(net, made, path, endpoint, own, address)
    with inside(net.backbone):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        sock.bind(("br0", 3))
        before = net.nodes[1].counters()["LINK_IN"]
        sock.send(frame)  # approved: it is the node of that consumer
        wait_for(lambda: net.nodes[1].counters()["LINK_IN"] > before, 10, 0.02, "its own packet")
        net.decide(made.service, path, "Rejected")
        with ledger.dropped("node", "stream: acknowledges a revocation, goes on sending",
                            net.nodes[1], "LINK_REFUSED", 3):
            for _ in range(3):
                sock.send(frame)
    net.rest.good("POST", f"{nic}/detach", {"node": "liar"})


def test_what_a_node_says_about_itself_is_bounded(net, liar, ledger):
    with counted(net, ledger, "stream: endless error texts", "cut to 256 characters", "ackErrors"):
        stream = liar.open()
        liar.say(stream, hello=hello(build="b" * 60000))
        sent = liar.deltas(stream)[0]["version"]
        liar.say(stream, ack={"version": sent, "error": "e" * 60000})
    shown = net.rest.get("/culvert/nodes/liar", None)
    assert len(shown["build"]) <= 256 and len(shown["error"]) <= 256
    # it says it cannot apply: nobody else waits for it
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    assert client.workload.ask(address, 80)[0] == "backend0"


def test_only_certificates_of_this_installation_open_a_stream(net, liar, identity, ledger):
    other = net.folder / "forged"
    other.mkdir()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", other / "key", "-out", other / "crt", "-subj", "/CN=n1", "-days", "2")
    (other / "node.pem").write_text((other / "key").read_text() + (other / "crt").read_text())
    for attack, cert in (("no client certificate", "none"), ("a certificate of its own making",
                                                             other)):
        stream = liar.open(cert)
        liar.say(stream, hello=hello("n1"))
        assert liar.end(stream)[0] == "UNAVAILABLE"
        ledger.note("node", f"stream: {attack}", "the TLS handshake", "status UNAVAILABLE")


def test_joining_takes_nothing_from_another_node(net, ledger):
    def attempt(**fields):
        request = run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
                      "-subj", f"/CN={fields.get('cn', fields['name'])}").stdout
        body = {"name": fields["name"], "outer": fields["outer"], "token": fields["token"],
                "csr": fields.get("csr", request)}
        return net.rest.exchange("POST", "/culvert/join", json.dumps(body).encode(),
                                 {"Content-Type": "application/json"})

    def token(name=None):
        return net.rest.good("POST", "/culvert/join-tokens", {"name": name} if name else {},
                             None)["token"]

    used = token()
    for attack, expected, fields in (
        ("another node's name", "NodeExists",
         {"name": "n1", "outer": "192.0.2.71", "token": token()}),
        ("another node's backbone address", "BackboneAddressInUse",
         {"name": "thief", "outer": net.nodes[0].outer, "token": token()}),
        ("a token for another name", "InvalidJoinToken",
         {"name": "thief", "outer": "192.0.2.72", "token": token("somebody")}),
        ("a guessed token", "InvalidJoinToken",
         {"name": "thief", "outer": "192.0.2.72",
          "token": base64.urlsafe_b64encode(b"\0" * 30).decode()}),
    ):
        answer = attempt(**fields)
        assert (answer.status >= 400, answer.code) == (True, expected), answer.raw
        ledger.note("node", f"join: {attack}", expected, f"status {answer.status}")
    # a request for another name than its own gets a certificate for its own
    answer = attempt(name="honest", cn="n1", outer="192.0.2.73", token=used)
    if answer.status == 200:
        subject = run("openssl", "x509", "-noout", "-subject", input=answer["certificate"]).stdout
        assert "n1" not in subject and "honest" in subject, subject
    ledger.note("node", "join: a certificate request that names another", "the name that joins",
                f"status {answer.status}")
    again = attempt(name="second", outer="192.0.2.74", token=used)
    assert again.code == "InvalidJoinToken" or answer.status != 200, again.raw
    ledger.note("node", "join: a token used twice", "InvalidJoinToken", f"status {again.status}")
    if answer.status == 200:
        net.rest.delete("/culvert/nodes/honest", None)


def test_a_certificate_is_worth_nothing_after_it_was_replaced_or_its_node_removed(
    net, ledger
):
    old = net.join("leaver", "192.0.2.67", net.folder / "leaver")
    new = net.join("leaver", "192.0.2.67", net.folder / "leaver-again")
    ghost = Liar(net, old)
    try:
        with counted(net, ledger, "stream: a certificate that was replaced", "PERMISSION_DENIED",
                     "refused"):
            stream = ghost.open()
            ghost.say(stream, hello=hello("leaver"))
            assert ghost.end(stream)[0] == "PERMISSION_DENIED"
        live = ghost.open(new)
        ghost.say(live, hello=hello("leaver"))
        ghost.deltas(live)
        with counted(net, ledger, "stream: open while the node is removed", "PERMISSION_DENIED",
                     "refused"):
            net.rest.delete("/culvert/nodes/leaver", None)
            assert ghost.end(live)[0] == "PERMISSION_DENIED"
        with counted(net, ledger, "stream: a removed node's certificate", "PERMISSION_DENIED",
                     "refused"):
            stream = ghost.open(new)
            ghost.say(stream, hello=hello("leaver"))
            assert ghost.end(stream)[0] == "PERMISSION_DENIED"
    finally:
        ghost.close()
        shutil.rmtree(old, ignore_errors=True)
