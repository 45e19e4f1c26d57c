# SPDX-License-Identifier: Apache-2.0
"""An installation of Culvert inside namespaces: culvertd, and an agent on each host."""
import json
import os
import pathlib
import shutil
import subprocess
import time

from arm import Arm, address, balancer, endpoint, vnet

BIN = pathlib.Path(os.environ.get("CULVERT_BIN", "build/release/bin")).resolve()
GROUP = "bench"
API_PORT, INTENT_PORT = 8443, 8444


def inside(netns, *command):
    """argv that runs a command in a network namespace, all else as here (bpffs too)"""
    return ["nsenter", f"--net=/run/netns/{netns}", "--", *map(str, command)]


def run(argv, timeout=60, env=None):
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout, check=False, env=env
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def stop(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Installation:
    """culvertd in the namespace `node`, and agents; everything is below `directory`.

    Not `culvert up`: an installation of this machine's own, with its pins, is left alone.
    """

    def __init__(self, directory, node, listen="127.0.0.1"):
        self.directory = pathlib.Path(directory)
        self.node, self.listen = node, listen
        self.control = f"https://{listen}:{API_PORT}"
        self.culvertd = None
        self.agents = []  # (namespace, data directory, process)

    @property
    def ca(self):
        return self.directory / "control" / "ca.crt"

    def bootstrap(self):
        return json.loads((self.directory / "bootstrap.json").read_text())

    def culvert(self, netns, data, *arguments):
        """the command line on the host `netns`, as the first principal"""
        known = self.bootstrap()
        caller = {
            "CULVERT_CONTROL": self.control,
            "CULVERT_CA": str(self.ca),
            "CULVERT_CLIENT_ID": known["client_id"],
            "CULVERT_CLIENT_SECRET": known["client_secret"],
            "XDG_CONFIG_HOME": str(self.directory / "config"),
        }
        argv = inside(netns, BIN / "culvert", *arguments, "--data-dir", data)
        return run(argv, env=os.environ | caller)

    def start(self, netns, log, *argv):
        with open(log, "w", encoding="utf-8") as out:
            return subprocess.Popen(
                inside(netns, *argv),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def up(self):
        data = self.directory / "control"
        data.mkdir(mode=0o700, parents=True)
        log = self.directory / "culvertd.log"
        self.culvertd = self.start(
            self.node,
            log,
            *(BIN / "culvertd", "--data-dir", data, "--listen", f"{self.listen}:{API_PORT}"),
            *("--intent-listen", f"{self.listen}:{INTENT_PORT}", "--advertise", self.listen),
            *("--print-bootstrap", self.directory / "bootstrap.json", "--log-level", "warn"),
        )
        self.wait(self.culvertd, log, self.answers)

    def answers(self):
        if not (self.ca.exists() and (self.directory / "bootstrap.json").exists()):
            return False
        probe = ("curl", "-sf", "--max-time", "1", "--cacert", self.ca)
        target = f"{self.control}/metadata/endpoints?api-version=2022-09-01"
        done = subprocess.run(inside(self.node, *probe, target), capture_output=True, check=False)
        return done.returncode == 0

    def wait(self, process, log, ready):
        for _ in range(200):
            if process.poll() is not None:
                raise RuntimeError(f"it ended with {process.returncode}:\n{log.read_text()}")
            if ready():
                return
            time.sleep(0.1)
        raise RuntimeError(f"not ready after 20 s:\n{log.read_text()[-2000:]}")

    def add_agent(self, netns, name, backbone, outer):
        """joins and starts an agent; returns its data directory"""
        data = self.directory / name
        data.mkdir(mode=0o700)
        token = json.loads(
            self.culvert(netns, data, "node", "token", "--node", name, "--output", "json")
        )["token"]
        program = BIN / "culvert-agent"
        join = ("join", "--data-dir", data, "--name", name, "--control", self.control)
        run(inside(netns, program, *join, "--outer", outer, "--ca", self.ca, "--token", token))
        log = data / "log"
        options = ("--backbone", backbone, "--pin", data / "pin", "--log-level", "warn")
        process = self.start(netns, log, program, "run", "--data-dir", data, *options)
        self.agents.append((netns, data, process))
        self.wait(process, log, lambda: self.connected(netns, data))
        return data

    def connected(self, netns, data):
        argv = inside(netns, BIN / "culvert", "status", "--output", "json", "--data-dir", data)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        status = (json.loads(done.stdout or "{}").get("agent") or {}) if done.stdout else {}
        return status.get("connected") and status["intent"]["version"]

    def down(self):
        """ends every process and removes what they made; errors are told after all is tried"""
        wrong = []
        for netns, data, process in self.agents:
            stop(process)
            try:
                run(inside(netns, BIN / "culvert-agent", "purge", "--data-dir", data))
            except RuntimeError as error:
                wrong.append(str(error))
        self.agents = []
        if self.culvertd:
            stop(self.culvertd)
            self.culvertd = None
        shutil.rmtree(self.directory, ignore_errors=True)
        if wrong:
            raise RuntimeError("\n".join(wrong))


def private_link(arm, ports, pe_address, backend, pool_from, pool_count):
    """Makes both networks, the provider's interface, balancer and service, and the endpoint.

    Returns the ids of the consumer's and the provider's interface, the service and the networks.
    """
    arm.put_group()
    arm.put(
        "virtualNetworks",
        "consumer",
        vnet("10.1.0.0/16", work=("10.1.0.0/24", False), many=("10.1.16.0/20", False)),
    )
    arm.put("virtualNetworks", "provider", vnet("10.2.0.0/16", work=("10.2.0.0/24", True)))
    near = arm.id_of("virtualNetworks", "consumer") + "/subnets/work"
    far = arm.id_of("virtualNetworks", "provider") + "/subnets/work"
    lb = arm.id_of("loadBalancers", "lb")
    arm.put(
        "loadBalancers", "lb", balancer(lb, far, "10.2.0.200", ports), sku={"name": "Standard"}
    )
    member = [{"id": f"{lb}/backendAddressPools/pool"}]
    arm.put(
        "networkInterfaces",
        "server",
        {"ipConfigurations": [address("a", far, backend, loadBalancerBackendAddressPools=member)]},
    )
    arm.put("networkInterfaces", "client", {"ipConfigurations": [address("a", near, "10.1.0.10")]})
    nat = [
        address(f"nat{i}", far, f"10.2.0.{pool_from + i}", primary=i == 0)
        for i in range(pool_count)
    ]
    subscription = arm.group_id.split("/")[2]
    service = {
        "loadBalancerFrontendIpConfigurations": [{"id": f"{lb}/frontendIPConfigurations/front"}],
        "ipConfigurations": nat,
        "visibility": {"subscriptions": [subscription]},
        "autoApproval": {"subscriptions": [subscription]},
    }
    arm.put("privateLinkServices", "service", service)
    service_id = arm.id_of("privateLinkServices", "service")
    arm.put("privateEndpoints", "pe", endpoint(near, service_id, pe_address))
    return arm.id_of("networkInterfaces", "client"), arm.id_of("networkInterfaces", "server")


def sign_in(installation):
    """an Arm client; only from inside the installation's namespace"""
    return Arm(
        installation.control, str(installation.ca), installation.bootstrap(), GROUP
    )
