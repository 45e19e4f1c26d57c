#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A steady stream of small messages, in a process of its own so that nothing but the network holds
it up.

  stream.py serve PORT            echoes
  stream.py ask ADDRESS PORT FILE sends a number every millisecond until its standard input ends;
                                  writes when each came back (CLOCK_MONOTONIC, ns, one a line)
"""
import gc
import select
import socket
import struct
import sys
import time

EVERY_S = 0.001
MESSAGE = struct.Struct("!Q")


def serve(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(8)
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


def ask(address, port, path):
    sock = socket.create_connection((address, port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    gc.disable()
    sent, came, held, due = 0, [], b"", time.monotonic()
    while True:
        now = time.monotonic()
        if now >= due:
            try:
                sock.send(MESSAGE.pack(sent))
                sent += 1
            except BlockingIOError:
                pass
            due = max(due + EVERY_S, now - 10 * EVERY_S)
        readable, _, _ = select.select([sock, sys.stdin], [], [], max(0.0, due - time.monotonic()))
        if sock in readable:
            data = sock.recv(65536)
            if not data:
                sys.exit("the stream was closed")
            held += data
            while len(held) >= MESSAGE.size:
                if MESSAGE.unpack_from(held)[0] != len(came):
                    sys.exit("a number came out of order")
                came.append(time.monotonic_ns())
                held = held[MESSAGE.size :]
        if sys.stdin in readable and not sys.stdin.readline():
            break
    with open(path, "w", encoding="ascii") as out:
        out.writelines(f"{when}\n" for when in came)


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    main()
