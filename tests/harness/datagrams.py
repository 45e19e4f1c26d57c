# SPDX-License-Identifier: Apache-2.0
"""Flows of datagrams by the ten thousand between workloads (many_datagrams.py)."""
import contextlib
import json
import pathlib
import subprocess

from machine import ns_command, run

PROGRAM = pathlib.Path(__file__).resolve().with_name("many_datagrams.py")


def _command(workload, *words):
    return ns_command(workload.namespace, "/usr/bin/python3", PROGRAM, *words)


@contextlib.contextmanager
def naming(workload, port, name):
    """Answers every datagram with the name."""
    with subprocess.Popen(
        _command(workload, "serve", port, name), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout.readline() == "ready\n"
        yield
        server.kill()


@contextlib.contextmanager
def speechless(workload, *ports):
    """A workload whose kernel does not answer what comes from these ports for no socket."""
    which = ",".join(str(port) for port in ports)
    table = (
        "table ip speechless { chain in { type filter hook input priority 0; "
        f"udp sport {{ {which} }} drop; }}; }}"
    )
    run(*ns_command(workload.namespace, "nft", table))
    try:
        yield
    finally:
        run(*ns_command(workload.namespace, "nft", "delete table ip speechless"), check=False)


def opens(workload, address, port, first, count):
    """Flows from `count` ports beginning with `first`: who answered which port."""
    words = (workload.mac, workload.address, address, port, first, count)
    answers = json.loads(run(*_command(workload, "open", *words)).stdout)
    return {int(source): name for source, name in answers.items()}
