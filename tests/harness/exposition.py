# SPDX-License-Identifier: Apache-2.0
"""What programs tell of themselves, in Prometheus' text format."""
import http.client
import re

from machine import inside

METRICS_PORT = 9470
AGENT_PORT = 9471


def plain(net, address, port, path):
    """Status and body of a GET without TLS."""
    with inside(net.control):
        connection = http.client.HTTPConnection(address, port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
    return answer.status, text


def scrape(net, address, port):
    """Type by name, and values by name with labels."""
    status, text = plain(net, address, port, "/metrics")
    assert status == 200
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert types.keys() == helps.keys(), "everything says what it is"
    values = {
        name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", text, re.MULTILINE)
    }
    return types, values
