# SPDX-License-Identifier: Apache-2.0
"""One topology of two nodes, and a ledger of what was tried: each attack with the reason it was
refused by and the counter that shows it. The lane ends with the ledger as a table."""
import os
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
for folder in ("harness", "system", "adversary"):
    sys.path.insert(0, str(TESTS / folder))

import culvert_harness  # noqa: E402
from ledger import Ledger  # noqa: E402

LEDGER = Ledger()


def pytest_configure():
    culvert_harness.interrupt_on_signals()


@pytest.fixture
def ledger():
    return LEDGER


@pytest.fixture(scope="session")
def net():
    topology = culvert_harness.Topology(nodes=2, mode="tcx")
    yield topology
    topology.close()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("these tests make network namespaces and load BPF: run them as root", 1)
    for name in ("culvertd", "culvert-agent", "culvert"):
        if not (culvert_harness.BIN / name).exists():
            pytest.exit(
                f"{culvert_harness.BIN / name} is not there: ./dev build, or set CULVERT_BIN", 1
            )


def pytest_terminal_summary(terminalreporter):
    if LEDGER.rows:
        terminalreporter.section("attacks")
        terminalreporter.write_line(LEDGER.table())
        folder = os.environ.get("LANE_DIR")
        if folder:
            pathlib.Path(folder, "attacks.txt").write_text(LEDGER.table() + "\n", encoding="utf-8")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what the programs said."""
    report = (yield).get_result()
    topology = getattr(item, "funcargs", {}).get("net")
    if report.when == "call" and report.failed and topology is not None:
        if topology.culvertd is not None:
            report.sections.append(("culvertd", topology.culvertd.tail()))
        for node in topology.nodes:
            if node.agent is not None:
                report.sections.append((f"agent {node.name}", node.agent.tail()))
