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
from lane import pytest_runtest_makereport, pytest_sessionstart  # noqa: E402, F401
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


def pytest_terminal_summary(terminalreporter):
    if LEDGER.rows:
        terminalreporter.section("attacks")
        terminalreporter.write_line(LEDGER.table())
        folder = os.environ.get("LANE_DIR")
        if folder:
            pathlib.Path(folder, "attacks.txt").write_text(LEDGER.table() + "\n", encoding="utf-8")
