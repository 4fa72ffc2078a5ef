"""The recordings of tests/vectors/offchain, as tests need them."""
import json
import re
from collections import namedtuple
from pathlib import Path

from peers import pb

VECTORS = Path(__file__).resolve().parents[2] / "vectors/offchain"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1

Frame = namedtuple("Frame", "type flags stream payload")


def raw(name):
    return (VECTORS / name).read_bytes()


def text(name):
    return raw(name).decode()


def table(name):
    return json.loads(raw(name))


def message(kind, name):
    return getattr(pb, kind).FromString(raw(name))


def headers(name):
    """A .headers.txt: the fields in the order sent, trailers behind the headers."""
    return [re.match(r"(:?[^:]+): ?(.*)", row).groups() for row in text(name).splitlines() if row]


def answer_headers(name):
    """What was sent before the body and what after it, as sets: a field named twice counts
    once, and gRPC's announcement of its trailers is left out (nobody reads it)."""
    rows = [(k, v) for k, v in headers(name) if k != "trailer"]
    return ({r for r in rows if not r[0].startswith("grpc-")},
            {r for r in rows if r[0].startswith("grpc-")})


def whole_frames(data):
    """An HTTP/2 connection's frames as far as they have come, the preface skipped."""
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    while at + 9 <= len(data):
        n = int.from_bytes(data[at:at + 3], "big")
        if at + 9 + n > len(data):
            return
        yield Frame(data[at + 3], data[at + 4], int.from_bytes(data[at + 5:at + 9], "big"),
                    data[at + 9:at + 9 + n])
        at += 9 + n


def frames(data):
    """All frames of a recording."""
    found = list(whole_frames(data))
    preface = len(PREFACE) if data.startswith(PREFACE) else 0
    assert preface + sum(9 + len(f.payload) for f in found) == len(data)
    return found


def frame(f):
    return (len(f.payload).to_bytes(3, "big") + bytes([f.type, f.flags])
            + f.stream.to_bytes(4, "big") + f.payload)


def wrap(message_bytes):
    """gRPC's prefix before a message."""
    return b"\0" + len(message_bytes).to_bytes(4, "big") + message_bytes


def unwrap(body):
    assert len(body) >= 5 and body[0] == 0 and int.from_bytes(body[1:5], "big") == len(body) - 5
    return body[5:]


def parts(body, cut=False):
    """[(headers in order, bytes)] of a multipart body; a recording's media is cut."""
    boundary = body[:body.index(b"\r\n")]
    found = []
    assert body.endswith(b"\r\n" + boundary + b"--\r\n")
    at = len(boundary) + 2
    while True:
        end = body.index(b"\r\n\r\n", at)
        rows = [tuple(r.decode().split(": ", 1)) for r in body[at:end].split(b"\r\n")]
        at = end + 4
        n = body.index(b"\r\n" + boundary, at) - at if cut else int(dict(rows)["Content-Length"])
        found.append((rows, body[at:at + n]))
        at += n
        assert body.startswith(b"\r\n" + boundary, at)
        at += len(boundary) + 2
        if body.startswith(b"--\r\n", at):
            return boundary[2:].decode(), found
        at += 2
