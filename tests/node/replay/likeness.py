"""What counts as equal to a recorded request. Two of Go's defaults are no part of the protocol:
leat asks for no compression and has no name to tell. Of a gRPC request leat says the length and
how long it waits, which the reference does in some calls only. Everything else has to be there,
with the recorded value or the test's own, and nothing more. The order of fields is that of Go's
maps and differs between recordings."""
import re

from replay import recorded

GO = ("accept-encoding", "user-agent")
OF_ANY_GRPC = ("content-length", "grpc-timeout")


def assert_headers_like(got, name, **own):
    want = {**dict(recorded.headers(name)), **own}
    ours = dict(got)
    assert len(ours) == len(got), "a field is there twice"
    for field in (*GO, *(f for f in OF_ANY_GRPC if f not in want)):
        want.pop(field, None)
        ours.pop(field, None)
    assert ours == want


def get_request(name, host, path):
    """The recorded GET, for another path at another host."""
    was = re.sub("GET [^ ]+", f"GET {path}", recorded.text(name))
    return re.sub("Host: [^\r]+", f"Host: {host}", was).encode()


def _fields(head):
    first, *rows = head.decode().strip().split("\r\n")
    fields = {k.lower(): v for k, v in (r.split(": ", 1) for r in rows)}
    return first, {k: v for k, v in fields.items() if k not in GO}


def assert_get_like(exchange, name, host):
    """A download: HTTP/1.1 on a connection without ALPN."""
    assert exchange.alpn is None
    assert _fields(exchange.head) == _fields(get_request(name, host, exchange.path))


def answer_head(name, length):
    """Rows of a recorded HTTP/1.1 answer, for a body of another length."""
    rows = recorded.text(name).split("\r\n\r\n")[0].split("\r\n")
    return [re.sub("^Content-Length: .*", f"Content-Length: {length}", r) for r in rows]
