# SPDX-License-Identifier: Apache-2.0
"""Backup and restore: the drill of docs/backup.md, as it is written there."""
import json
import os
import pathlib
import re
import shutil
import signal
import stat

import pytest
from culvert_harness import BIN, ROOT, Topology, run, wait_for
from test_certificates import authority, rotate
from test_command_line import Machine


@pytest.fixture
def machine():
    made = Machine("b")
    yield made
    made.close()


def commands(kind):
    """The shell commands of the document's blocks of that kind, in order."""
    text = (ROOT / "docs/backup.md").read_text()
    blocks = re.findall(r"^```(sh[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for name, block in blocks if name == kind for line in block.splitlines()]
    assert lines, f"docs/backup.md has no block '{kind}'"
    return lines


class Drill:
    """Runs the document's lines; its paths are this machine's."""

    def __init__(self, machine):
        self.machine = machine
        self.backup = machine.folder / "culvert.backup"
        self.environment = dict(machine.environment)
        tools = machine.folder / "tools"
        tools.mkdir()
        wrapper = tools / "culvert"
        net = f"nsenter --net=/run/netns/{machine.namespace} --"
        wrapper.write_text(
            f'#!/bin/sh\nexec {net} {BIN / "culvert"} "$@" --data-dir {machine.data}\n'
        )
        wrapper.chmod(0o755)
        self.environment["PATH"] = f"{tools}:{os.environ['PATH']}"

    def run(self, kind):
        for line in commands(kind):
            line = line.replace("/root/culvert.backup", str(self.backup))
            line = line.replace("/root/culvert-drill", str(self.machine.folder / "drill"))
            line = line.replace("/var/lib/culvert", str(self.machine.data))
            run("sh", "-c", line, env=self.environment, timeout=120)


def numbered(machine, name):
    """A NIC, attached; (path, index, generation)"""
    bootstrap = json.loads((machine.data / "bootstrap.json").read_text())
    group = f"/subscriptions/{bootstrap['subscription']}/resourceGroups/g"
    vnet = f"{group}/providers/Microsoft.Network/virtualNetworks/v"
    config = {"name": "ip1", "properties": {"subnet": {"id": f"{vnet}/subnets/default"}}}
    path = wait_for(lambda: made(machine, name, config), 60, 0.2, "a new interface")
    space = machine.make_namespace(f"{machine.namespace}{name}")
    machine("attach", "--nic", path, "--netns", space)
    body = json.dumps({"node": node_of(machine)})
    words = ("rest", "POST", f"{path}/attach", "--api-version", "2024-05-01", "--body", body)
    answer = json.loads(machine(*words)[0])
    return path, answer["nic_index"], answer["generation"]


def made(machine, name, config):
    """a NIC; None while a restored control plane gives out nothing yet"""
    try:
        return machine.arm("networkInterfaces", name, {"ipConfigurations": [config]})
    except AssertionError as refused:
        if "503" in str(refused) or "RestoreNotSettled" in str(refused):
            return None
        raise


def node_of(machine):
    return machine.json("status")["agent"]["node"]


def exists(machine, path):
    done = run(
        *machine.command("rest", "GET", path, "--api-version", "2024-05-01"),
        check=False,
        env=machine.environment,
    )
    assert done.returncode in (0, 3), done.stderr
    return done.returncode == 0


def attached(machine):
    return {nic["id"].lower() for nic in machine.json("status")["agent"]["nics"]}


def test_the_drill_of_the_documentation(machine):
    machine("up", "--detach")
    machine.nic()
    kept, index, generation = numbered(machine, "kept")
    drill = Drill(machine)
    drill.run("sh")
    assert stat.S_IMODE(drill.backup.stat().st_mode) == 0o600
    assert not list((machine.data / "control/backup").iterdir()), "it was taken away"

    lost = [numbered(machine, f"lost{i}") for i in range(3)]
    os.kill(machine.pids()["culvertd"], signal.SIGKILL)
    wait_for(lambda: "culvertd" not in machine.pids(), 10, what="the end of culvertd")
    for each in (machine.data / "control").iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()

    drill.run("sh disaster")
    assert exists(machine, kept), "the state as of the backup"
    assert not any(exists(machine, path) for path, _, _ in lost)
    wait_for(lambda: attached(machine) == {kept.lower()}, 30, 0.1, "an agent that has converged")
    body = json.dumps({"node": node_of(machine)})
    words = ("rest", "POST", f"{kept}/attach", "--api-version", "2024-05-01", "--body", body)
    again, _ = machine(*words)
    assert (json.loads(again)["nic_index"], json.loads(again)["generation"]) == (index, generation)
    used = {(i, g) for _, i, g in lost} | {(index, generation)}
    for i in range(3):
        _, new_index, new_generation = numbered(machine, f"new{i}")
        assert (new_index, new_generation) not in used
    assert machine.json("store", "verify")["findings"] == []


def test_a_restore_takes_nothing_away_unless_told_to(machine):
    machine("up", "--detach")
    machine.nic()
    backup = machine.folder / "one"
    machine("backup", "--to", backup)
    _, wrong = machine("backup", "--to", backup, status=1)
    assert "exists" in wrong
    _, wrong = machine("restore", "--from", backup, status=1)
    assert "holds a store" in wrong and "--force" in wrong
    _, wrong = machine("restore", "--from", backup, "--force", status=1)
    assert "stop culvertd" in wrong
    machine("down")
    before = (machine.data / "control/store.db").read_bytes()
    text = machine.folder / "text"
    text.write_text("no backup " * 100)
    machine("restore", "--from", text, "--force", status=2)
    _, wrong = machine("restore", "--from", backup, "--force", "--to-revision", "999999", status=1)
    assert "can show revisions" in wrong
    assert (machine.data / "control/store.db").read_bytes() == before, "a refusal changes nothing"
    machine("restore", "--from", backup, "--force")
    kept = list((machine.data / "control").glob("store.db.replaced-*"))
    assert [path.read_bytes() for path in kept] == [before]


@pytest.fixture
def rotated():
    made = Topology(nodes=3)
    yield made
    made.close()


def test_certificates_that_the_backup_does_not_know_are_good_unless_revoked(rotated):
    """Every node renews, the authority changes, one node is removed; then all is taken back."""
    net = rotated
    kept, removed = net.nodes[:2], net.nodes[2]
    backup = net.folder / "backup"
    shutil.copy(net.rest.good("POST", "/culvert/backups", {}, None)["file"], backup)
    before = {node.name: (node.data / "node.pem").read_text() for node in net.nodes}
    rotate(net)  # which has every node renew
    assert all((node.data / "node.pem").read_text() != before[node.name] for node in net.nodes)
    # what it had at the time of the backup, stolen and kept
    stolen = net.folder / "stolen.pem"
    stolen.write_text(before[removed.name])
    removed.agent.stop()
    assert net.rest.call("DELETE", f"/culvert/nodes/{removed.name}", None, None).status == 204
    trusted = net.ca.read_text()

    net.culvertd.stop()
    words = ("restore", "--from", backup, "--data", net.folder / "control", "--force")
    run(BIN / "culvert", *words)
    assert net.ca.read_text() == trusted, "the former authority is not back"
    net.start_control()
    for node in kept:
        node.wait_ready(60)
    states = {node["name"]: node for node in authority(net)["nodes"]}
    assert all(states[node.name]["connected"] for node in kept), "nobody has joined again"
    assert removed.name in states, "a removal is taken back"
    for credentials in ((removed.data / "node.pem").read_text(), stolen.read_text()):
        (removed.data / "node.pem").write_text(credentials)
        removed.start()
        wait_for(lambda: "ended: " in removed.agent.tail(5), 30, 0.1, "a refusal")
        removed.agent.stop()
    assert not {n["name"]: n for n in authority(net)["nodes"]}[removed.name]["connected"]

    def numbers_known():
        return net.rest.good("GET", "/culvert/nodes", None, None)["numbersKnown"]

    assert not numbers_known(), "the node that is not coming back may know anything"
    assert net.rest.call("DELETE", f"/culvert/nodes/{removed.name}", None, None).status == 204
    wait_for(numbers_known, 30, 0.1, "the restore to be settled")
    log = net.culvertd.log.read_text()
    for node in kept:
        assert f"node {node.name} has a certificate that the restored store did not know" in log
    records = net.rest.good("GET", "/culvert/audit", None, None)["value"]
    accepted = [r for r in records if r["operation"] == "Culvert/nodes/certificates/accept"]
    assert {r["resource"] for r in accepted} == {f"/culvert/nodes/{n.name}" for n in kept}
    assert net.rest.good("POST", "/culvert/verifications", {}, None)["findings"] == []


def test_only_operators_make_backups_and_nobody_is_sent_one(net):
    guest = net.rest.good(
        "POST", "/culvert/principals", {"name": net.name("guest"), "role": "Reader"}, None
    )
    stranger = net.rest.other(
        {"client_id": guest["clientId"], "client_secret": guest["clientSecret"]}
    )
    for path in ("/culvert/backups", "/culvert/verifications"):
        assert stranger.call("POST", path, {}, None).status == 403
    made = net.rest.good("POST", "/culvert/backups", {}, None)
    assert set(made) == {"file", "bytes"}, "a place, no contents"
    folder = pathlib.Path(made["file"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    net.rest.good("POST", "/culvert/backups", {}, None)
    assert len(list(folder.iterdir())) == 1, "asking again and again does not fill the disk"


def test_the_verifier_finds_nothing_in_what_all_other_tests_have_left(net):
    verdict = net.rest.good("POST", "/culvert/verifications", {}, None)
    assert verdict["findings"] == [] and verdict["keys"] > 10
