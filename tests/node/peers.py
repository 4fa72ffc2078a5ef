"""Peers of an orchestrator, written by hand: a gateway and a worker that say exactly what a test
wants, over HTTP/2 (python3-h2), with the network's messages (protoc's Python from our .proto)."""
import base64
import ctypes
import http.client
import importlib
import queue
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlparse

import h2.config
import h2.connection
import h2.events
import h2.exceptions

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests/vectors/offchain"
LADDER = [("P144p30fps16x9", 256, 144, 400000, 30), ("P240p30fps16x9", 426, 240, 600000, 30)]


def _load_messages():
    folder = tempfile.mkdtemp(prefix="leat-pb-")
    subprocess.run(["protoc", f"--python_out={folder}", f"-I{ROOT / 'wire'}", "network.proto"],
                   check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("network_pb2")


pb = _load_messages()


# --- keccak-256, on nettle's permutation ---

_nettle = ctypes.CDLL("libnettle.so.8")
_hashes = {}


def keccak(data):
    if data not in _hashes:
        _hashes[data] = _keccak(data)
    return _hashes[data]


def _keccak(data):
    state = (ctypes.c_uint64 * 25)()
    padded = data + b"\x01" + bytes(-(len(data) + 1) % 136)
    padded = padded[:-1] + bytes([padded[-1] | 0x80])
    for at in range(0, len(padded), 136):
        for i, word in enumerate(struct.unpack_from("<17Q", padded, at)):
            state[i] ^= word
        _nettle.nettle_sha3_permute(ctypes.byref(state))
    return bytes(state)[:32]


# --- HTTP/2 ---

class Reset(Exception):
    """The peer reset the stream or closed the connection before the end."""


class Stream:
    def __init__(self, connection, number):
        self.connection, self.number = connection, number
        self.events = queue.Queue()
        self.headers, self.trailers, self.body = None, {}, b""
        self.ended = False

    def _take(self, timeout):
        try:
            kind, value = self.events.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing on stream {self.number} within {timeout} s") from None
        if kind == "headers":
            if self.headers is None:
                self.headers = value
            else:
                self.trailers = value
        elif kind == "data":
            self.body += value
        elif kind == "end":
            self.ended = True
        else:
            raise Reset(value)

    def wait_headers(self, timeout=15):
        while self.headers is None:
            self._take(timeout)
        return self.headers

    def status(self, timeout=15):
        return int(self.wait_headers(timeout)[":status"])

    def read(self, timeout=30):
        while not self.ended:
            self._take(timeout)
        return self.body

    def message(self, timeout=15):
        """The next gRPC message of a server stream; None at its end."""
        while True:
            if len(self.body) >= 5:
                n = int.from_bytes(self.body[1:5], "big")
                if len(self.body) >= 5 + n:
                    message, self.body = self.body[5:5 + n], self.body[5 + n:]
                    return message
            if self.ended:
                return None
            self._take(timeout)

    def send(self, data, end=False):
        self.connection.send(self.number, data, end)

    def reset(self):
        with self.connection.lock:
            self.connection.h2.reset_stream(self.number)
            self.connection.flush()


class H2:
    """One HTTP/2 connection; a thread reads, any thread may ask."""

    def __init__(self, addr, tls=True, silent=False):
        """silent: says nothing of its own, for bytes that were recorded."""
        if addr.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(addr[5:])
            tls = False
        else:
            host, port = addr.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.scheme, self.authority = "https" if tls else "http", addr
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.socket.settimeout(None)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8"))
        self.lock, self.window = threading.RLock(), threading.Condition()
        self.streams, self.closed, self.silent = {}, False, silent
        with self.lock:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(1 << 26)
            self.flush()
        threading.Thread(target=self._read, daemon=True).start()

    def expect(self, number):
        """The stream that recorded bytes will open."""
        with self.lock:
            self.h2.send_headers(number, [(":method", "POST"), (":scheme", "https"),
                                          (":authority", "a"), (":path", "/")], end_stream=True)
            self.flush()
            self.streams[number] = Stream(self, number)
        return self.streams[number]

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.silent:
            self.socket.sendall(data)

    def _read(self):
        try:
            while data := self.socket.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self._on_event(event)
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        self.closed = True
        for s in list(self.streams.values()):
            s.events.put(("reset", "connection closed"))
        with self.window:
            self.window.notify_all()

    def _on_event(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            stream.events.put(("headers", dict(event.headers)))
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            stream.events.put(("data", event.data))
        elif isinstance(event, h2.events.StreamEnded):
            stream.events.put(("end", None))
        elif isinstance(event, h2.events.StreamReset):
            stream.events.put(("reset", f"error code {event.error_code}"))
        elif isinstance(event, h2.events.WindowUpdated):
            with self.window:
                self.window.notify_all()

    def request(self, method, path, headers=(), body=None, end=True):
        with self.lock:
            stream = Stream(self, self.h2.get_next_available_stream_id())
            self.streams[stream.number] = stream
            self.h2.send_headers(stream.number,
                                 [(":method", method), (":scheme", self.scheme),
                                  (":authority", "peer"), (":path", path), *headers],
                                 end_stream=end and body is None)
            self.flush()
        if body is not None:
            self.send(stream.number, body, end)
        return stream

    def send(self, number, data, end):
        while True:
            with self.lock:
                n = min(len(data), self.h2.local_flow_control_window(number),
                        self.h2.max_outbound_frame_size)
                if n or not data:
                    last = n == len(data)
                    self.h2.send_data(number, data[:n], end_stream=end and last)
                    self.flush()
                    data = data[n:]
                    if last:
                        return
                    continue
            with self.window:
                self.window.wait(1)
            if self.closed:
                raise Reset("connection closed")

    def grpc(self, path, message, timeout=15):
        """(grpc-status, grpc-message, answer) of a unary call."""
        s = self.request("POST", path, GRPC, struct.pack(">BI", 0, len(message)) + message)
        s.read(timeout)
        trailers = s.trailers or s.headers
        answer = s.body[5:] if s.body else None
        return int(trailers["grpc-status"]), trailers.get("grpc-message", ""), answer

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def get(url, unix=None, timeout=10):
    """(status, headers, body) over HTTP/1.1 without ALPN, as downloads are (video.md 1.4)."""
    u = urlparse(url)
    if unix:
        c = http.client.HTTPConnection("local", timeout=timeout)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(unix)
    elif u.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        c = http.client.HTTPSConnection(u.netloc, timeout=timeout, context=context)
    else:
        c = http.client.HTTPConnection(u.netloc, timeout=timeout)
    c.request("GET", u.path)
    answer = c.getresponse()
    body = answer.read()
    headers = {k.lower(): v for k, v in answer.getheaders()}
    c.close()
    return answer.status, headers, body


# --- a gateway ---

class GatewayPeer:
    """Asks, sends segments, fetches renditions: as a gateway does."""

    def __init__(self, addr, tls=True):
        self.addr, self.tls = addr, tls
        self.http = H2(addr, tls)

    def fresh(self):
        return H2(self.addr, self.tls)

    def info(self, bits=67112963, capabilities=True):
        """(status, message, OrchestratorInfo)"""
        m = pb.OrchestratorRequest(address=bytes(20))
        if capabilities:
            m.capabilities.bitstring.append(bits)
            m.capabilities.constraints.SetInParent()
        status, text, answer = self.http.grpc("/net.Orchestrator/GetOrchestrator",
                                              m.SerializeToString())
        return status, text, pb.OrchestratorInfo.FromString(answer) if answer else None

    def token(self):
        status, text, info = self.info()
        assert status == 0, text
        return info.auth_token

    def end_session(self, token):
        m = pb.EndTranscodingSessionRequest(auth_token=token)
        return self.http.grpc("/net.Orchestrator/EndTranscodingSession", m.SerializeToString())

    def seg_data(self, token, media, seq=0, manifest="movie", ladder=LADDER, **more):
        m = pb.SegData(manifest_id=manifest.encode(), seq=seq, hash=keccak(media),
                       profiles=b"invalid", duration=2000, **more)
        m.capabilities.bitstring.append(67112963)
        m.capabilities.constraints.SetInParent()
        if token is not None:
            m.auth_token.CopyFrom(token)
        for name, w, h, bitrate, fps in ladder:
            m.full_profiles.add(name=name, width=w, height=h, bitrate=bitrate, fps=fps)
        return m

    def post(self, seg, body, connection=None, **headers):
        """Starts POST /segment; the Stream."""
        given = {"livepeer-payment": "", "content-type": "video/MP2T",
                 "livepeer-segment": base64.b64encode(seg.SerializeToString()).decode(),
                 **{k.replace("_", "-"): v for k, v in headers.items()}}
        return (connection or self.http).request("POST", "/segment", list(given.items()), body)

    def send(self, token, media, seq=0, timeout=30, **more):
        """The TranscodeResult of one segment."""
        stream = self.post(self.seg_data(token, media, seq, **more), media)
        assert stream.status() == 200, stream.read()
        return pb.TranscodeResult.FromString(stream.read(timeout))

    def close(self):
        self.http.close()


# --- a worker ---

class WorkerPeer:
    """Registers and answers as a test says."""

    def __init__(self, addr, secret, capacity=10, bits=94487339007, version="0.9.1",
                 register=True):
        self.addr, self.secret = addr, secret
        self.http = H2(addr, tls=not addr.startswith("unix:"))
        m = pb.RegisterRequest(secret=secret, capacity=capacity)
        m.capabilities.bitstring.append(bits)
        m.capabilities.version = version
        m.capabilities.constraints.SetInParent()
        body = m.SerializeToString()
        self.stream = None
        if register:
            self.stream = self.http.request("POST", "/net.Transcoder/RegisterTranscoder", GRPC,
                                            struct.pack(">BI", 0, len(body)) + body)

    def notify(self, timeout=15):
        message = self.stream.message(timeout)
        return None if message is None else pb.NotifySegment.FromString(message)

    def source(self, notify):
        unix = self.addr[5:] if self.addr.startswith("unix:") else None
        return get(notify.url, unix)

    def post(self, task_id, parts, pixels=1000, **headers):
        """parts: [(type, pixels, bytes)]. (status, body)"""
        boundary = "0123456789abcdef0123"
        body = b""
        for type_, p, data in parts:
            head = f"Content-Length: {len(data)}\r\nContent-Type: {type_}\r\n"
            if p is not None:
                head += f"Pixels: {p}\r\n"
            body += f"\r\n--{boundary}\r\n{head}\r\n".encode() + data
        body = body[2:] + f"\r\n--{boundary}--\r\n".encode()
        return self.post_raw(task_id, f"multipart/mixed; boundary={boundary}", body, pixels,
                             **headers)

    def post_raw(self, task_id, type_, body, pixels=0, **headers):
        given = {"authorization": "Livepeer-Transcoder-1.0", "credentials": self.secret,
                 "content-type": type_, "taskid": str(task_id), "pixels": str(pixels), **headers}
        s = self.http.request("POST", "/transcodeResults",
                              [(k, v) for k, v in given.items() if v is not None], body)
        return s.status(), s.read()

    def fail(self, task_id, text):
        return self.post_raw(task_id, "livepeer/transcoding-error", text.encode())

    def answer(self, notify, fill=b"x"):
        """Renditions of nonsense, marked with `fill`."""
        profiles = notify.seg_data.full_profiles or notify.seg_data.full_profiles2 \
            or notify.seg_data.full_profiles3
        return self.post(notify.task_id, [("video/mp2t", 100 + i, fill * (1000 + i))
                                          for i in range(len(profiles))])

    def close(self):
        self.http.close()


def headers_of(path):
    """A recorded .headers.txt as a list of pairs, in the order sent."""
    rows = (VECTORS / path).read_text().splitlines()
    return [re.match(r"(:?[^:]+): ?(.*)", r).groups() for r in rows if r]


def wait_until(what, seconds=10, text="the condition"):
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"waited {seconds} s for {text}"
        time.sleep(0.02)
    return value
