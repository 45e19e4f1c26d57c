# SPDX-License-Identifier: Apache-2.0
"""Topologies are shared: each test makes resource groups of its own in them. A test marked
both_modes runs with the
programs attached by tcx and again by clsact."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import culvert_harness  # noqa: E402
from lane import pytest_runtest_makereport, pytest_sessionstart  # noqa: E402, F401


def pytest_configure(config):
    culvert_harness.interrupt_on_signals()
    config.addinivalue_line("markers", "both_modes: runs with tcx and with clsact")


def pytest_generate_tests(metafunc):
    if "net" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_modes") is not None
        metafunc.parametrize(
            "net", ["tcx", "clsact"] if both else ["tcx"], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def net(request):
    topology = culvert_harness.Topology(nodes=2, mode=request.param)
    yield topology
    topology.close()
