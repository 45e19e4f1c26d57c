# SPDX-License-Identifier: Apache-2.0
"""Servers and clients that people run, through private endpoints on one node and between two: over
a backbone that is well, loses one packet of a hundred, or delivers some late."""
import contextlib
import hashlib
import json
import os
import re
import subprocess

import pytest
from backbone import filtered, reordered
from culvert_harness import ns_command
from servers import POSTGRES, dtls, iperf3, nginx, postgresql, talking, unbound
from test_ipv6 import six_consumer, six_endpoint

pytestmark = pytest.mark.filterwarnings("error")
WEB, SQL, PERF, DNS, TLS = 8080, 5432, 5201, 5353, 4433
RULES = (
    (80, WEB),
    (5432, SQL),
    (5201, PERF),
    (5201, PERF, "Udp"),
    (53, DNS),
    (53, DNS, "Udp"),
    (443, TLS, "Udp"),
)
MEGABYTE = 1 << 20
SIZES = (1, 32, 1024)  # megabytes
ROWS = 20_000
SCHEMA = f"""create table t (id int primary key, body text);
insert into t select n, repeat(md5(n::text), 20) from generate_series(1, {ROWS}) n;
"""


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory):
    """Files of SIZES, by name their SHA-256; no two megabytes are alike."""
    folder = tmp_path_factory.mktemp("files")
    block, sums = os.urandom(MEGABYTE - 8), {}
    for size in SIZES:
        digest = hashlib.sha256()
        with open(folder / f"{size}", "wb") as out:
            for number in range(size):
                piece = block + number.to_bytes(8, "big")
                out.write(piece)
                digest.update(piece)
        sums[size] = digest.hexdigest()
    yield folder, sums
    for size in SIZES:
        (folder / f"{size}").unlink()


@pytest.fixture(name="place", scope="module", params=[False, True], ids=["one node", "two nodes"])
def _place(net, request):
    """A backend without servers, a consumer, and the endpoint's addresses, IPv4's and IPv6's."""
    node = net.nodes[-1 if request.param else 0]
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    balancer = net.balancer(group, subnet, RULES)
    backend = net.workload(group, subnet, node, None, f"{balancer}/backendAddressPools/pool")
    client = six_consumer(net, net.nodes[0])
    service = net.service(group, balancer, subnet)
    return backend, client.workload, *six_endpoint(net, client, service)[1:]


@pytest.fixture(name="scene", scope="module")
def _scene(place):
    """The same with IPv4's address alone."""
    return place[:3]


@pytest.fixture(name="across")
def _across(net, scene):
    if scene[0].node is net.nodes[0]:
        pytest.skip("there is no backbone between them")
    return net


def fetched(workload, address, size):
    """The SHA-256 of a file as the workload gets it from the web server."""
    command = ns_command(
        workload.namespace, "curl", "-sS", "--fail", "-m", "300", f"http://{address}/{size}"
    )
    digest = hashlib.sha256()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        while piece := curl.stdout.read(MEGABYTE):
            digest.update(piece)
    assert curl.returncode == 0
    return digest.hexdigest()


def test_nginx_serves_a_megabyte_and_a_gigabyte(scene, files, tmp_path):
    backend, client, address = scene
    folder, sums = files
    with nginx(backend, tmp_path, WEB, folder):
        for size, digest in sums.items():
            assert fetched(client, address, size) == digest, size


def test_curl_dig_and_tracepath_by_ipv6(place, files, tmp_path):
    backend, client, _, six = place
    folder, sums = files
    with nginx(backend, tmp_path, WEB, folder):
        assert fetched(client, f"[{six}]", 32) == sums[32]
    with unbound(backend, tmp_path, DNS, ["www.example.test. A 203.0.113.7"]):
        for flag in ("+notcp", "+tcp"):
            asked = client.run("dig", "-6", f"@{six}", "+short", flag, "www.example.test")
            assert asked.stdout == "203.0.113.7\n"
    assert "reached" in client.run("tracepath", "-6", "-n", six).stdout


def test_nginx_over_a_backbone_that_loses(across, scene, files, tmp_path):
    backend, client, address = scene
    folder, sums = files
    lossy = [(number, "numgen random mod 100 == 0") for number in (1, 2)]
    with nginx(backend, tmp_path, WEB, folder), filtered(across, lossy):
        assert fetched(client, address, 1) == sums[1]
        assert fetched(client, address, 32) == sums[32]


def test_nginx_over_a_backbone_that_reorders(across, scene, files, tmp_path):
    backend, client, address = scene
    folder, sums = files
    with nginx(backend, tmp_path, WEB, folder), reordered(across, 2) as relay:
        assert fetched(client, address, 1) == sums[1]
        assert fetched(client, address, 32) == sums[32]
        assert relay.late > 100


def query(client, address, text, *flags):
    argv = [POSTGRES / "psql", "-h", address, "-U", "postgres", "-v", "ON_ERROR_STOP=1", *flags]
    return client.run(*argv, "-Atq", input=text).stdout.split()


def test_postgresql_and_pgbench(scene):
    backend, client, address = scene
    with postgresql(backend, SQL):
        query(client, address, SCHEMA)
        bodies = query(client, address, "select body from t order by id;")
        assert bodies == [
            hashlib.md5(str(number).encode()).hexdigest() * 20 for number in range(1, ROWS + 1)
        ]
        argv = [POSTGRES / "pgbench", "-h", address, "-U", "postgres"]
        client.run(*argv, "-i", "-q", "-s", "1", "postgres")
        # -C: each transaction over a connection of its own
        done = client.run(*argv, "-n", "-C", "-c", "4", "-t", "25", "postgres").stdout
        assert re.search(r"actually processed: 100/100\s*$", done, re.M), done
        assert query(client, address, "select count(*) from pgbench_history;") == ["100"]


def test_unbound_and_dig(scene, tmp_path):
    backend, client, address = scene
    strings = " ".join(f'"{number:03}{"x" * 200}"' for number in range(20))
    records = ["www.example.test. A 203.0.113.7", f"large.example.test. TXT {strings}"]
    with unbound(backend, tmp_path, DNS, records):

        def dig(*argv):
            return client.run("dig", f"@{address}", "+time=5", "+tries=2", *argv).stdout

        assert dig("+short", "www.example.test") == "203.0.113.7\n"
        assert dig("+short", "+tcp", "www.example.test") == "203.0.113.7\n"
        assert "status: NXDOMAIN" in dig("none.example.test")
        # an answer of four thousand bytes: in fragments, and over TCP when it was cut
        large = ("large.example.test", "TXT")
        whole = dig("+bufsize=8192", "+ignore", *large)
        assert whole.count("x" * 200) == 20 and "(UDP)" in whole
        again = dig("+bufsize=1232", *large)
        assert again.count("x" * 200) == 20 and "(TCP)" in again


def test_iperf3_streams_and_datagrams(scene, tmp_path):
    backend, client, address = scene
    with iperf3(backend, tmp_path, PERF):

        def measured(*argv):
            return json.loads(client.run("iperf3", "-c", address, "-J", *argv).stdout)["end"]

        for direction in ((), ("-R",)):
            # what sockets still hold when the last byte was sent is not counted: they hold little
            end = measured("-P", "4", "-n", "100M", "-w", "256K", *direction)
            assert "sum_received" in end, end
            assert end["sum_received"]["bytes"] >= 99_000_000
        end = measured("-u", "-b", "20M", "-n", "2M", "-l", "1400")
        # what is lost is lost by queues of a busy machine
        assert end["sum"]["packets"] - end["sum"]["lost_packets"] > 500


def test_dtls(scene, tmp_path):
    backend, client, address = scene
    with dtls(backend, tmp_path, TLS) as (server, certificate):
        argv = ["-dtls1_2", "-connect", f"{address}:443", "-CAfile", certificate, "-quiet"]
        with talking(client, "openssl", "s_client", *argv, "-verify_return_error") as end:
            end.stdin.write(b"from the consumer\n")
            assert server.stdout.readline() == b"from the consumer\n"
            server.stdin.write(b"from the provider\n")
            assert end.stdout.readline() == b"from the provider\n"


def test_ping_traceroute_tracepath(scene, files, tmp_path):
    backend, client, address = scene
    with nginx(backend, tmp_path, WEB, files[0]):
        assert "3 received" in client.run("ping", "-c", "3", "-i", "0.2", address).stdout
        traced = client.run("traceroute", "-n", "-T", "-p", "80", "-q", "1", "-m", "3", address)
        assert re.search(rf"^ 1  {re.escape(address)} ", traced.stdout, re.M), traced.stdout
        # the endpoint says of a port without rule that nobody is there: the way ends at it
        traced = client.run("traceroute", "-n", "-q", "1", "-m", "3", address)
        assert re.search(rf"^ 1  {re.escape(address)} ", traced.stdout, re.M), traced.stdout
        path = client.run("tracepath", "-n", "-m", "3", address).stdout
        assert "reached" in path and "pmtu" in path, path
