# SPDX-License-Identifier: Apache-2.0
"""HTTP and HTTPS servers in a workload that answer as they are told: a program of its own, so that
it can be killed, stopped and started like any backend.

  python3 web.py PORT [CERTIFICATE]

Lines on standard input: a status ("200"), "silent" (never answers), "slow" (a byte now and then),
"giant" (a status line without end), "reset" (a reset for an answer)."""
import os
import pathlib
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading

from machine import BIN, ns_command, run, wait_for  # noqa: F401

TICK_S = 0.02


class Site:
    """The program, as a test sees it."""

    def __init__(self, workload, port, certificate=None):
        self.workload, self.port, self.certificate = workload, port, certificate
        self.popen = None
        self.start()

    def start(self):
        argv = [sys.executable, pathlib.Path(__file__).resolve(), str(self.port)]
        if self.certificate:
            argv.append(self.certificate)
        self.popen = subprocess.Popen(
            ns_command(self.workload.namespace, *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.popen.stdout.readline() != "ready\n":
            raise RuntimeError("the web server did not start")

    def say(self, word):
        self.popen.stdin.write(f"{word}\n")
        self.popen.stdin.flush()
        if self.popen.stdout.readline() != "done\n":
            raise RuntimeError("the web server is gone")

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def pause(self):
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self):
        self.popen.send_signal(signal.SIGCONT)

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


def certificate(folder):
    """A self-signed certificate with its key, in one file."""
    path = folder / "web.pem"
    made = run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-subj", "/CN=backend", "-days", "2", "-keyout", "-", "-out", "-",
    )  # fmt: skip
    path.write_text(made.stdout)
    return str(path)


class Program:
    def __init__(self, port, pem):
        self.word = "200"
        self.context = None
        if pem:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pem)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen(512)
        self.closed = False

    def answer(self, sock):
        word = self.word
        try:
            sock.settimeout(30)
            if word == "reset":
                sock.recv(1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            sock.recv(4096)
            if word == "silent":
                sock.recv(1)
            elif word == "slow":
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                    sock.sendall(bytes([byte]))
                    select.select([], [], [], TICK_S * 5)
            elif word == "giant":
                while True:
                    sock.sendall(b"HTTP/1.1 2" + b"0" * 65536)
            else:
                sock.sendall(
                    f"HTTP/1.1 {word} said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .encode()
                )
        except OSError:
            pass
        finally:
            sock.close()

    def serve(self):
        while not self.closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(sock,), daemon=True).start()

    def main(self):
        threading.Thread(target=self.serve, daemon=True).start()
        print("ready", flush=True)
        for line in sys.stdin:
            self.word = line.strip()
            if self.word == "close":
                self.closed = True
                self.listener.shutdown(socket.SHUT_RDWR)
                self.listener.close()
            print("done", flush=True)
        os._exit(0)


if __name__ == "__main__":
    Program(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None).main()
