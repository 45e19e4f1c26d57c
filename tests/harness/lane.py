# SPDX-License-Identifier: Apache-2.0
"""The pytest hooks of lanes whose tests stand on a Topology: a conftest imports them."""
import os

import pytest
from culvert_harness import BIN, Topology


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("these tests make network namespaces and load BPF: run them as root", 1)
    for name in ("culvertd", "culvert-agent", "culvert"):
        if not (BIN / name).exists():
            pytest.exit(f"{BIN / name} is not there: ./dev build, or set CULVERT_BIN", 1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what the programs said."""
    report = (yield).get_result()
    given = getattr(item, "funcargs", {}).values()
    topology = next((each for each in given if isinstance(each, Topology)), None)
    if report.when == "call" and report.failed and topology is not None:
        if topology.culvertd is not None:
            report.sections.append(("culvertd", topology.culvertd.tail()))
        for node in topology.nodes:
            if node.agent is not None:
                report.sections.append((f"agent {node.name}", node.agent.tail()))
