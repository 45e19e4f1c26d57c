#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile node: speaks the agent protocol with a real certificate and says what it is told to.

Started in a node's namespace with the folder of a joined identity and of the compiled protocol;
reads one JSON step a line and answers each with one line. Steps:
  open ID [cert] [obey]  a stream; cert: folder of another identity, or "none"; obey: it
                      acknowledges whatever it is sent, at once, keeps its lease, and does nothing
  say ID MESSAGE      an AgentMessage as JSON (protobuf's own mapping)
  bytes ID HEX        bytes as they are
  fill ID COUNT       COUNT bytes that are no message
  hear ID KIND COUNT  waits for so many messages of the kind, or for the end of the stream: those
                      so far, and how it ended
"""
import json
import pathlib
import queue
import subprocess
import sys
import threading

from machine import ROOT, ns_command, run

BEAT = 1  # seconds
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
        self.heard, self.end, self.beating = [], None, False
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

    def say(self, raw):
        self.outbox.put(raw)
        if self.obey and not self.beating:  # a hello comes first
            self.beating = True
            threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self):
        with self.changed:
            while not self.changed.wait_for(lambda: self.end is not None, BEAT):
                self.outbox.put(api.AgentMessage(heartbeat=api.Heartbeat()).SerializeToString())

    def hear(self, kind, count):
        """Waits until so many messages of the kind came, or for the end."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.end is not None
                or (kind and sum(kind in each for each in self.heard) >= count),
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
        stream.say(json_format.ParseDict(order["message"], api.AgentMessage()).SerializeToString())
    elif what == "bytes":
        stream.outbox.put(bytes.fromhex(order["hex"]))
    elif what == "fill":
        text = {"hello": {"node": "x" * order["count"]}}
        stream.outbox.put(json_format.ParseDict(text, api.AgentMessage()).SerializeToString())
    elif what == "hear":
        return stream.hear(order["kind"], order["count"])
    return {}


class Liar:
    """The process of this program in the first node's namespace."""

    def __init__(self, net, identity):
        protocol = net.folder / "protocol"
        if not protocol.exists():
            protocol.mkdir()
            proto = ROOT / "api/intent.proto"
            run("protoc", f"--python_out={protocol}", f"-I{proto.parent}", proto)
        self.process = subprocess.Popen(
            ns_command(net.nodes[0].namespace, "/usr/bin/python3", __file__, identity, protocol),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.streams = 0

    def ask(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def open(self, cert=None, obey=False):
        self.streams += 1
        self.ask(do="open", stream=str(self.streams), cert=str(cert) if cert else None, obey=obey)
        return str(self.streams)

    def say(self, stream, **message):
        self.ask(do="say", stream=stream, message=message)

    def end(self, stream):
        """How the control plane ended the stream: (status, words)."""
        end = self.ask(do="hear", stream=stream, kind="", count=0)["end"]
        assert end is not None, "the stream was not closed"
        return end

    def heard(self, stream, kind, count=1):
        """The messages of one kind, when there are so many."""
        answer = self.ask(do="hear", stream=stream, kind=kind, count=count)
        assert answer["end"] is None, answer["end"]
        found = [each[kind] for each in answer["heard"] if kind in each]
        assert len(found) >= count, f"{len(found)} of {count} messages of kind {kind}"
        return found

    def deltas(self, stream, count=1):
        return self.heard(stream, "delta", count)

    def close(self):
        self.process.kill()
        self.process.communicate()


def main():
    global api, grpc, json_format
    identity, protocol = pathlib.Path(sys.argv[1]), sys.argv[2]
    sys.path.insert(0, protocol)
    import grpc
    import intent_pb2 as api
    from google.protobuf import json_format

    target = json.loads((identity / "node.json").read_text())["intent"]
    streams = {}
    for line in sys.stdin:
        print(json.dumps(step(streams, identity, target, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
