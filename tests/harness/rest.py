# SPDX-License-Identifier: Apache-2.0
"""The API over one kept-alive TLS connection."""
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse

from machine import inside

NETWORK = "2024-05-01"
NETWORK_OLD = "2022-01-01"  # what az uses for private endpoints
RESOURCES = "2024-11-01"


class Answer(dict):
    """An HTTP answer: .status, .headers, and the JSON body as a dict."""

    def __init__(self, status, headers, raw):
        self.status, self.raw = status, raw
        self.headers = {name.lower(): value for name, value in headers.items()}
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        super().__init__(body if isinstance(body, dict) else {"value": body})

    @property
    def code(self):
        error = self.get("error")
        return error.get("code", "") if isinstance(error, dict) else (error or "")

    @property
    def message(self):
        error = self.get("error")
        return error.get("message", "") if isinstance(error, dict) else ""


class Rest:
    """The API over one kept-alive TLS connection, made in the control plane's namespace."""

    def __init__(self, namespace, address, port, context, credentials):
        self.namespace, self.address, self.port = namespace, address, port
        self.context, self.credentials = context, credentials
        self.token = None
        self.connection = None
        self.patience = 0  # seconds that good() goes on asking a control plane that is away
        self.lock = threading.RLock()

    def other(self, credentials=None):
        """A second connection, as the same caller or as another."""
        who = credentials or self.credentials
        return Rest(self.namespace, self.address, self.port, self.context, who)

    def _connect(self):
        with inside(self.namespace):
            raw = socket.create_connection((self.address, self.port), timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = http.client.HTTPSConnection(self.address, self.port, timeout=20)
        self.connection.sock = self.context.wrap_socket(raw, server_hostname=self.address)

    def exchange(self, method, target, body=None, headers=None):
        """One raw exchange; a closed kept-alive connection is made anew once."""
        headers = dict(headers or {})
        for attempt in (0, 1):
            with self.lock:
                if self.connection is None:
                    self._connect()
                try:
                    self.connection.request(method, target, body=body, headers=headers)
                    answer = self.connection.getresponse()
                    return Answer(answer.status, dict(answer.getheaders()), answer.read())
                except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                    self.close()
                    if attempt:
                        raise
        raise AssertionError("not reached")

    def __del__(self):
        self.close()

    def close(self):
        with self.lock:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def sign_in(self):
        form = urllib.parse.urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": self.credentials["client_id"],
                "client_secret": self.credentials["client_secret"],
                "scope": f"https://{self.address}:{self.port}/.default",
            }
        )
        answer = self.exchange(
            "POST",
            "/adfs/oauth2/token",
            form,
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        if answer.status != 200:
            raise RuntimeError(f"sign in: {answer.status} {answer.raw!r}")
        self.token = answer["access_token"]

    def call(self, method, path, body=None, version=NETWORK):
        """An ARM call; body is a value or, for tests of bad input, bytes."""
        if self.token is None:
            self.sign_in()
        target = urllib.parse.quote(path, safe="/?=&$:@")
        if version:
            target += ("&" if "?" in target else "?") + "api-version=" + version
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
        return self.exchange(method, target, body, headers)

    def _patiently(self, ask):
        """Asks again while nobody answers or the answer is that nobody can now: for what may be
        asked twice."""
        end = time.monotonic() + self.patience
        while True:
            try:
                answer = ask()
                if answer.status < 500 or time.monotonic() > end:
                    return answer
            except (OSError, http.client.HTTPException, RuntimeError):
                self.close()
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def good(self, method, path, body=None, version=NETWORK):
        """As call(), but it must succeed; an operation still under way is waited for."""
        answer = self._patiently(lambda: self.call(method, path, body, version))
        if answer.status >= 400:
            raise AssertionError(
                f"{method} {path}: {answer.status} {answer.raw.decode(errors='replace')}"
            )
        poll = answer.headers.get("azure-asyncoperation")
        while poll:
            target = poll.split(f":{self.port}", 1)[-1]
            bearer = {"Authorization": f"Bearer {self.token}"}
            state = self._patiently(lambda: self.exchange("GET", target, None, bearer))
            if state.get("status") == "Succeeded":
                break
            if state.status >= 400 or state.get("status") in ("Failed", "Canceled"):
                raise AssertionError(f"{method} {path}: {state.raw!r}")
            time.sleep(0.02)
        if poll and method != "DELETE":
            return self._patiently(lambda: self.call("GET", path, None, version))
        return answer

    def get(self, path, version=NETWORK):
        return self.good("GET", path, None, version)

    def put(self, path, body, version=NETWORK):
        return self.good("PUT", path, body, version)

    def delete(self, path, version=NETWORK):
        return self.good("DELETE", path, None, version)
