# SPDX-License-Identifier: Apache-2.0
"""`culvert` on one machine: up, down and what goes wrong between them."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile

import pytest
from culvert_harness import BIN, ns_command, run, wait_for

SUBNET = {"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}


class Machine:
    """A namespace as a machine of its own, with a data directory."""

    def __init__(self, name):
        self.namespace = f"cvt{os.getpid()}{name}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.namespace}-"))
        self.data = self.folder / "data"
        self.environment = dict(os.environ, XDG_CONFIG_HOME=str(self.folder / "config"))
        self.namespaces = []
        self.namespace = self.make_namespace(self.namespace)

    def make_namespace(self, name):
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def command(self, *words):
        return ns_command(self.namespace, BIN / "culvert", *words, "--data-dir", self.data)

    def __call__(self, *words, status=0):
        """Runs a command, whose exit status must be the one given; returns its output and errors"""
        done = run(*self.command(*words), check=False, env=self.environment, timeout=60)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr

    def json(self, *words):
        return json.loads(self(*words, "--output", "json")[0])

    def pids(self):
        """pid by name, of those that run"""
        found = {}
        for name in ("culvertd", "culvert-agent"):
            with contextlib.suppress(OSError, ValueError):
                pid = int((self.data / "run" / f"{name}.pid").read_text().split()[0])
                if b"Z" != pathlib.Path(f"/proc/{pid}/stat").read_bytes().rsplit(b") ")[1][:1]:
                    found[name] = pid
        return found

    def arm(self, kind, name, properties, **more):
        bootstrap = json.loads((self.data / "bootstrap.json").read_text())
        group = f"/subscriptions/{bootstrap['subscription']}/resourceGroups/g"
        path = f"{group}/providers/Microsoft.Network/{kind}/{name}" if kind else group
        body = json.dumps({"location": "local", "properties": properties, **more})
        self("rest", "PUT", path, "--api-version", "2024-05-01", "--body", body)
        return path

    def nic(self):
        self.arm("", "", {})
        spaces = {"addressPrefixes": ["10.0.0.0/16"]}
        vnet = self.arm("virtualNetworks", "v", {"addressSpace": spaces, "subnets": [SUBNET]})
        subnet = {"subnet": {"id": f"{vnet}/subnets/default"}}
        config = [{"name": "ip1", "properties": subnet}]
        return self.arm("networkInterfaces", "n", {"ipConfigurations": config})

    def close(self):
        if self.data.exists():
            run(*self.command("down", "--purge"), check=False, env=self.environment)
        for name in self.namespaces:
            run("ip", "netns", "del", name, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def machine():
    made = Machine("m")
    yield made
    made.close()


def test_up_starts_says_so_again_and_down_leaves_nothing(machine):
    text, _ = machine("up", "--detach")
    bootstrap = json.loads((machine.data / "bootstrap.json").read_text())
    assert bootstrap["client_secret"] in text and "az-setup" in text
    assert set(machine.pids()) == {"culvertd", "culvert-agent"}
    before = machine.pids()
    again, _ = machine("up", "--detach")
    assert "already up" in again and bootstrap["client_secret"] not in again
    assert machine.pids() == before
    for path in (machine.data / "bootstrap.json", machine.data / "control" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.data.stat().st_mode) == 0o700

    nic = machine.nic()
    space = machine.make_namespace(f"{machine.namespace}w")
    machine("attach", "--nic", nic, "--netns", space)
    assert "10.0.0." in run("ip", "-n", space, "addr", "show", "eth0").stdout
    status = machine.json("status")
    assert status["controlPlane"]["reachable"] and status["agent"]["nics"][0]["carrying"]

    stopped = machine.json("down")["stopped"]
    assert sorted(stopped) == ["culvert-agent", "culvertd"] and machine.pids() == {}
    assert "eth0" in run("ip", "-n", space, "link").stdout, "what is attached stays"
    machine("status", status=1)
    machine("up", "--detach")
    assert machine.json("status")["agent"]["nics"][0]["carrying"]
    machine("down", "--purge")
    assert not machine.data.exists()
    assert "eth0" not in run("ip", "-n", space, "link").stdout
    assert str(machine.data) not in pathlib.Path("/proc/mounts").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_up_in_the_foreground_stops_both_when_it_is_told_to(machine, number):
    up = foreground(machine)
    up.send_signal(number)
    assert up.wait(20) == 0
    assert machine.pids() == {}


def foreground(machine):
    """`up` as a shell starts it: this process is its parent, nsenter has become it"""
    up = subprocess.Popen(
        machine.command("up"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=machine.environment,
    )
    for line in up.stdout:
        if "Ctrl-C" in line:
            break
    assert set(machine.pids()) == {"culvertd", "culvert-agent"}
    return up


def test_nothing_is_left_running_when_the_foreground_is_killed(machine):
    up = foreground(machine)
    pids = machine.pids()
    up.kill()
    up.wait(5)
    wait_for(lambda: not any(alive(pid) for pid in pids.values()), 15, what="end of both")


def alive(pid):
    try:
        return b") Z" not in pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_down_does_not_stop_a_process_that_only_has_the_pid(machine):
    machine("up", "--detach")
    machine("down")
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        (machine.data / "run" / "culvertd.pid").write_text(f"{sleeper.pid} 1\n")
        machine("down")
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_port_that_is_taken_is_said_to_be(machine):
    holder = subprocess.Popen(
        ns_command(
            machine.namespace,
            "python3",
            "-c",
            "import socket, time; s = socket.create_server(('127.0.0.1', 8443)); time.sleep(60)",
        )
    )
    try:
        wait_for(lambda: taken(machine), 5, what="the holder")
        _, wrong = machine("up", "--detach", status=1)
        assert "8443" in wrong or "in use" in wrong
        assert machine.pids() == {}, "nothing is left half started"
        found = {row["check"]: row for row in json.loads(doctor(machine))}
        assert found["API ports"]["result"] == "warn" and found["API ports"]["remedy"]
    finally:
        holder.kill()
        holder.wait()
    machine("up", "--detach")


def taken(machine):
    return ":8443" in run(*ns_command(machine.namespace, "ss", "-ltn")).stdout


def doctor(machine):
    return run(*machine.command("doctor", "--output", "json"), env=machine.environment).stdout


def test_commands_say_what_is_wrong_by_status_and_words(machine):
    _, wrong = machine("status", status=1)
    machine("down", status=3)
    assert "culvert up" in machine("drops", status=1)[1]
    machine("up", "--detach")
    nic = machine.nic()
    assert "--netns" in machine("attach", "--nic", nic, "--netns", "nowhere", status=3)[1]
    assert "--nic" in machine("attach", "--nic", "x", "--netns", "nowhere", status=1)[1]
    space = machine.make_namespace(f"{machine.namespace}w")
    gone = nic + "none"
    assert "NotFound" in machine("attach", "--nic", gone, "--netns", space, status=3)[1]
    machine("attach", "--nic", nic, status=2)
    machine("rest", "GET", gone, "--api-version", "2024-05-01", status=3)
    machine("rest", "GET", nic, status=1)  # no api-version
    assert [node["connected"] for node in machine.json("node", "list")] == [True]
    assert machine.json("drops") and machine.json("counters")
    assert wrong == "" or "culvert" in wrong


def test_login_keeps_what_works_and_nothing_else(machine):
    machine("up", "--detach")
    who = json.loads((machine.data / "bootstrap.json").read_text())
    kept = machine.folder / "config" / "culvert" / "login.json"
    sp = ("login", "--service-principal", "-u", who["client_id"], "-t", who["tenant"], "-p")
    _, wrong = machine(*sp, "wrong", status=1)
    assert "invalid_client" in wrong and not kept.exists()
    machine(*sp, who["client_secret"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    (machine.data / "bootstrap.json").rename(machine.data / "away")
    assert machine.json("node", "list")
    machine("login", "-u", who["user"], "-p", who["password"])
    assert who["password"] not in kept.read_text(), "a refresh token is kept, not the password"
    assert machine.json("node", "list")
    machine("logout")
    machine("node", "list", status=1)
    (machine.data / "away").rename(machine.data / "bootstrap.json")


def test_principals_and_subscriptions_are_made(machine):
    machine("up", "--detach")
    made = machine.json("subscription", "create", "--name", "second")
    scope = f"/subscriptions/{made['id']}"
    who = machine.json(
        "principal", "create", "--name", "robot", "--role", "Reader", "--scope", scope
    )
    environment = {
        "CULVERT_CLIENT_ID": who["clientId"],
        "CULVERT_CLIENT_SECRET": who["clientSecret"],
    }
    machine.environment |= environment
    group = f"{scope}/resourceGroups/g"
    machine("rest", "GET", f"{scope}/resourceGroups", "--api-version", "2024-11-01")
    machine("rest", "PUT", group, "--api-version", "2024-11-01", "--body", "{}", status=1)
    for name in environment:
        machine.environment.pop(name)
