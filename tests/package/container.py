# SPDX-License-Identifier: Apache-2.0
"""A machine of its own for packages: Debian 12 booted by systemd-nspawn, on an overlay over the
root of tools/package-root, with network, mounts and cgroups of its own. Nothing of it stays."""
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "harness"))

from machine import Process, run, wait_for  # noqa: E402

BOOT = """
set -e
mount --make-rprivate /
mkdir -p {work}/up {work}/work {work}/root {work}/bpf {work}/cgroup
mount -t overlay overlay -o lowerdir={lower},upperdir={work}/up,workdir={work}/work {work}/root
mount -t bpf bpf {work}/bpf
mount -t cgroup2 cgroup2 {work}/cgroup
mkdir {work}/cgroup/{name}
echo $$ >{work}/cgroup/{name}/cgroup.procs
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet -D {work}/root --register=no --keep-unit --private-network \
    --machine={name} --capability=all --system-call-filter="bpf perf_event_open" \
    --bind={work}/bpf:/sys/fs/bpf --bind-ro={debs}:/packages --kill-signal=SIGRTMIN+3 --boot
"""

CLEAN = """
mount -t cgroup2 cgroup2 {work}/cgroup
[ -d {work}/cgroup/{name} ] && find {work}/cgroup/{name} -depth -type d -exec rmdir {{}} +
umount {work}/cgroup
"""


class Container:
    """Boots; close() ends and removes it."""

    def __init__(self, debs):
        self.name = f"cvp{os.getpid()}"
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        lower = run(ROOT / "tools/package-root", "--path").stdout.strip()
        self.values = {"work": self.work, "lower": lower, "name": self.name, "debs": debs}
        self.leader = None
        self.process = Process(
            ["unshare", "-m", "bash", "-c", BOOT.format(**self.values)], self.work / "console"
        )
        try:
            self.leader = wait_for(self._leader, 30, 0.05, "a booting container")
            wait_for(self._is_up, 60, 0.1, "a booted container")
        except BaseException:
            print(self.process.tail())
            self.close()
            raise

    def _leader(self):
        if not self.process.alive():
            raise RuntimeError(f"it did not boot:\n{self.process.tail()}")
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return None

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def path(self, inside):
        """A path of the container, seen from here."""
        return pathlib.Path(f"/proc/{self.leader}/root{inside}")

    @property
    def netns(self):
        return f"/proc/{self.leader}/ns/net"

    def run(self, *argv, check=True, **options):
        enter = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8"}
        return run(*enter, *argv, check=check, env=environment, **options)

    def shell(self, script, check=True):
        return self.run("sh", "-c", script, check=check).stdout

    def json(self, *argv):
        return json.loads(self.run(*argv).stdout)

    def install(self, *names):
        """dpkg -i of packages of a version, by file name."""
        return self.run("dpkg", "--force-confold", "-i", *[f"/packages/{name}" for name in names])

    def state(self, unit):
        shown = self.run("systemctl", "show", unit, "-p", "ActiveState,MainPID,NRestarts")
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def journal(self, unit):
        show = ("journalctl", "-q", "--no-pager", "-n", "60", "-u", unit)
        return self.run(*show, check=False).stdout

    def close(self):
        if self.process.alive():
            if self.leader is not None:
                # systemd's order to power off at once
                os.kill(self.leader, signal.SIGRTMIN + 13)
            try:
                self.process.popen.wait(20)
            except subprocess.TimeoutExpired:
                self.process.stop(signal.SIGKILL)
        script = CLEAN.format(**{key: shlex.quote(str(v)) for key, v in self.values.items()})
        wait_for(
            lambda: run("unshare", "-m", "sh", "-c", script, check=False).returncode in (0, 1),
            10,
            0.2,
            "the cgroups' end",
        )
        shutil.rmtree(self.work, ignore_errors=True)
