# SPDX-License-Identifier: Apache-2.0
"""Culvert as a contestant of peers_bench: its own topology under the peers' names and addresses."""
import json
import pathlib
import shutil
import subprocess
import sys
import time

from installation import BIN, Installation, inside

HERE = pathlib.Path(__file__).resolve().parent
NAT_FROM, NAT_COUNT = 64, 8  # 8 NAT addresses is a service's limit
SYSCTLS = (
    "net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
    "net.ipv4.tcp_tw_reuse=1 net.core.somaxconn=8192 net.ipv4.tcp_max_syn_backlog=8192 "
    "net.ipv4.ip_local_port_range='1024 65000'"
)
INNER_MTU = 1500  # as the peers' workloads have


class Hosts:
    """Stands in CASES where the peers have "two hosts?"; builds and removes our topology."""

    def __init__(self, peers, two):
        self.peers, self.two = peers, two
        self.installation, self.node = None, None

    def __bool__(self):
        return self.two

    def build(self):
        p = self.peers
        for n in (p.C, p.N, p.V) + ((p.B,) if self.two else ()):
            p.sh(f"ip netns add {n}")
            p.sh(f"ip -n {n} link set lo up")
            p.ns(n, f"sysctl -qw {SYSCTLS}", check=False)
        listen = "172.31.0.1" if self.two else "127.0.0.1"
        if self.two:
            p.veth(p.N, "bb", p.B, "bb", mtu=1600)
            for n, i in ((p.N, 1), (p.B, 2)):
                p.sh(f"ip -n {n} addr add 172.31.0.{i}/24 dev bb")
        self.installation = Installation(f"{p.TMP}/culvert", p.N, listen)
        self.installation.up()
        add = self.installation.add_agent
        self.node = add(p.N, "n", "bb" if self.two else "none", listen)
        hosts = {p.C: (p.N, self.node), p.V: (p.N, self.node)}
        if self.two:
            hosts[p.V] = (p.B, add(p.B, "b", "bb", "172.31.0.2"))
        nics = self.helper("setup", p.PE, p.PROV, NAT_FROM, NAT_COUNT, *p.PORTS)
        for n, i, nic in ((p.C, "c0", nics["client"]), (p.V, "v0", nics["server"])):
            words = ("attach", "--nic", nic, "--netns", n, "--ifname", i)
            self.installation.culvert(*hosts[n], *words)
            p.sh(f"ip -n {n} link set {i} mtu {INNER_MTU}")

    def helper(self, *words, timeout=600):
        """runs in_node.py beside culvertd, in its namespace; returns what it printed"""
        done = subprocess.run(
            inside(
                self.peers.N,
                *(sys.executable, HERE / "in_node.py", self.installation.directory),
                *(self.installation.listen, *words),
            ),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def wait_for_path(self, _two=None):
        """the peers' `setup`, after their servers: returns when a connection gets through"""
        p = self.peers
        for _ in range(50):
            probe = f"curl -s -o {p.TMP}/probe --max-time 1 http://{p.PE}:8080/"
            if subprocess.run(inside(p.C, *probe.split()), check=False).returncode == 0:
                return
            time.sleep(0.1)
        drops = self.installation.culvert(p.N, self.node, "drops")
        raise RuntimeError(f"no connection through the endpoint; drops:\n{drops}")

    def remove(self):
        if self.installation:
            installation, self.installation = self.installation, None
            installation.down()


def register(peers):
    """adds our cases, and wraps the two functions that make and remove a topology"""
    cases = {"culvert": Hosts(peers, False), "2h-culvert": Hosts(peers, True)}
    for name, hosts in cases.items():
        peers.CASES[name] = (hosts, lambda two: None, hosts.wait_for_path, peers.PE, 1)
    make, clean = peers.topo, peers.cleanup

    def topo(two):
        if isinstance(two, Hosts):
            if not (BIN / "culvert").exists():
                raise RuntimeError(f"{BIN} has no culvert: ./dev build release")
            two.build()
        else:
            make(two)

    def cleanup():
        try:
            for hosts in cases.values():
                hosts.remove()
        finally:
            clean()

    peers.topo, peers.cleanup = topo, cleanup


def provisioning(peers, count):
    """`count` endpoint PUTs on one kept-alive connection, with the path to each tried"""
    hosts = peers.CASES["culvert"][0]
    conf = (
        f"daemon off; worker_processes 1; pid {peers.TMP}/ngp.pid; error_log {peers.TMP}/ngp.err;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; server { listen 8080; location / { return 200 'ok'; } } }\n"
    )
    try:
        pathlib.Path(peers.TMP).mkdir(exist_ok=True)
        peers.topo(hosts)
        peers.bg(peers.V, ["nginx", "-p", peers.TMP, "-c", peers.nginx_conf("ngp", conf)])
        hosts.wait_for_path()
        return hosts.helper("provision", count, peers.C, 8080, timeout=900)
    finally:
        peers.cleanup()
        shutil.rmtree(peers.TMP, ignore_errors=True)
