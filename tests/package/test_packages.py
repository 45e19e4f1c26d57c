# SPDX-License-Identifier: Apache-2.0
"""The packages on a machine that systemd runs: one life, in order."""
import os
import pathlib
import re

import pytest
from container import ROOT, Container
from machine import run, wait_for
from scene import Scene, Traffic

ARCHITECTURE = run("dpkg", "--print-architecture").stdout.strip()
OLD, NEW = "1.0+1", "1.0+2"
# changes by itself, or belongs to dpkg and the journal
VOLATILE = re.compile(
    r"^/(var/log|var/lib/dpkg|var/cache|var/lib/systemd|run|tmp|proc|sys|dev|packages|root)(/|$)"
    r"|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|^/etc/\.pwd\.lock$"
    r"|^/var/lib/private$|^/usr/share/(man|info)/index"
)
UNITS = ("culvertd.service", "culvert-agent.service")


@pytest.fixture(name="debs", scope="module")
def made_packages(tmp_path_factory):
    """The same build as two versions."""
    out = tmp_path_factory.mktemp("debs")
    build = os.environ.get("CULVERT_BUILD", str(ROOT / "build/dev"))
    for version in (OLD, NEW):
        run(ROOT / "dev", "package", "--from", build, "--out", out, "--version", version)
    return out


@pytest.fixture(name="machine", scope="module")
def booted_machine(debs):
    machine = Container(debs)
    machine.before = files(machine)
    yield machine
    machine.close()


def all_of(version):
    names = ("culvert", "culvertd", "culvert-agent")
    return [f"{name}_{version}_{ARCHITECTURE}.deb" for name in names]


def files(machine):
    """Every path that something could have left behind, and every account."""
    paths = machine.shell("find / -xdev -print 2>/dev/null || true").splitlines()
    accounts = machine.shell("cut -d: -f1 /etc/passwd /etc/group").splitlines()
    return {path for path in paths if not VOLATILE.match(path)} | set(accounts)


def status_of(machine, unit):
    """Fields of /proc/PID/status of a unit's process."""
    text = machine.path(f"/proc/{machine.state(unit)['MainPID']}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_lintian_finds_no_error(debs):
    # whoever publishes packages says who answers for them: CULVERT_MAINTAINER
    nobody = "bogus-mail-host,bogus-mail-host-in-debian-changelog"
    done = run(
        "lintian",
        "--fail-on",
        "error",
        "--suppress-tags",
        nobody,
        *sorted(debs.glob(f"*_{NEW}_*.deb")),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_and_completion_come_from_the_programs(debs, tmp_path):
    for package, page in (
        ("culvert", "man1/culvert.1"),
        ("culvertd", "man8/culvertd.8"),
        ("culvert-agent", "man8/culvert-agent.8"),
    ):
        run("dpkg-deb", "-x", debs / f"{package}_{NEW}_{ARCHITECTURE}.deb", tmp_path)
        text = run("zcat", tmp_path / f"usr/share/man/{page}.gz").stdout.replace("\\-", "-")
        assert "--data-dir" in text and ".SH NAME" in text
    script = tmp_path / "usr/share/bash-completion/completions/culvert"
    shown = run("bash", "-c", f"source {script} && complete -p culvert").stdout
    assert "_culvert" in shown


def test_installing_starts_the_control_plane_without_privileges(machine):
    machine.install(*all_of(OLD))
    assert machine.state("culvertd")["ActiveState"] == "active", machine.journal("culvertd")
    status = status_of(machine, "culvertd")
    assert status["CapEff"] == status["CapBnd"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] != "0"
    assert machine.state("culvert-agent")["ActiveState"] == "inactive", "it has not joined"
    control = machine.path("/var/lib/culvert/control")
    assert control.stat().st_mode & 0o777 == 0o700
    assert (control / "bootstrap.json").stat().st_mode & 0o777 == 0o600
    assert machine.json("culvert", "node", "list", "--output", "json") == []


def test_an_agent_with_two_capabilities_carries_traffic(machine):
    machine.scene = Scene(machine)
    machine.scene.join()
    status = status_of(machine, "culvert-agent")
    wanted = 1 << 12 | 1 << 21  # CAP_NET_ADMIN, CAP_SYS_ADMIN
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == wanted
    machine.scene.build()
    assert machine.scene.connects()


@pytest.mark.parametrize("left", ["CAP_SYS_ADMIN", "CAP_NET_ADMIN CAP_BPF CAP_PERFMON"])
def test_each_of_the_two_is_needed_to_attach_a_workload(machine, left):
    nic, name = machine.scene.loose_nic()
    attach = ("culvert", "attach", "--nic", nic, "--netns", name)
    override = machine.path("/run/systemd/system/culvert-agent.service.d/less.conf")
    override.parent.mkdir(parents=True, exist_ok=True)
    override.write_text(f"[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet={left}\n")
    try:
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "culvert-agent", check=False)
        refused = machine.run(*attach, check=False)
        assert refused.returncode == 1, refused.stdout
        assert machine.scene.connects(), "what is attached goes on"
    finally:
        override.unlink()
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "culvert-agent")
    machine.scene.wait_connected()
    machine.run(*attach)


def test_systemd_says_how_exposed_the_units_are(machine):
    levels = {}
    for unit in UNITS:
        text = machine.shell(f"systemd-analyze security --no-pager {unit} || true")
        levels[unit] = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", text).group(1))
    print(levels)
    assert levels["culvertd.service"] <= 2.0
    assert levels["culvert-agent.service"] <= 6.0


def test_an_upgrade_drops_no_traffic_and_keeps_what_the_operator_wrote(machine):
    settings = machine.path("/etc/default/culvertd")
    settings.write_text(settings.read_text() + "# mine\n")
    before = {unit: machine.state(unit)["MainPID"] for unit in UNITS}
    with Traffic(machine.scene) as traffic:
        machine.install(*all_of(NEW))
        machine.scene.wait_connected()
    assert not traffic.failures, traffic.failures
    for unit in UNITS:
        now = machine.state(unit)
        assert now["ActiveState"] == "active", machine.journal(unit)
        assert now["MainPID"] != before[unit], "the new one runs"
    assert settings.read_text().endswith("# mine\n")


def test_traffic_outlives_the_removal_and_a_killed_agent_is_started_again(machine):
    with Traffic(machine.scene) as traffic:
        first = machine.state("culvert-agent")["MainPID"]
        machine.run("kill", "-9", first)
        wait_for(
            lambda: machine.state("culvert-agent")["MainPID"] not in (first, "0"),
            20,
            0.1,
            "another agent",
        )
        machine.run("dpkg", "-r", "culvert-agent")
        assert not machine.path("/usr/sbin/culvert-agent").exists()
        assert machine.scene.connects(), "no agent is there, the kernel is"
        machine.install(all_of(NEW)[2])
        machine.scene.wait_connected()
    assert not traffic.failures, traffic.failures


def test_purging_leaves_nothing(machine):
    machine.scene.backend.close()
    machine.run("dpkg", "--purge", "culvert-agent", "culvertd", "culvert")
    assert list(machine.path("/sys/fs/bpf").iterdir()) in ([], debug_files(machine))
    links = machine.json("ip", "-j", "link")
    assert [link["ifname"] for link in links] == ["lo"]
    for name in [each["name"] for each in machine.json("ip", "-j", "netns")]:
        inside = machine.json("ip", "-n", name, "-j", "link")
        assert [link["ifname"] for link in inside] == ["lo"], "workloads keep their namespaces only"
        machine.run("ip", "netns", "del", name)
    left = machine.shell("systemctl list-unit-files --no-legend 'culvert*' || true")
    assert left.strip() == ""
    found = files(machine) - machine.before
    assert not found, sorted(found)


def debug_files(machine):
    """What the kernel puts into every bpffs."""
    return [
        path
        for path in pathlib.Path(machine.path("/sys/fs/bpf")).iterdir()
        if path.name.endswith(".debug")
    ]
