# SPDX-License-Identifier: Apache-2.0
"""The control plane on a disk that fills up: reading goes on, and writing when there is space."""
import contextlib
import json
import os
import pathlib
import shutil
import ssl
import tempfile

import pytest
from culvert_harness import BIN, RESOURCES, Process, Rest, inside, ns_command, run, wait_for
from exposition import METRICS_PORT, scrape
from test_operation import anonymous


class SmallDisk:
    """culvertd in a namespace, its data on a file system of 6 MiB."""

    def __init__(self):
        self.namespace = f"cvt{os.getpid()}full"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.namespace}-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        self.culvertd = None
        self.control, self.control_address = self.namespace, "127.0.0.1"
        self.ca = self.data / "ca.crt"
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("mount", "-t", "tmpfs", "-o", "size=6m", self.namespace, self.data)

    def start(self):
        bootstrap = self.folder / "bootstrap.json"
        argv = [BIN / "culvertd", "--data-dir", self.data, "--print-bootstrap", bootstrap]
        argv += ["--metrics", f"{self.control_address}:{METRICS_PORT}"]
        self.culvertd = Process(ns_command(self.namespace, *argv), self.folder / "culvertd.log")
        wait_for(self.listens, 20, 0.05, "culvertd")
        made = json.loads(bootstrap.read_text())
        trust = ssl.create_default_context(cafile=str(self.ca))
        self.rest = Rest(self.namespace, "127.0.0.1", 8443, trust, made)
        self.groups = f"/subscriptions/{made['subscription']}/resourceGroups"

    def listens(self):
        if not self.culvertd.alive():
            raise RuntimeError(self.culvertd.tail())
        with inside(self.namespace):
            return ":8443" in run("ss", "-ltn").stdout

    def put(self, name):
        body = {"location": "local", "tags": {"filler": "x" * 200}}
        return self.rest.call("PUT", f"{self.groups}/{name}", body, RESOURCES)

    def fill(self):
        filler = os.open(self.data / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(OSError):
                while True:
                    os.write(filler, b"x" * 4096)
        finally:
            os.close(filler)

    def read_only(self, why):
        _, values = scrape(self, self.control_address, METRICS_PORT)
        return values[f'culvertd_store_read_only{{why="{why}"}}']

    def close(self):
        if self.culvertd is not None:
            self.culvertd.stop()
        run("umount", "-l", self.data, check=False)
        run("ip", "netns", "del", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def small():
    made = SmallDisk()
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_full_disk_refuses_writes_clearly_and_recovers_by_itself(small):
    assert small.put("before").status == 201
    for _ in range(2):
        small.fill()
        # what the write-ahead log has already taken from the disk may still be written
        accepted = 0
        while (answer := small.put(f"full{accepted}")).status in (200, 201):
            accepted += 1
            assert accepted < 5000, "the disk does not fill up"
        assert answer.status == 507 and answer.code == "InsufficientStorage", answer.raw
        assert str(small.data) in answer.message and "retry-after" in answer.headers
        assert small.rest.call("GET", f"{small.groups}/before", None, RESOURCES).status == 200
        refused = f"{small.groups}/full{accepted}"
        assert small.rest.call("GET", refused, None, RESOURCES).status == 404
        assert small.put("again").status == 507, "it stays so, and answers"
        assert anonymous(small, "/readyz") == (503, "not ready: the disk of the store is full\n")
        assert anonymous(small, "/healthz")[0] == 200
        assert (small.read_only("full"), small.read_only("failed")) == (1, 0)
        (small.data / "filler").unlink()
        # whoever sends writes only to what is ready must not wait for ever
        wait_for(lambda: anonymous(small, "/readyz") == (200, "ok\n"), 30, 0.1, "readiness")
        assert small.read_only("full") == 0
        assert small.put("again").status in (200, 201)
        gone = small.rest.call("DELETE", f"{small.groups}/again", None, RESOURCES)
        assert gone.status in (200, 202)
    assert small.culvertd.alive(), "nothing was restarted"
    verdict = small.rest.good("POST", "/culvert/verifications", {}, None)
    assert verdict["findings"] == []
