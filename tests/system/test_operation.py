# SPDX-License-Identifier: Apache-2.0
"""What those who run it look at: health, metrics, log levels."""
import contextlib
import http.client
import json
import re
import signal
import ssl

import pytest
from culvert_harness import ROOT, Topology, inside, wait_for
from exposition import AGENT_PORT, METRICS_PORT, plain, scrape
from scenes import consumer, provider


@pytest.fixture(name="watched", scope="module")
def watched_topology():
    topology = Topology(
        nodes=2,
        control_flags=("--metrics", f"198.18.0.254:{METRICS_PORT}", "--drain", "20"),
        agent_flags=("--metrics", f"0.0.0.0:{AGENT_PORT}"),
    )
    yield topology
    topology.close()


def anonymous(net, path):
    """Status and body of a GET of the API without a token."""
    trust = ssl.create_default_context(cafile=str(net.ca))
    with inside(net.control):
        connection = http.client.HTTPSConnection(
            net.control_address, 8443, timeout=10, context=trust
        )
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
    return answer.status, text


def documented(program):
    """Type by name, from the program's table in docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text()
    section = text.split(f"\n## {program}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))


def test_the_documents_list_every_metric_that_is_served_and_no_other(watched):
    net = watched
    # what has a label by peer or by interface is there when they are
    made = provider(net, net.nodes)
    client = consumer(net, net.nodes[0])
    net.endpoint(client.group, client.subnet(), made.service)
    # exporters add metrics about themselves
    own = ("culvert", "process_")

    def served(address, port):
        types, _ = scrape(watched, address, port)
        return {name: kind for name, kind in types.items() if name.startswith(own)}

    for program, address, port in (
        ("culvertd", watched.control_address, METRICS_PORT),
        ("culvert-agent", "198.18.0.1", AGENT_PORT),
    ):
        wanted = documented(program)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: served(address, port).keys() >= wanted.keys(), 10, 0.2)
        assert served(address, port) == wanted, program


def test_requests_nodes_and_certificates_are_counted(watched):
    net = watched

    def values():
        return scrape(net, net.control_address, METRICS_PORT)[1]

    def requests(code, kind="microsoft.resources/resourcegroups", verb="write"):
        name = f'culvertd_requests_total{{type="{kind}",verb="{verb}",code="{code}"}}'
        return values().get(name, 0)

    made, refused = requests(201), requests(400, "sign-in")
    before = values()
    net.group()
    assert requests(201) == made + 1
    after = values()
    took = 'culvertd_request_seconds_count{class="write"}'
    assert after[took] > before[took]
    store = "culvertd_store_transaction_seconds_count"
    assert after[store] > before[store]
    assert after["culvertd_ready"] == 1
    wait_for(lambda: values()['culvertd_nodes{state="live"}'] == 2, 10, 0.05, "a live node")
    assert after["culvertd_node_certificate_expiry_seconds"] > 80 * 86400
    for name in ("authority", "api", "nodes"):
        left = after[f'culvertd_certificate_expiry_seconds{{certificate="{name}"}}']
        assert 300 * 86400 < left < 3651 * 86400
    failures = before["culvertd_sign_in_failures_total"]
    with inside(net.control):
        trust = ssl.create_default_context(cafile=str(net.ca))
        connection = http.client.HTTPSConnection(
            net.control_address, 8443, timeout=10, context=trust
        )
        connection.request("POST", "/adfs/oauth2/token", "grant_type=password&client_id=x")
        assert connection.getresponse().status == 400
        connection.close()
    assert requests(400, "sign-in") == refused + 1
    assert values()["culvertd_sign_in_failures_total"] == failures + 1


def test_no_client_can_make_a_new_label(watched):
    net = watched
    for path in ("/no/such/path", "/culvert/invented", "/subscriptions/x/providers/My.Own/thing"):
        assert anonymous(net, path)[0] in (400, 401, 404)
        net.rest.call("GET", path)
    _, values = scrape(net, net.control_address, METRICS_PORT)
    assert not [name for name in values if "invented" in name or "my.own" in name.lower()]


def test_strangers_see_health_and_nothing_else(watched):
    net = watched
    assert anonymous(net, "/healthz") == (200, "ok\n")
    assert anonymous(net, "/readyz") == (200, "ok\n")
    assert anonymous(net, "/metrics")[0] in (401, 404), "on its own listener alone"
    assert plain(net, net.control_address, METRICS_PORT, "/healthz")[0] == 404


def test_the_log_level_changes_while_the_processes_run(watched):
    node = watched.nodes[0]

    def levels(*argv):
        return json.loads(node.culvert("log-level", *argv, "--output", "json").stdout)

    was = levels()
    assert set(was) == {"culvertd", "culvert-agent"}
    try:
        assert levels("debug", "--component", "culvert-agent") == {"culvert-agent": "debug"}
        assert levels() == {**was, "culvert-agent": "debug"}
        assert levels("trace") == {"culvertd": "trace", "culvert-agent": "trace"}
        assert "log level" in watched.culvertd.log.read_text()
    finally:
        levels(was["culvertd"])
    refused = node.culvert("log-level", "loud", check=False)
    assert refused.returncode == 2 and "loud" in refused.stderr
    answer = watched.rest.call("POST", "/culvert/log-level", {"level": "loud"}, None)
    assert answer.status == 400
    assert levels() == {"culvertd": was["culvertd"], "culvert-agent": was["culvertd"]}


def test_readiness_ends_before_the_service_does(watched):
    """The last test here: it stops culvertd."""
    watched.culvertd.send(signal.SIGTERM)
    wait_for(lambda: anonymous(watched, "/readyz") == (503, "not ready\n"), 15, 0.05, "not ready")
    assert anonymous(watched, "/healthz") == (200, "ok\n")
    assert watched.culvertd.alive()
    watched.culvertd.send(signal.SIGTERM)  # a second one ends the wait
    wait_for(lambda: not watched.culvertd.alive(), 30, 0.05, "the end")
