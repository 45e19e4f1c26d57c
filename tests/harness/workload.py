# SPDX-License-Identifier: Apache-2.0
"""Workloads: namespaces with a NIC of Culvert, and the servers and clients in them."""
import contextlib
import json
import socket
import threading

from machine import inside, ns_command, run

AF_INET = socket.AF_INET  # beside the method of that name


class Workload:
    """A network namespace whose eth0 is a NIC of Culvert."""

    def __init__(self, topology, nic, node, namespace, address):
        self.topology, self.nic, self.node = topology, nic, node
        self.namespace, self.address = namespace, address
        self.servers = []

    def socket(self, kind=socket.SOCK_STREAM, family=socket.AF_INET, protocol=0):
        with inside(self.namespace):
            return socket.socket(family, kind, protocol)

    def connect(self, address, port, timeout=5.0, source=0):
        """A connected TCP socket, or the OSError that connecting gave."""
        sock = self.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if source:
                sock.bind(("0.0.0.0", source))
            sock.settimeout(timeout)
            sock.connect((address, port))
            return sock
        except OSError:
            sock.close()
            raise

    def ask(self, address, port, payload=b"", timeout=5.0, source=0):
        """Connects to a Server, sends payload and reads it back; returns (server's name, source it
        saw)."""
        with self.connect(address, port, timeout, source) as sock:
            return Conversation(sock).check(payload)

    def serve(self, port, name, family=AF_INET):
        server = Server(self, port, name, family)
        self.servers.append(server)
        return server

    def run(self, *argv, check=True, **options):
        return run(*ns_command(self.namespace, *argv), check=check, **options)

    def frames(self):
        """A packet socket on eth0, for frames made by hand."""
        sock = self.socket(socket.SOCK_RAW, socket.AF_PACKET, socket.htons(3))
        sock.bind(("eth0", 3))
        return sock

    @property
    def mac(self):
        shown = run("ip", "-n", self.namespace, "-j", "link", "show", "eth0").stdout
        return json.loads(shown)[0]["address"]

    def close(self):
        for server in self.servers:
            server.close()
        self.servers = []


class Conversation:
    """The client's side of a Server: a line that says who answers and whom it saw, then an echo."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")
        line = self.file.readline().decode().split()
        if len(line) != 3:
            raise ConnectionError(f"the server said {line}")
        self.name, self.seen = line[0], (line[1], int(line[2]))

    def _send(self, payload):
        with contextlib.suppress(OSError):  # who reads learns that the connection is gone
            self.sock.sendall(payload)

    def check(self, payload):
        """Echoes payload; raises when something else comes back."""
        if payload:
            sender = threading.Thread(target=self._send, args=(payload,))
            sender.start()
            got = self.file.read(len(payload))
            sender.join()
            if got != payload:
                raise ConnectionError(f"{len(got)} of {len(payload)} bytes came back, or others")
        return self.name, self.seen


def bind_any(sock, port):
    """To the port of any address of the socket's family, and of that alone."""
    six = sock.family == socket.AF_INET6
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::" if six else "0.0.0.0", port))


class Server:
    """A TCP server in a workload: says its name and the source it sees, then echoes."""

    def __init__(self, workload, port, name, family=socket.AF_INET):
        self.workload, self.port, self.name = workload, port, name
        self.peers = []
        self.open = set()
        self.listener = workload.socket(family=family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bind_any(self.listener, port)
        self.listener.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self.open.add(sock)
            threading.Thread(target=self._talk, args=(sock, peer), daemon=True).start()

    def _talk(self, sock, peer):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(f"{self.name} {peer[0]} {peer[1]}\n".encode())
            while data := sock.recv(1 << 18):
                sock.sendall(data)
        except OSError:
            pass
        finally:
            self.open.discard(sock)
            sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def datagram(workload, address=None, port=None, family=socket.AF_INET):
    sock = workload.socket(socket.SOCK_DGRAM, family)
    sock.settimeout(10)
    if address:
        sock.connect((address, port))
    with sock:
        yield sock


@contextlib.contextmanager
def echoing(workload, port=5353, family=socket.AF_INET):
    """Sends each datagram back; yields whom it has seen."""
    seen = []
    loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with datagram(workload, family=family) as sock:
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        bind_any(sock, port)

        def echo():
            while (got := sock.recvfrom(65535))[0] != b"stop":
                seen.append(got[1])
                sock.sendto(*got)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        yield seen
        with datagram(workload, loopback, port, family) as end:
            end.send(b"stop")
        thread.join(10)
