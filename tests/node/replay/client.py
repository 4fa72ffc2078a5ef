"""A client of an orchestrator, down to the frames: what it sends is what a recording holds."""
import socket
import ssl
from collections import namedtuple

import hpack

from replay import recorded
from replay.recorded import ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST, SETTINGS, \
    WINDOW_UPDATE, Frame

Answer = namedtuple("Answer", "headers trailers body")
INITIAL_WINDOW = 4


def tls(addr, alpn, source=None):
    """A connection as the reference opens them: nothing about the certificate is checked."""
    host, port = addr.rsplit(":", 1)
    plain = socket.create_connection((host, int(port)), timeout=30,
                                     source_address=(source, 0) if source else None)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(plain)


class Link:
    """One HTTP/2 connection. Frames are read when a test asks for them."""

    def __init__(self, addr, source=None):
        self.addr = addr
        self.socket = tls(addr, ["h2"], source)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.got, self.streams = b"", {}
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.next_stream = 1
        self.window = {0: 65535}
        self.stream_window = 65535

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _fill(self, n):
        while len(self.got) < n:
            more = self.socket.recv(65536)
            assert more, "the node closed the connection"
            self.got += more

    def read(self):
        """The next frame; flow control and answers are noted."""
        self._fill(9)
        n = int.from_bytes(self.got[:3], "big")
        self._fill(9 + n)
        f, = recorded.whole_frames(self.got[:9 + n])
        self.got = self.got[9 + n:]
        self._note(f)
        return f

    def _note(self, f):
        assert f.type not in (GOAWAY, RST), f"the node refuses what the reference sends: {f}"
        if f.type == HEADERS:
            self.streams[f.stream].append(("headers", self.decoder.decode(f.payload)))
        elif f.type == DATA:
            self.streams[f.stream].append(("data", f.payload))
        elif f.type == SETTINGS and not f.flags & ACK:
            for at in range(0, len(f.payload), 6):
                if int.from_bytes(f.payload[at:at + 2], "big") == INITIAL_WINDOW:
                    self.stream_window = int.from_bytes(f.payload[at + 2:at + 6], "big")
        elif f.type == WINDOW_UPDATE:
            self.window[f.stream] = self.window.get(f.stream, self.stream_window) \
                + int.from_bytes(f.payload, "big")
        if f.type in (HEADERS, DATA) and f.flags & END_STREAM:
            self.streams[f.stream].append(("end", None))

    def expect(self, stream=1):
        self.streams[stream] = []
        return stream

    def hello(self):
        """The preface and SETTINGS of Go's HTTP/2 client, in step with the node's."""
        settings = {2: 0, 4: 4194304, 5: 16384, 6: 10485760}
        body = b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in settings.items())
        self.send(PREFACE + recorded.frame(Frame(SETTINGS, 0, 0, body)))
        while self.read().type != SETTINGS:
            pass
        self.send(recorded.frame(Frame(SETTINGS, ACK, 0, b"")))
        return self

    def request(self, headers, body=b"", end=True):
        """Sends headers in the order given, then the body; the stream's number."""
        stream = self.expect(self.next_stream)
        self.next_stream += 2
        self.window[stream] = self.stream_window
        block = self.encoder.encode([(k, v.encode()) for k, v in headers])
        last = END_STREAM if end and not body else 0
        self.send(recorded.frame(Frame(HEADERS, 4 | last, stream, block)))
        while body:
            n = min(len(body), 16384, self.window[0], self.window[stream])
            if n <= 0:
                self.read()
                continue
            last = END_STREAM if end and n == len(body) else 0
            self.send(recorded.frame(Frame(DATA, last, stream, body[:n])))
            self.window[0] -= n
            self.window[stream] -= n
            body = body[n:]
        return stream

    def wait_head(self, stream):
        while not self.streams[stream]:
            self.read()
        return self.streams[stream][0][1]

    def answer(self, stream=1):
        events = self.streams[stream]
        while not events or events[-1][0] != "end":
            self.read()
        heads = [v for kind, v in events if kind == "headers"]
        return Answer(heads[0], heads[1] if len(heads) > 1 else [],
                      b"".join(v for kind, v in events if kind == "data"))

    def message(self, stream=1):
        """The next message of a server's stream; None when the stream has ended."""
        events = self.streams[stream]
        while True:
            body = b"".join(v for kind, v in events if kind == "data")
            if len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big"):
                n = 5 + int.from_bytes(body[1:5], "big")
                events[:] = [e for e in events if e[0] != "data"] + [("data", body[n:])]
                return recorded.unwrap(body[:n])
            if events and any(kind == "end" for kind, _ in events):
                return None
            self.read()

    def grpc(self, headers, message):
        """(grpc-status, grpc-message, bytes of the answer)"""
        a = self.answer(self.request(headers, recorded.wrap(message)))
        end = dict(a.trailers or a.headers)
        return int(end["grpc-status"]), end.get("grpc-message", ""), \
            recorded.unwrap(a.body) if a.body else None


def http1(addr, request, alpn=None):
    """(head rows, body) of raw HTTP/1.1 bytes; the connection stays open until all is read."""
    with tls(addr, alpn) as s:
        s.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            more = s.recv(65536)
            assert more, f"closed after {got!r}"
            got += more
        head, body = got.split(b"\r\n\r\n", 1)
        rows = head.decode().split("\r\n")
        length = next(int(r.split(":")[1]) for r in rows if r.lower().startswith("content-length"))
        while len(body) < length:
            more = s.recv(65536)
            assert more, "closed within a body"
            body += more
        assert len(body) == length
        return rows, body
