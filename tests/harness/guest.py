# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: a guest of QEMU (tools/guest) whose only interface is the TAP of a NIC. Its
files are this machine's, its kernel is Debian's."""
import json
import pathlib
import tempfile

from machine import ROOT, Process, ns_command, wait_for

SIDE = ROOT / "tests/harness/guest_side.py"
PATIENCE = 600  # seconds for a boot or an answer: it is emulated, on a machine that does more
IFNAME = "eth0"


class Guest:
    """Boots at once; the first question waits for it. Close it."""

    def __init__(self, topology, nic, node, address, *, kernel="6.1", name=None):
        self.nic, self.node, self.address = nic, node, address
        argv = ["--tap", *([name] if name else [])]
        shown = node.culvert("attach", "--nic", nic, *argv, "--output", "json")
        self.attached = json.loads(shown.stdout)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="guest-", dir=topology.folder))
        self.number = 0
        machine = [ROOT / "tools/guest", "--kernel", kernel, "--cpus", "1", "--memory", "512"]
        machine += ["--kvm", "--timeout", "1800", "--share", self.folder]
        machine += ["--qemu", self.attached["qemuOptions"]]
        guest = ["/usr/bin/python3", "-B", SIDE, "/run/guest", IFNAME]
        self.process = Process(
            ns_command(node.namespace, *machine, "--", *guest), self.folder / "machine.log"
        )

    @property
    def tap(self):
        return self.attached["hostIfname"]

    def post(self, words):
        """Asks without waiting; the number of the question."""
        part = self.folder / "ask.part"
        part.write_text(words)
        part.rename(self.folder / f"{self.number}.ask")
        self.number += 1
        return self.number - 1

    def answer(self, number, seconds=PATIENCE):
        told = self.folder / f"{number}.told"

        def there():
            if not told.exists() and not self.process.alive():
                raise RuntimeError(f"the guest ended:\n{self.process.tail()}\n{self.output()}")
            return told.exists()

        try:
            wait_for(there, seconds, 0.05, "answer of the guest")
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.process.tail()}\n{self.output()}") from late
        got = json.loads(told.read_text())
        if "error" in got:
            raise RuntimeError(got["error"])
        return got["value"]

    def do(self, words):
        """The value of an expression, by the names of guest_side.py."""
        return self.answer(self.post(words))

    def output(self):
        return "".join(
            path.read_text(errors="replace")[-2000:]
            for path in (self.folder / "output", self.folder / "console")
            if path.exists()
        )

    def close(self):
        self.process.stop()
