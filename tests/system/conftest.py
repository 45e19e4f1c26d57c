# SPDX-License-Identifier: Apache-2.0
"""Topologies are shared: each test makes resource groups of its own in them. A test marked
both_modes runs with the
programs attached by tcx and again by clsact."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import culvert_harness  # noqa: E402


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


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("the system tests make network namespaces and load BPF: run them as root", 1)
    for name in ("culvertd", "culvert-agent", "culvert"):
        if not (culvert_harness.BIN / name).exists():
            pytest.exit(
                f"{culvert_harness.BIN / name} is not there: ./dev build, or set CULVERT_BIN", 1
            )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what the three programs said."""
    report = (yield).get_result()
    topology = getattr(item, "funcargs", {}).get("net")
    if report.when == "call" and report.failed and isinstance(topology, culvert_harness.Topology):
        if topology.culvertd is not None:
            report.sections.append(("culvertd", topology.culvertd.tail()))
        for node in topology.nodes:
            if node.agent is not None:
                report.sections.append((f"agent {node.name}", node.agent.tail()))
