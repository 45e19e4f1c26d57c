# SPDX-License-Identifier: Apache-2.0
"""Agents and culvertd are killed, stopped, cut off and replaced by builds with another map layout:
established connections go on, new ones succeed, what has ended expires. ./dev soak faults does the
same at full size."""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import culvert_harness
import pytest
from culvert_harness import BIN, Conversation, run, wait_for
from faults import NEXT_AGENT, Faults
from scenes import connects, consumer, provider

NOBODY = 65534


@pytest.fixture(scope="module")
def pair():
    """Two nodes of our own: their agents do not stay the build that others expect."""
    topology = culvert_harness.Topology(nodes=2)
    yield topology
    topology.close()


@pytest.fixture
def agent(pair):
    """The first node, back to this build afterwards."""
    node = pair.nodes[0]
    this = pair.folder / "agent-this"
    shutil.copy(BIN / "culvert-agent", f"{this}.new")
    os.rename(f"{this}.new", this)
    yield node
    node.agent.stop()
    node.binary = this
    node.start().wait_ready(60)


def upgrade(node, binary, *flags):
    return node.culvert("agent", "upgrade", "--binary", binary, *flags, check=False)


def next_agent(pair):
    path = pair.folder / "agent-next"
    if not path.exists():
        shutil.copy(NEXT_AGENT, path)
    return path


def goes_on(sock):
    """Does an established connection still carry bytes?"""
    try:
        sock.sendall(b"after")
        return sock.recv(5) != b""
    except OSError:
        return False


def link(pair, place=0, at=1):
    """A consumer on one node, its connection to a backend on another, and what can be revoked."""
    made = provider(pair, [pair.nodes[at]])
    client = consumer(pair, pair.nodes[place])
    endpoint, address = pair.endpoint(client.group, client.subnet(), made.service)
    return made, endpoint, client.workload, address


def test_a_thousand_connections_outlive_every_fault(pair):
    faults = Faults(pair, provider, consumer, idle=500, busy=500, fresh=20, pace=2000)
    try:
        faults.kill_agents(4)
        faults.stop_agents()
        faults.freeze_agents()
        faults.change_build("next")
        faults.kill_agents(2)
        faults.change_build("this")
        faults.kill_control(2)
        faults.cut_off(3)
        sums = faults.end()
        assert sums["fresh"] > 0
    finally:
        faults.close()


def test_a_link_that_is_revoked_during_the_swap_stays_refused(pair, agent):
    made, endpoint, client, address = link(pair)
    version = agent.status()["abiVersion"]
    with client.connect(address, 80) as sock:
        talk = Conversation(sock)
        talk.check(b"before" * 1000)
        swap = threading.Thread(target=upgrade, args=(agent, next_agent(pair)))
        swap.start()
        pair.decide(made.service, endpoint, "Rejected")
        swap.join()
        agent.wait_ready(60)
        assert agent.status()["abiVersion"] == version + 1
        assert not connects(client, address)
        assert not goes_on(sock)
        # the old layout's maps say that it is approved; nobody must ask them
        assert upgrade(agent, pair.folder / "agent-this").returncode == 0
        agent.wait_ready(60)
        assert not connects(client, address)
        assert not goes_on(sock)


def test_a_dry_run_examines_and_changes_nothing(agent, pair):
    before = agent.status()
    done = upgrade(agent, next_agent(pair), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"map layout {before['abiVersion'] + 1}" in done.stdout
    assert "nothing was changed" in done.stdout
    assert agent.status()["instance"] == before["instance"]


@pytest.mark.parametrize(
    "what, remedy",
    [
        ("no program", "no such file"),
        ("another program", "'/usr/bin/true check' ended with 0"),
        ("a file that anybody may write", "chmod go-w"),
        ("a file of another user", "chown root"),
    ],
)
def test_what_is_no_agent_of_roots_is_refused(agent, pair, what, remedy):
    path = pair.folder / "candidate"
    path.unlink(missing_ok=True)
    if what == "another program":
        path = "/usr/bin/true"
    elif what != "no program":
        shutil.copy(BIN / "culvert-agent", path)
        if "user" in what:
            os.chown(path, NOBODY, NOBODY)
        else:
            os.chmod(path, 0o777)
    before = agent.status()
    done = upgrade(agent, path)
    assert done.returncode == (3 if what == "no program" else 1)
    assert remedy in done.stderr.lower(), done.stderr
    assert agent.status()["instance"] == before["instance"]


def test_a_program_that_cannot_start_gives_way_to_the_old_one(agent, pair):
    """it passes its examination, but looks for the node's identity elsewhere"""
    broken = pair.folder / "agent-broken"
    content = (BIN / "culvert-agent").read_bytes()
    assert b"node.json" in content
    broken.write_bytes(content.replace(b"node.json", b"n0de.json"))
    broken.chmod(0o755)
    _, _, client, address = link(pair)
    with client.connect(address, 80) as sock:
        talk = Conversation(sock)
        before = agent.status()
        done = upgrade(agent, broken)
        assert done.returncode == 1
        assert "the agent goes on as" in done.stderr and "n0de.json" in done.stderr
        after = agent.wait_ready(60)
        assert after["pid"] == before["pid"]
        assert after["upgrade"]["failed"]
        talk.check(b"still here" * 1000)
        assert connects(client, address)


def test_the_installed_program_may_be_replaced_under_the_running_agent(agent, pair):
    """as a package does: another file under the same name"""
    path = pair.folder / "installed"
    version = agent.status()["abiVersion"]
    shutil.copy(BIN / "culvert-agent", path)
    assert upgrade(agent, path).returncode == 0
    shutil.copy(NEXT_AGENT, pair.folder / "installing")
    os.rename(pair.folder / "installing", path)
    assert upgrade(agent, path).returncode == 0
    status = agent.wait_ready(60)
    assert status["abiVersion"] == version + 1
    assert status["pid"] == agent.agent.pid


def as_nobody(work):
    """Runs `work` in a process that is no longer root; what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        text = answers.read().decode()
    os.waitpid(child, 0)
    return text


def test_a_local_user_who_is_not_root_cannot_trigger_it(agent, pair):
    path = agent.data / "agent.sock"
    before = agent.status()

    def knock():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            try:
                sock.connect(str(path))
                sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                return sock.recv(100)
            except OSError as error:
                return type(error).__name__

    assert as_nobody(knock) == "'PermissionError'"
    modes = {place: place.stat().st_mode for place in (path, agent.data, pair.folder)}
    try:
        for place in modes:  # the second line of defence: who calls, not what the mode says
            place.chmod(0o777)
        assert as_nobody(knock) in ("b''", "'ConnectionResetError'", "'BrokenPipeError'")
        wait_for(lambda: f"uid={NOBODY}" in agent.agent.tail(), what="the refusal in the log")
        asked = subprocess.run(
            [BIN / "culvert", "agent", "upgrade", "--data-dir", agent.data],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 1 and "root" in asked.stderr
    finally:
        for place, mode in modes.items():
            place.chmod(mode & 0o7777)
    assert agent.status()["instance"] == before["instance"]


def test_flows_expire_while_the_agent_is_frozen(pair):
    _, _, client, address = link(pair, place=0, at=0)
    node = pair.nodes[0]
    node.agent.send(signal.SIGSTOP)
    try:
        before = len(node.flow_entries())
        with client.connect(address, 80) as sock:
            Conversation(sock).check(b"x")
            assert len(node.flow_entries()) >= before + 2
        wait_for(lambda: len(node.flow_entries()) <= before, 60, 0.2, "end of the flow")
    finally:
        node.agent.send(signal.SIGCONT)
    node.wait_ready(60)
