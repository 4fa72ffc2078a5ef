"""Peers of an orchestrator, written by hand: a gateway and a worker that say exactly what a test
wants, over HTTP/2 (python3-h2), with the network's messages (protoc's Python from our .proto)."""
import base64
import ctypes
import http.client
import importlib
import queue
import re
import select
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


# --- sockets ---

class SharedSocket:
    """One thread may read while another writes: OpenSSL's connections do not bear that by
    themselves, so both happen under one lock, and waiting outside it."""

    def __init__(self, s):
        s.setblocking(False)
        self.raw, self.lock = s, threading.Lock()

    def _try(self, what, *args):
        with self.lock:
            try:
                return what(*args)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return None

    def recv(self, most):
        while (data := self._try(self.raw.recv, most)) is None:
            select.select([self.raw], [], [], 1)
        return data

    def sendall(self, data):
        while data:
            n = self._try(self.raw.send, data)
            if n is None:
                select.select([], [self.raw], [], 1)
            data = data[n or 0:]

    def shutdown(self, how):
        self.raw.shutdown(how)

    def close(self):
        self.raw.close()


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
        self.socket = SharedSocket(self.socket)
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
        except (OSError, ValueError, h2.exceptions.ProtocolError):
            pass    # the connection is gone, or was closed here
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

    def post(self, seg, body, connection=None, end=True, **headers):
        """Starts POST /segment; the Stream. Without `end` there is more to come."""
        given = {"livepeer-payment": "", "content-type": "video/MP2T",
                 "livepeer-segment": base64.b64encode(seg.SerializeToString()).decode(),
                 **{k.replace("_", "-"): v for k, v in headers.items()}}
        return (connection or self.http).request("POST", "/segment", list(given.items()), body, end)

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


# --- an orchestrator ---

class OrchestratorPeer:
    """What a worker meets: TLS, RegisterTranscoder held open, sources by HTTP/1.1, results by
    HTTP/2. A test says what is notified and how posts are answered."""

    def __init__(self, secret="matrix-secret"):
        self.secret = secret
        self.folder = tempfile.TemporaryDirectory(prefix="leat-peer-")
        cert, key = f"{self.folder.name}/cert.pem", f"{self.folder.name}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=peer", "-days", "2",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.set_alpn_protocols(["h2"])
        self.sources, self.gets = {}, []        # path -> bytes; (path, request text)
        self.registrations = queue.Queue()      # Registration
        self.posts = queue.Queue()              # (headers in order, body)
        self.post_answers = []                  # "reset", "close" or a status, for the next posts
        self.refuse = None                      # gRPC status and text for registrations
        self.frozen = False                     # reads and says nothing any more
        self.connections = []
        self.listen()
        self.addr = f"127.0.0.1:{self.port}"

    def listen(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        try:
            s = self.context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            return
        self.connections.append(s)
        try:
            if s.selected_alpn_protocol() == "h2":
                Http2Server(self, SharedSocket(s)).run()
            else:
                self._serve_http1(s)
        except (OSError, ValueError, h2.exceptions.ProtocolError):
            pass    # the worker is gone, or the test is over
        finally:
            s.close()

    def _serve_http1(self, s):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return
                data += more
            request, data = data.split(b"\r\n\r\n", 1)
            path = request.split(b" ")[1].decode()
            self.gets.append((path, request.decode()))
            body = self.sources.get(path)
            if body == "close":
                self.sources[path] = self.sources.pop("then")
                return
            head = f"HTTP/1.1 {200 if body is not None else 404} X\r\n" \
                   f"Content-Type: \r\nContent-Length: {len(body or b'')}\r\n\r\n"
            s.sendall(head.encode() + (body or b""))

    def registration(self, timeout=20):
        return self.registrations.get(timeout=timeout)

    def post(self, timeout=30):
        return self.posts.get(timeout=timeout)

    def drop(self):
        """All connections end, as when the process dies."""
        for s in self.connections:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()

    def stop_listening(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)    # wakes the thread in accept()
        except OSError:
            pass
        self.listener.close()

    def close(self):
        self.stop_listening()
        self.drop()
        self.folder.cleanup()


class Registration:
    def __init__(self, server, stream_id, headers, request):
        self.server, self.stream_id, self.headers, self.request = server, stream_id, headers, request
        self.started = False

    def notify(self, message):
        body = message.SerializeToString()
        with self.server.lock:
            if not self.started:
                self.server.h2.send_headers(self.stream_id, [
                    (":status", "200"), ("content-type", "application/grpc")])
                self.started = True
            self.server.h2.send_data(self.stream_id, struct.pack(">BI", 0, len(body)) + body)
            self.server.flush()

    def end(self, status, text):
        with self.server.lock:
            self.server.h2.send_headers(self.stream_id, [
                (":status", "200"), ("content-type", "application/grpc"),
                ("grpc-status", str(status)), ("grpc-message", text)], end_stream=True)
            self.server.flush()


class Http2Server:
    """One connection of an OrchestratorPeer."""

    def __init__(self, owner, s):
        self.owner, self.socket, self.lock = owner, s, threading.RLock()
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests = {}

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def run(self):
        with self.lock:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(1 << 26)
            self.flush()
        while data := self.socket.recv(65536):
            while self.owner.frozen:
                time.sleep(0.1)
            with self.lock:
                for event in self.h2.receive_data(data):
                    if self.on_event(event) == "close":
                        return
                self.flush()

    def on_event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = (event.headers, bytearray())
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id][1].extend(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = self.requests.pop(event.stream_id)
            return self.on_request(event.stream_id, headers, bytes(body))
        return None

    def on_request(self, stream_id, headers, body):
        path = dict(headers)[":path"]
        if path == "/net.Transcoder/RegisterTranscoder":
            r = Registration(self, stream_id, headers, pb.RegisterRequest.FromString(body[5:]))
            if self.owner.refuse:
                r.end(*self.owner.refuse)
            self.owner.registrations.put(r)
            return None
        answer = self.owner.post_answers.pop(0) if self.owner.post_answers else 200
        self.owner.posts.put((headers, body))
        if answer == "close":
            return "close"
        if answer == "reset":
            self.h2.reset_stream(stream_id)
            return None
        text = b"OK" if answer == 200 else b"not now\n"
        self.h2.send_headers(stream_id, [(":status", str(answer)),
                                         ("content-length", str(len(text)))])
        self.h2.send_data(stream_id, text, end_stream=True)
        return None


def parts_of(content_type, body):
    """[(headers text, bytes)] of a multipart body, taken apart by hand."""
    boundary = b"--" + content_type.split("boundary=")[1].encode()
    pieces = body.split(boundary)
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n"
    parts = []
    for piece in pieces[1:-1]:
        head, data = piece.split(b"\r\n\r\n", 1)
        assert head.startswith(b"\r\n") and data.endswith(b"\r\n")
        parts.append((head[2:].decode(), data[:-2]))
    return parts
