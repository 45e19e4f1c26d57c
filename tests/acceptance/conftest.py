# SPDX-License-Identifier: Apache-2.0
"""One installation and one az configuration for the whole lane: the tests are a story, in the
order of the file."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

import culvert_harness  # noqa: E402

AZ = os.environ.get("CULVERT_AZ", str(culvert_harness.ROOT / "tools/az"))


class Az:
    """The unmodified az, with a configuration directory of its own, in the control plane's
    network."""

    def __init__(self, topology, folder):
        self.topology = topology
        self.environment = dict(
            os.environ,
            AZURE_CONFIG_DIR=str(folder),
            REQUESTS_CA_BUNDLE=str(topology.ca),
            AZURE_CORE_COLLECT_TELEMETRY="no",
            AZURE_CORE_LOGIN_EXPERIENCE_V2="off",
            AZURE_CORE_NO_COLOR="yes",
            PYTHONWARNINGS="ignore",
        )

    def run(self, *words):
        """(exit status, standard output, standard error)"""
        done = subprocess.run(
            culvert_harness.ns_command(self.topology.control, AZ, *words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/tmp",
        )
        return done.returncode, done.stdout, done.stderr

    def __call__(self, line, *more):
        """Runs `az LINE MORE...`, which must succeed; returns what it printed as JSON."""
        status, out, err = self.run(*line.split(), *more, "--output", "json")
        assert status == 0, f"az {line} {more}: {status}\n{err}"
        return json.loads(out) if out.strip() else None

    def fails(self, line, *more):
        """Runs what must fail; returns (exit status, standard error)."""
        status, out, err = self.run(*line.split(), *more)
        assert status != 0, f"az {line} {more} succeeded:\n{out}"
        return status, err


def pytest_configure():
    culvert_harness.interrupt_on_signals()


@pytest.fixture(scope="session")
def net():
    if os.geteuid() != 0:
        pytest.exit(
            "the acceptance tests make network namespaces and load BPF: run them as root", 1
        )
    topology = culvert_harness.Topology(nodes=1)
    yield topology
    topology.close()


@pytest.fixture(scope="session")
def az(net, tmp_path_factory):
    return Az(net, tmp_path_factory.mktemp("az"))
