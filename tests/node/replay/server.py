"""An orchestrator for leat's other roles to talk to: it remembers what it was sent, field by
field in the order sent, and answers as a test says."""
import queue
import select
import socket
import ssl
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from leatnet import SLOW
from peers import pb
from replay import recorded


def certificate(folder):
    """Self-signed, as every orchestrator's is."""
    pem = folder / "replay.pem"
    if not pem.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=replay", "-days", "2",
                        "-keyout", pem, "-out", folder / "cert.pem"], check=True,
                       capture_output=True)
        pem.write_bytes(pem.read_bytes() + (folder / "cert.pem").read_bytes())
    return pem


class Exchange:
    """One request and the way to answer it."""

    def __init__(self, connection, headers, stream=None, head=b""):
        self.connection, self.headers, self.stream, self.head = connection, headers, stream, head
        self.alpn, self.body = connection.alpn, b""
        self.fields = dict(headers)
        self.path = self.fields[":path"]
        self.started = threading.Event()

    def message(self, kind):
        return getattr(pb, kind).FromString(recorded.unwrap(self.body))

    def start(self, headers):
        self.connection.headers(self.stream, headers)
        self.started.set()

    def data(self, data, end=False):
        assert self.started.wait(10)  # an answer may be begun by another thread
        self.connection.data(self.stream, data, end)

    def answer(self, rows, body=b""):
        """HTTP/2: a list of headers; HTTP/1.1: the head's rows."""
        if self.stream is None:
            self.connection.socket.sendall("\r\n".join([*rows, "", ""]).encode() + body)
        else:
            self.start(rows)
            self.data(body, end=True)

    def grpc(self, message, name="get-orchestrator.response-headers.txt"):
        """The recorded fields around a message, or around none for a refusal."""
        rows = recorded.headers(name)
        at = next(i for i, (k, _) in enumerate(rows) if k.startswith("grpc-"))
        self.start(rows[:at])
        if message is not None:
            self.data(recorded.wrap(message))
        self.connection.headers(self.stream, rows[at:], end=True)


class Http2:
    def __init__(self, server, sock):
        self.server, self.socket, self.alpn = server, sock, "h2"
        self.lock, self.streams, self.credit = threading.RLock(), {}, threading.Condition()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8"))
        # What the reference says first (get-orchestrator.h2.s2c.bin).
        self.h2.max_inbound_frame_size = 1048576
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
            1: 4096, 3: 250, 4: 1048576, 5: 1048576, 6: 1048896})

    def flush(self):
        with self.lock:
            data = self.h2.data_to_send()
            if data:
                self.socket.sendall(data)

    def headers(self, stream, rows, end=False):
        with self.lock:
            self.h2.send_headers(stream, rows, end_stream=end)
            self.flush()

    def data(self, stream, data, end):
        while True:
            with self.lock:
                n = min(len(data), self.h2.local_flow_control_window(stream),
                        self.h2.max_outbound_frame_size)
                if n or not data:
                    self.h2.send_data(stream, data[:n], end_stream=end and n == len(data))
                    self.flush()
                    data = data[n:]
                    if not data:
                        return
                    continue
            with self.credit:
                self.credit.wait(0.1)

    def run(self):
        with self.lock:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(983041)
            self.flush()
        while True:
            if not self.socket.pending():
                select.select([self.socket], [], [])
            self.server.thawed.wait()
            with self.lock:  # one thread at a time may use a TLS connection
                got = self.socket.recv(65536)
                if not got:
                    return
                for event in self.h2.receive_data(got):
                    self._on_event(event)
                self.flush()
            with self.credit:
                self.credit.notify_all()

    def _on_event(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            self.streams[stream] = Exchange(self, list(event.headers), stream)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[stream].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            self.server.take(self.streams[stream])


class Http1:
    def __init__(self, server, sock, alpn):
        self.server, self.socket, self.alpn = server, sock, alpn

    def run(self):
        got = b""
        while True:
            while b"\r\n\r\n" not in got:
                more = self.socket.recv(65536)
                if not more:
                    return
                got += more
            head, got = got.split(b"\r\n\r\n", 1)
            first, *rows = head.decode().split("\r\n")
            method, path, _ = first.split(" ")
            self.server.take(Exchange(self, [(":method", method), (":path", path),
                                             *(tuple(r.split(": ", 1)) for r in rows)],
                                      head=head + b"\r\n\r\n"))


class Orchestrator:
    """answers: {path or its first part: function of an Exchange, called in a thread of its own}.
    Without one a request stays unanswered."""

    def __init__(self, folder, answers):
        self.answers, self.seen, self.news = answers, [], queue.Queue()
        self.open = []
        self.thawed = threading.Event()
        self.thawed.set()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate(folder))
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.service = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.uri = f"https://{self.service}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thawed.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop()

    def drop(self):
        """Closes every connection without a word."""
        for s in self.open[:]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as s:
                self.open.append(s)
                alpn = s.selected_alpn_protocol()
                (Http2(self, s) if alpn == "h2" else Http1(self, s, alpn)).run()
        except (OSError, h2.exceptions.ProtocolError):
            pass

    def take(self, exchange):
        self.seen.append(exchange)
        self.news.put(exchange)
        answer = next((a for path, a in self.answers.items() if exchange.path.startswith(path)),
                      None)
        if answer:
            threading.Thread(target=self._answer, args=(answer, exchange), daemon=True).start()

    @staticmethod
    def _answer(answer, exchange):
        try:
            answer(exchange)
        except (OSError, h2.exceptions.ProtocolError):
            pass  # the other side has gone

    def wait(self, path, seconds=15):
        """The next request of that path; those of other paths are passed over."""
        end = time.monotonic() + seconds * SLOW
        while True:
            left = end - time.monotonic()
            try:
                exchange = self.news.get(timeout=max(left, 0.01))
            except queue.Empty:
                raise AssertionError(f"no {path} within {seconds} s; came: "
                                     f"{[e.path for e in self.seen]}") from None
            if exchange.path.startswith(path):
                return exchange

    def all(self, path):
        return [e for e in self.seen if e.path.startswith(path)]


class Recording(Orchestrator):
    """Plays a server's recorded frames on each connection after the request has come, its DATA
    replaced. Answers to PINGs are left out: grpc-go sends those."""

    def __init__(self, folder, name, messages):
        self.frames = [f for f in recorded.frames(recorded.raw(name)) if f.type != recorded.PING]
        self.messages, self.requests = messages, queue.Queue()
        super().__init__(folder, {})

    def _serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as s:
                self.open.append(s)
                self._play(s)
        except OSError:
            pass

    def _play(self, s):
        got = s.recv(len(recorded.PREFACE))
        while len(got) < 24 or not any(f.type == recorded.DATA and f.flags & recorded.END_STREAM
                                       for f in recorded.whole_frames(got)):
            more = s.recv(65536)
            if not more:
                return
            got += more
        request = b"".join(f.payload for f in recorded.whole_frames(got)
                           if f.type == recorded.DATA)
        self.requests.put(recorded.unwrap(request))
        messages = iter(self.messages)
        for f in self.frames:
            if f.type == recorded.DATA:
                f = f._replace(payload=recorded.wrap(next(messages).SerializeToString()))
            s.sendall(recorded.frame(f))
        while s.recv(65536):
            pass
