# SPDX-License-Identifier: Apache-2.0
"""The inside of a virtual machine (guest.py): gets its address by DHCP, then evaluates what it is
asked until it is told to stop.

  guest_side.py FOLDER IFNAME     FOLDER/N.ask is an expression, FOLDER/N.told its value as JSON
  guest_side.py --lease           what the DHCP client calls for each event
  guest_side.py --lease6          the same of DHCPv6
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))

from workload import Conversation, Server, datagram, echoing  # noqa: E402

RUN = pathlib.Path("/run/culvert-guest")
CLIENT = ["busybox", "udhcpc", "-n", "-q", "-t", "20", "-T", "2", "-S", "-O", "staticroutes"]


class Here:
    """As a Workload, in whose place it stands."""

    def socket(self, kind=socket.SOCK_STREAM, family=socket.AF_INET, protocol=0):
        return socket.socket(family, kind, protocol)


here, servers, connections, held = Here(), {}, {}, []


def sh(*argv):
    """(status, output) of a program."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def good(*argv):
    status, text = sh(*argv)
    if status:
        raise RuntimeError(f"{argv}: {status}\n{text}")
    return text


def lease():
    """Does what the client's event asks for; the lease is kept for whoever wants to know."""
    told = {name: os.environ.get(name) for name in WANTED}
    ifname = os.environ["interface"]
    if sys.argv[2] not in ("bound", "renew"):
        return
    good("ip", "link", "set", ifname, "mtu", told["mtu"])
    good("ip", "addr", "replace", f"{told['ip']}/{told['mask']}", "dev", ifname)
    words = told["staticroutes"].split()
    for prefix, gateway in zip(words[::2], words[1::2]):
        good("ip", "route", "replace", prefix, "via", gateway, "dev", ifname)
    RUN.joinpath("lease").write_text(json.dumps(told | {"event": sys.argv[2]}))


def lease6():
    """The same of DHCPv6."""
    if os.environ["reason"] == "BOUND6":
        own, ifname = os.environ["new_ip6_address"], os.environ["interface"]
        good("ip", "-6", "addr", "replace", f"{own}/128", "dev", ifname)
        RUN.joinpath("lease6").write_text(own)


def ask_for_six(ifname):
    """The address that a DHCPv6 client gets, once a router has been heard."""
    lease, script = RUN / "lease6", RUN / "event6"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE} --lease6\n")
    script.chmod(0o755)
    usable = ("ip", "-6", "addr", "show", "dev", ifname, "-tentative")

    def until(words, *argv):
        while words not in sh(*argv)[1]:
            time.sleep(0.2)

    until("fe80::1", "ip", "-6", "route", "show", "default", "dev", ifname)
    until("inet6 fe80", *usable)
    argv = ["dhclient", "-6", "-1", "-d", "-cf", "/dev/null", "-sf", str(script)]
    argv += ["-lf", str(RUN / "leases6"), "-pf", str(RUN / "pid6"), ifname]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as client:
        while not lease.exists() and client.poll() is None:
            time.sleep(0.2)
        client.terminate()
    until(f"inet6 {lease.read_text()}/", *usable)
    return lease.read_text()


WANTED = ("ip", "mask", "router", "staticroutes", "mtu", "dns", "serverid", "lease")


def ask_for_address(ifname):
    """The lease that a DHCP client gets."""
    RUN.mkdir(exist_ok=True)
    script = RUN / "event"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE} --lease $1\n")
    script.chmod(0o755)
    RUN.joinpath("lease").unlink(missing_ok=True)
    good("ip", "link", "set", ifname, "up")
    good(*CLIENT, "-i", ifname, "-s", str(script))
    return json.loads(RUN.joinpath("lease").read_text())


def serve(port, name):
    servers[port] = Server(here, port, name)


def seen(port):
    return servers[port].peers


def echo_datagrams(port):
    held.append(echoing(here, port))
    held[-1].__enter__()


def connect(name, address, port, timeout=20.0):
    """Keeps a connection; (who answered, whom it saw)."""
    sock = socket.create_connection((address, port), timeout)
    connections[name] = Conversation(sock)
    return connections[name].name, connections[name].seen


def echo(name, size):
    """As much comes back by a connection that is kept; its server's name."""
    return connections[name].check(os.urandom(size))[0]


def ask(address, port, size=0):
    who = connect("once", address, port)
    echo("once", size)
    connections.pop("once").sock.close()
    return who


def datagrams(address, port, sizes):
    """Whether datagrams of these sizes come back; a lost one is sent again."""
    with datagram(here, address, port) as sock:
        sock.settimeout(2)
        for size in sizes:
            payload = os.urandom(size)
            for _ in range(10):
                sock.send(payload)
                try:
                    if sock.recv(65535) == payload:
                        break
                except TimeoutError:
                    continue
            else:
                return False
    return True


def refusal(address, port):
    """The name of the error that connecting gives."""
    try:
        socket.create_connection((address, port), 20).close()
    except OSError as error:
        return type(error).__name__
    return None


def main(folder, ifname):
    good("modprobe", "virtio_net")
    good("ip", "link", "set", "lo", "up")
    number = 0
    while True:
        asked = folder / f"{number}.ask"
        if not asked.exists():
            time.sleep(0.05)
            continue
        words = asked.read_text()
        if words == "stop":
            return
        try:
            answer = {"value": eval(words, globals())}  # pylint: disable=eval-used
        except Exception as error:  # pylint: disable=broad-except
            answer = {"error": f"{type(error).__name__}: {error}"}
        part = folder / f"{number}.part"
        part.write_text(json.dumps(answer))
        part.rename(folder / f"{number}.told")
        number += 1


if __name__ == "__main__":
    if sys.argv[1] == "--lease":
        lease()
    elif sys.argv[1] == "--lease6":
        lease6()
    else:
        main(pathlib.Path(sys.argv[1]), sys.argv[2])
