# SPDX-License-Identifier: Apache-2.0
"""The machine's side of tests: programs, network namespaces, captures."""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CULVERT_BIN", ROOT / "build/dev/bin"))
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def interrupt_on_signals():
    """A lane that is told to stop removes what it made, as after Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def run(*argv, check=True, **options):
    """Runs a program to its end and returns it with its output as text."""
    done = subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, check=False, **options
    )
    if check and done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(map(str, argv))}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def wait_for(condition, seconds=10.0, every=0.01, what="condition"):
    """The first true value of condition(); raises when there was none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} after {seconds} s")
        time.sleep(every)


@contextlib.contextmanager
def inside(namespace):
    """The calling thread stands in a network namespace, named or given by a path; sockets made here
    stay there."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(
        os.path.join("/run/netns", namespace), "rb"
    ) as there:
        if _libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            if _libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                os.abort()  # a thread in the wrong namespace must not go on


def ns_command(namespace, *argv):
    """The command line that runs argv in a namespace, mounts untouched."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *map(str, argv)]


class Process:
    """A program of the topology; stopped by its pid alone."""

    def __init__(self, argv, log, **options):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **options,
            )

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, seconds=10):
        if not self.alive():
            return
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(number)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)

    def tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Watch:
    """Captures on interfaces and counts the frames that hold a marker. Use it as a context
    manager."""

    def __init__(self, places, marker):
        self.marker = marker
        self.counts = {place: 0 for place in places}
        self.sockets = {}
        for namespace, ifname in places:
            with inside(namespace) if namespace else contextlib.nullcontext():
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            sock.bind((ifname, 3))
            sock.settimeout(0.2)
            self.sockets[namespace, ifname] = sock
        self.stopped = threading.Event()
        self.threads = [
            threading.Thread(target=self._read, args=(place,)) for place in self.sockets
        ]

    def _read(self, place):
        sock = self.sockets[place]
        while True:
            if self.stopped.is_set():
                sock.settimeout(0)  # what has come; the backbone is never silent
            try:
                frame = sock.recv(1 << 17)
            except BlockingIOError:
                return
            except TimeoutError:
                continue
            except OSError:
                return
            if self.marker in frame:
                self.counts[place] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        time.sleep(0.2)  # for what is on its way
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        for sock in self.sockets.values():
            sock.close()

    def leaks(self, allowed):
        """Places outside `allowed` where the marker was seen."""
        return {
            place: count for place, count in self.counts.items() if count and place not in allowed
        }


def interfaces(namespace):
    """Names of a namespace's interfaces; None is the machine's own."""
    argv = ["ip", "-j", "link"] if namespace is None else ["ip", "-n", namespace, "-j", "link"]
    return [link["ifname"] for link in json.loads(run(*argv).stdout)]
