#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile node: speaks the agent protocol with a real certificate and says what it is told to.

Started in a node's namespace with the folder of a joined identity and of the compiled protocol;
reads one JSON step a line and answers each with one line. Steps:
  open ID [cert] [obey]  a stream; cert: folder of another identity, or "none"; obey: it
                      acknowledges whatever it is sent, at once, and does nothing
  say ID MESSAGE      an AgentMessage as JSON (protobuf's own mapping)
  bytes ID HEX        bytes as they are
  fill ID COUNT       COUNT bytes that are no message
  hear ID SECONDS     waits for messages: those of the stream so far, or how it ended
"""
import json
import pathlib
import queue
import sys
import threading

import grpc
from google.protobuf import json_format

WAIT = 20  # a stream that says nothing for so long is a failure of the test


class Stream:
    def __init__(self, target, identity, tls, obey):
        read = lambda name: (identity / name).read_bytes()  # noqa: E731
        if tls == "none":
            credentials = grpc.ssl_channel_credentials(read("ca.crt"))
        else:
            # key and certificate in one file
            pem = ((pathlib.Path(tls) if tls else identity) / "node.pem").read_bytes()
            at = pem.index(b"-----BEGIN CERTIFICATE")
            credentials = grpc.ssl_channel_credentials(read("ca.crt"), pem[:at], pem[at:])
        self.channel = grpc.secure_channel(target, credentials)
        self.outbox, self.obey = queue.Queue(), obey
        call = self.channel.stream_stream(
            "/culvert.api.Intent/Connect",
            request_serializer=lambda raw: raw,
            response_deserializer=lambda raw: raw,
        )
        self.call = call(iter(self.outbox.get, None))
        self.heard, self.end = [], None
        self.changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        end = ["OK", ""]
        try:
            for raw in self.call:
                message = api.ControlMessage.FromString(raw)
                if self.obey and message.HasField("delta"):
                    self.outbox.put(
                        api.AgentMessage(
                            ack=api.Ack(version=message.delta.version)
                        ).SerializeToString()
                    )
                with self.changed:
                    self.heard.append(json_format.MessageToDict(message))
                    self.changed.notify_all()
        except grpc.RpcError as error:
            end = [error.code().name, error.details()]
        with self.changed:
            self.end = end
            self.changed.notify_all()

    def hear(self, deltas, end):
        """Waits until so many deltas came, or for the end."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.end is not None
                or (not end and sum("delta" in each for each in self.heard) >= deltas),
                WAIT,
            )
            return {"heard": list(self.heard), "end": self.end}


def step(streams, identity, target, order):
    what, name = order["do"], order.get("stream", "")
    if what == "open":
        streams[name] = Stream(target, identity, order.get("cert"), order.get("obey", False))
        return {}
    stream = streams[name]
    if what == "say":
        raw = json_format.ParseDict(order["message"], api.AgentMessage()).SerializeToString()
        stream.outbox.put(raw)
    elif what == "bytes":
        stream.outbox.put(bytes.fromhex(order["hex"]))
    elif what == "fill":
        text = {"hello": {"node": "x" * order["count"]}}
        stream.outbox.put(json_format.ParseDict(text, api.AgentMessage()).SerializeToString())
    elif what == "hear":
        return stream.hear(order.get("deltas", 1), order.get("end", False))
    return {}


def main():
    global api
    identity, protocol = pathlib.Path(sys.argv[1]), sys.argv[2]
    sys.path.insert(0, protocol)
    import intent_pb2 as api  # noqa: E402

    globals()["api"] = api
    target = json.loads((identity / "node.json").read_text())["intent"]
    streams = {}
    for line in sys.stdin:
        print(json.dumps(step(streams, identity, target, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
