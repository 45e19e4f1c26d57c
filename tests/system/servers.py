# SPDX-License-Identifier: Apache-2.0
"""Real servers in a workload's namespace; each in a folder of its own, ready when it is made."""
import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from culvert_harness import Process, ns_command, run, wait_for

POSTGRES = next(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), pathlib.Path("/none"))


@contextlib.contextmanager
def serving(workload, folder, *argv, ready, **options):
    """Runs argv in the workload's namespace until the end of the block."""
    process = Process(ns_command(workload.namespace, *argv), folder / "log", **options)

    def is_ready():
        if not process.alive():
            raise RuntimeError(f"{argv[0]} ended:\n{process.tail()}")
        return ready()

    try:
        wait_for(is_ready, 60, 0.05, argv[0])
        yield process
    finally:
        process.stop()


def listens(workload, port, kind="-t"):
    """Whether something has the TCP port (-u: the UDP port) there: the kernel knows."""

    def ready():
        return bool(workload.run("ss", "-Hln", kind, "sport", "=", f":{port}").stdout)

    return ready


def nginx(workload, folder, port, files):
    """Serves `files` by HTTP."""
    (folder / "nginx.conf").write_text(
        "daemon off; user root; worker_processes 1;\n"
        f"pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; sendfile on; server {{ listen {port}; root {files}; }} }}\n"
    )
    return serving(
        workload,
        folder,
        "nginx",
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
        ready=listens(workload, port),
    )


@contextlib.contextmanager
def postgresql(workload, port):
    """A fresh cluster that trusts whoever gets through to it."""
    with tempfile.TemporaryDirectory(prefix="cvt") as folder:
        shutil.chown(folder, "postgres")
        with _cluster(workload, pathlib.Path(folder), port) as process:
            yield process


def _cluster(workload, folder, port):
    data = folder / "data"
    run("runuser", "-u", "postgres", "--", POSTGRES / "initdb", "-N", "-A", "trust", "-D", data)
    with open(data / "pg_hba.conf", "a", encoding="utf-8") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    settings = {"listen_addresses": "*", "port": port, "unix_socket_directories": ""}
    argv = ["runuser", "-u", "postgres", "--", POSTGRES / "postgres", "-D", data]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]

    def ready():
        asked = workload.run(
            POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(port), check=False
        )
        return asked.returncode == 0

    return serving(workload, folder, *argv, ready=ready)


def unbound(workload, folder, port, records):
    """Answers for example.test out of `records`, nothing else."""
    lines = "".join(f"  local-data: '{record}'\n" for record in records)
    (folder / "unbound.conf").write_text(
        "server:\n  interface: 0.0.0.0\n"
        f"  port: {port}\n  do-daemonize: no\n  username: ''\n  chroot: ''\n"
        f"  directory: '{folder}'\n  pidfile: ''\n  use-syslog: no\n"
        "  access-control: 0.0.0.0/0 allow\n"
        "  max-udp-size: 8192\n  edns-buffer-size: 8192\n"
        f"  local-zone: 'example.test.' static\n{lines}"
        "remote-control:\n  control-enable: no\n"
    )
    return serving(
        workload,
        folder,
        "unbound",
        "-d",
        "-c",
        folder / "unbound.conf",
        ready=listens(workload, port),
    )


def iperf3(workload, folder, port):
    return serving(
        workload, folder, "iperf3", "-s", "-p", str(port), ready=listens(workload, port)
    )


@contextlib.contextmanager
def talking(workload, *argv):
    """A program whose input and output are the caller's."""
    with subprocess.Popen(
        [str(part) for part in ns_command(workload.namespace, *argv)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def dtls(workload, folder, port):
    """Takes one DTLS 1.2 connection; yields the program and its certificate."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    argv = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", *argv, "-subj", "/CN=example.test", "-keyout", key, "-out", certificate)
    argv = ["s_server", "-dtls1_2", "-accept", f"0.0.0.0:{port}", "-quiet", "-key", key]
    with talking(workload, "openssl", *argv, "-cert", certificate) as process:
        wait_for(lambda: listens(workload, port, "-u")(), 60, 0.05, "openssl s_server")
        yield process, certificate
