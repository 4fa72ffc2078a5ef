"""A gateway's and a worker's recorded words, said to a leat orchestrator."""
import base64
import random
import re

import pytest

from leatnet import Node, count_frames, free_port, probe, wait_for
from peers import keccak, pb
from replay import recorded
from replay.client import Link, http1
from replay.likeness import get_request
from replay.recorded import DATA, SETTINGS
from replay.server import Recording

SECRET = "matrix-secret"
SEGMENTS = ["segment", "segment-slice", "segment-full", "segment-mp4", "segment-rtmp"]


@pytest.fixture(scope="module")
def combined(shared):
    """An orchestrator with a worker of its own."""
    return shared.orchestrator()


@pytest.fixture(scope="module")
def apart(shared):
    """An orchestrator that takes remote workers."""
    return shared.bare_orchestrator(SECRET)


class Gateway(Link):
    """Ends its sessions when it leaves, as gateways do."""

    def __init__(self, node, **more):
        super().__init__(node.service, **more)
        self.tokens = []
        self.hello()

    def __exit__(self, *_):
        for token in self.tokens:
            end_session(self, token)
        super().__exit__()

    def ask(self):
        status, text, body = self.grpc(recorded.headers("get-orchestrator.request-headers.txt"),
                                       recorded.raw("get-orchestrator.request.pb"))
        assert (status, text) == (0, "")
        token = pb.OrchestratorInfo.FromString(body).auth_token
        self.tokens.append(token)
        return token


def end_session(link, token):
    request = recorded.message("EndTranscodingSessionRequest", "end-session.request.pb")
    request.auth_token.CopyFrom(token)
    return link.answer(link.request(recorded.headers("end-session.request-headers.txt"),
                                    recorded.wrap(request.SerializeToString())))


@pytest.fixture
def gateway(combined):
    with Gateway(combined) as g:
        yield g


def play(link, name, in_step=False):
    """A client's recording of one call: preface to request, and after the answer the rest.
    In step: no acknowledgement before there is something to acknowledge."""
    link.expect()
    found = recorded.frames(recorded.raw(name))
    request = next(i for i, f in enumerate(found) if f.type == DATA) + 1
    first = request if not in_step else 1
    link.send(recorded.PREFACE + b"".join(map(recorded.frame, found[:first])))
    while in_step and link.read().type != SETTINGS:
        pass
    link.send(b"".join(map(recorded.frame, found[first:request])))
    answer = link.answer()
    link.send(b"".join(map(recorded.frame, found[request:])))
    return answer


def assert_answered_like(answer, name):
    head, end = recorded.answer_headers(name)
    assert {h for h in answer.headers if h[0] not in ("trailer", "date")} == head
    assert set(answer.trailers) == end


def assert_info(info, node, bits):
    """An OrchestratorInfo has what the recorded one has."""
    was = recorded.message("OrchestratorInfo", "get-orchestrator.response.pb")
    assert info.transcoder == f"https://{node.service}"
    assert info.address == was.address == bytes(20)
    assert not info.ticket_params and not info.price_info
    assert len(info.auth_token.token) == len(was.auth_token.token) == 32
    assert re.fullmatch("[0-9a-f]{8}", info.auth_token.session_id)
    assert info.capabilities.bitstring[0] & bits == bits
    assert info.capabilities.HasField("constraints")
    assert info.capabilities.constraints.min_version == info.capabilities.version
    assert {c.key for c in info.capabilities.capacities} == \
        {i for i in range(64) if info.capabilities.bitstring[0] >> i & 1}
    assert all(c.value > 0 for c in info.capabilities.capacities)
    assert {f.name for f, _ in info.ListFields()} == {f.name for f, _ in was.ListFields()}


# --- the small calls, verbatim ---

@pytest.mark.parametrize("in_step", [False, True], ids=["in one piece", "in step"])
def test_get_orchestrator(combined, in_step):
    with Link(combined.service) as link:
        answer = play(link, "get-orchestrator.h2.c2s.bin", in_step)
    assert_answered_like(answer, "get-orchestrator.response-headers.txt")
    assert_info(pb.OrchestratorInfo.FromString(recorded.unwrap(answer.body)), combined,
                recorded.message("OrchestratorRequest",
                                 "get-orchestrator.request.pb").capabilities.bitstring[0])


@pytest.mark.parametrize("in_step", [False, True], ids=["in one piece", "in step"])
def test_ping(combined, in_step):
    with Link(combined.service) as link:
        answer = play(link, "ping.h2.c2s.bin", in_step)
    assert_answered_like(answer, "ping.response-headers.txt")
    assert recorded.unwrap(answer.body) == b""


def test_ping_of_itself_is_answered_with_the_recorded_frames(network, tmp_path):
    """The self-check after the start, with the reference at the service address."""
    with Recording(tmp_path, "ping.h2.s2c.bin", [pb.PingPong()]) as r:
        o = network.add(Node(tmp_path, "orchestrator", ["-transcoder", "-serviceAddr", r.service,
                                                        "-httpAddr", f"127.0.0.1:{free_port()}"]))
        asked = pb.PingPong.FromString(r.requests.get(timeout=20))
        assert len(asked.value) == len(recorded.message("PingPong", "ping.request.pb").value)
        o.wait_ready()
        assert "cannot reach" not in o.log


def test_connection_goes_on_with_the_next_request(gateway):
    """The recorded connections end after one call; nothing but the client's word ends them."""
    assert gateway.ask().session_id != gateway.ask().session_id


def test_end_session(combined, gateway, media):
    token = gateway.ask()
    send(gateway, segment_request(token, media, "segment"), media.ts)
    answer = end_session(gateway, token)
    assert_answered_like(answer, "end-session.response-headers.txt")
    assert recorded.unwrap(answer.body) == b""
    assert combined.status()["sessions"] == []


def test_end_session_with_the_recorded_token(gateway):
    """It was made by another node."""
    assert gateway.grpc(recorded.headers("end-session.request-headers.txt"),
                        recorded.raw("end-session.request.pb"))[:2] == (2, "Invalid auth token")


def test_get_orchestrator_at_the_session_limit(network, media):
    o = network.orchestrator("-maxSessions", 1)
    with Gateway(o, source="127.0.0.2") as other:
        send(other, segment_request(other.ask(), media, "segment"), media.ts)
        with Link(o.service) as link:
            answer = play(link, "get-orchestrator.h2.c2s.bin")
    head, end = recorded.answer_headers("get-orchestrator-capped.response-headers.txt")
    assert head | end <= set(answer.headers + answer.trailers)
    assert answer.body == b""


# --- segments ---

def segment_request(token, media, name, body=None):
    """The recorded headers, with this node's token and the hash of what is sent here."""
    rows = recorded.headers(f"{name}.request-headers.txt")
    body = body or (media.mp4 if name == "segment-mp4" else media.ts)
    seg = pb.SegData.FromString(base64.b64decode(dict(rows)["livepeer-segment"]))
    assert seg == recorded.message("SegData", f"{name}.segdata.pb")
    seg.auth_token.CopyFrom(token)
    seg.hash = keccak(body)
    here = {"livepeer-segment": base64.b64encode(seg.SerializeToString()).decode(),
            "content-length": str(len(body))}
    return [(k, here.get(k, v)) for k, v in rows]


def send(link, headers, body):
    answer = link.answer(link.request(headers, body))
    assert dict(answer.headers)[":status"] == "200", answer
    return answer, pb.TranscodeResult.FromString(answer.body)


def without_date(rows):
    return {r for r in rows if r[0].lower() != "date"}


def assert_head_like(answer, name):
    was = recorded.headers(f"{name}.response-headers.txt")
    assert without_date(answer.headers) == without_date(was)
    assert ("date" in dict(answer.headers)) == ("date" in dict(was))
    assert answer.trailers == []


def assert_result_like(result, name, node, token):
    was = recorded.message("TranscodeResult", f"{name}.response.pb")
    assert result.seq == was.seq
    assert result.error == was.error
    assert len(result.data.segments) == len(was.data.segments)
    assert not result.data.sig
    for got, one in zip(result.data.segments, was.data.segments):
        assert not got.perceptual_hash_url
        assert got.url == one.url.replace(was.info.transcoder, f"https://{node.service}") \
            .replace(was.info.auth_token.session_id, token.session_id)
    assert result.info.auth_token == token
    assert_info(result.info, node, 0)


@pytest.mark.parametrize("name", SEGMENTS)
def test_segment(combined, gateway, media, name):
    token = gateway.ask()
    answer, result = send(gateway, segment_request(token, media, name),
                          media.mp4 if name == "segment-mp4" else media.ts)
    assert_head_like(answer, "segment" if name == "segment-rtmp" else name
                     if name != "segment-slice" else "segment")
    assert_result_like(result, name, combined, token)
    was = recorded.message("TranscodeResult", f"{name}.response.pb")
    seg = recorded.message("SegData", f"{name}.segdata.pb")
    profiles = seg.full_profiles or seg.full_profiles2 or seg.full_profiles3
    for got, one, profile in zip(result.data.segments, was.data.segments, profiles):
        rows, body = http1(combined.service, rendition_request(got.url))
        kind = ("-mp4", "video/mp4") if profile.format else ("", "video/mp2t")
        assert_http1_head_like(rows, body, f"get-rendition{kind[0]}.response-head.txt", kind[1])
        assert_rendition(body, profile, got.pixels, one.pixels)


def rendition_request(url):
    host, path = re.fullmatch("https://([^/]+)(/.*)", url).groups()
    mp4 = "-mp4" * path.endswith(".mp4")
    return get_request(f"get-rendition{mp4}.request.txt", host, path)


def assert_http1_head_like(rows, body, name, content_type):
    """Equal but for two fields: "Connection: keep-alive" says in HTTP/1.1 what its absence says
    too, and the reference's Content-Type (empty, or a guess by the host's MIME table) is one that
    receivers have to ignore."""
    was = recorded.text(name).split("\r\n\r\n")[0].split("\r\n")
    want, got = ({k: v.strip() for k, v in (r.split(":", 1) for r in head[1:])}
                 for head in (was, rows))
    want["Content-Length"], want["Content-Type"] = str(len(body)), content_type
    want.pop("Connection")
    assert rows[0] == was[0]
    assert without_date(got.items()) == without_date(want.items())


def assert_rendition(body, profile, pixels, recorded_pixels):
    stream, = probe(body, "-select_streams", "v", "-show_streams")["streams"]
    assert (stream["width"], stream["height"]) == (profile.width, profile.height)
    assert pixels == count_frames(body) * profile.width * profile.height
    # One frame more or less at the edges of a slice is the source's timing.
    assert abs(pixels - recorded_pixels) <= profile.width * profile.height


def test_garbage_as_a_segment(combined, gateway, media):
    random.seed(1)
    body = bytes(random.randrange(256) for _ in range(2000))
    seg = recorded.message("SegData", "segment-garbage.segdata.pb")
    assert keccak(body) == seg.hash  # exactly the recorded bytes
    token = gateway.ask()
    answer, result = send(gateway, segment_request(token, media, "segment-garbage", body), body)
    assert_head_like(answer, "segment-garbage")
    assert result.error == "TranscoderInvalidVideo"
    assert_result_like(result, "segment-garbage", combined, token)


# --- refusals ---

def refusal_path(case):
    path = {"unknown path": "/unknown", "healthz": "/healthz",
            "missing rendition": "/stream/00000000/P240p30fps16x9/0.ts"}.get(case["case"])
    if path:
        return "GET", path
    worker = "transcodeResults" in case["case"] or set(case["request_headers"]) & \
        {"Authorization", "Credentials"}
    return "POST", "/transcodeResults" if worker else "/segment"


REFUSALS = recorded.table("http-refusals.json")
BY_NODE = [(c, "combined" if i < len(REFUSALS) - 6 else "apart") for i, c in enumerate(REFUSALS)]


@pytest.mark.parametrize("case,node", BY_NODE, ids=[c["case"] for c in REFUSALS])
def test_refusal(request, case, node):
    o = request.getfixturevalue(node)
    method, path = refusal_path(case)
    asked = "".join(f"{k}: {v}\r\n" for k, v in case["request_headers"].items())
    length = "Content-Length: 0\r\n" if method == "POST" else ""
    rows, body = http1(o.service, f"{method} {path} HTTP/1.1\r\nHost: {o.service}\r\n{asked}"
                       f"{length}\r\n".encode(), ["http/1.1"])
    assert (int(rows[0].split()[1]), body.decode()) == (case["status"], case["body"])
    got = {k.lower(): v for k, v in (r.split(": ", 1) for r in rows[1:])}
    assert without_date(got.items()) - {("connection", "keep-alive")} \
        == without_date({k.lower(): v for k, v in case["headers"].items()}.items())
    with Link(o.service) as link:
        answer = link.hello().answer(link.request(
            [(":method", method), (":scheme", "https"), (":authority", o.service), (":path", path),
             *((k.lower(), v) for k, v in case["request_headers"].items())]))
    got = dict(answer.headers)
    assert (int(got.pop(":status")), answer.body.decode()) == (case["status"], case["body"])
    assert without_date(got.items()) \
        == without_date({k.lower(): v for k, v in case["headers"].items()}.items())


# --- a worker ---

class Worker:
    """Registers with the recorded bytes; answers come on the same connection."""

    def __init__(self, node):
        self.node, self.link = node, Link(node.service)
        self.link.expect()
        recording = recorded.frames(recorded.raw("register-transcoder.h2.c2s.bin"))
        at = next(i for i, f in enumerate(recording) if f.type == DATA) + 1
        self.link.send(recorded.PREFACE + b"".join(map(recorded.frame, recording[:at])))
        self.reactions = recording[at:]  # WINDOW_UPDATE and PING, two for each notification
        self.link.next_stream = 3
        wait_for(lambda: node.status()["workers"], 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.socket.close()
        wait_for(lambda: not self.node.status()["workers"], 10)

    def notify(self):
        m = pb.NotifySegment.FromString(self.link.message())
        for _ in self.reactions[:2]:
            self.link.send(recorded.frame(self.reactions.pop(0)))
        return m

    def source(self, notify):
        host, path = re.fullmatch("https://([^/]+)(/.*)", notify.url).groups()
        return http1(self.node.service, get_request("get-source.request.txt", host, path))

    def post(self, name, task, body, boundary=None):
        """The recorded headers of /transcodeResults around what is sent here."""
        rows = recorded.headers(f"{name}.request-headers.txt")
        here = {"taskid": str(task), "content-length": str(len(body))}
        assert not boundary or dict(rows)["content-type"].endswith(f"boundary={boundary}")
        return self.link.answer(self.link.request([(k, here.get(k, v)) for k, v in rows], body))

    def post_parts(self, name, task, media):
        """The recorded multipart body with our media in its parts."""
        boundary, was = recorded.parts(recorded.raw(f"{name}.request-body-cut.bin"), cut=True)
        body = b""
        for (rows, _), own in zip(was, media, strict=True):
            head = "".join(f"{k}: {len(own) if k == 'Content-Length' else v}\r\n"
                           for k, v in rows)
            body += f"--{boundary}\r\n{head}\r\n".encode() + own + b"\r\n"
        return self.post(name, task, body + f"--{boundary}--\r\n".encode(), boundary)


@pytest.fixture
def worker(apart):
    with Worker(apart) as w:
        yield w


def assert_notify_like(got, name, node, token, task):
    """What was recorded, but where and when."""
    was = recorded.message("NotifySegment", f"{name}.pb")
    was.url = re.sub("https://[^/]+/stream/[^/]+",
                     f"https://{node.service}/stream/{token.session_id}", was.url)
    was.task_id = task
    was.seg_data.auth_token.CopyFrom(token)
    key = lambda c: c.key  # noqa: E731: a map has no order
    for m in (got, was):
        capacities = sorted(m.seg_data.capabilities.capacities, key=key)
        del m.seg_data.capabilities.capacities[:]
        m.seg_data.capabilities.capacities.extend(capacities)
    assert got == was


NOTIFIED = [("segment", "register-transcoder.notify-0", "transcode-results"),
            ("segment-slice", "register-transcoder.notify-2", "transcode-results"),
            ("segment-full", "notify-full", "transcode-results-full"),
            ("segment-mp4", "notify-mp4", "transcode-results-mp4"),
            ("segment-rtmp", "notify-rtmp", "transcode-results")]


@pytest.mark.parametrize("segment,notify,results", NOTIFIED, ids=[n[1] for n in NOTIFIED])
def test_worker_gets_a_segment_and_answers(apart, worker, media, segment, notify, results):
    with Gateway(apart) as link:
        token = link.ask()
        body = media.mp4 if segment == "segment-mp4" else media.ts
        stream = link.request(segment_request(token, media, segment), body)
        got = worker.notify()
        assert_notify_like(got, notify, apart, token, got.task_id)
        rows, source = worker.source(got)
        assert source == body
        assert_http1_head_like(rows, body, "get-source.response-head.txt",
                               "application/octet-stream")
        # The 200 has come although nobody worked yet (two-phase answer).
        assert dict(link.wait_head(stream))[":status"] == "200"
        assert link.streams[stream][1:] == []
        answer = worker.post_parts(results, got.task_id, [b"one" * 100, b"two" * 100])
        assert_posted_like(answer, "transcode-results")
        result = pb.TranscodeResult.FromString(link.answer(stream).body)
        assert_result_like(result, segment, apart, token)
        _, was = recorded.parts(recorded.raw(f"{results}.request-body-cut.bin"), cut=True)
        assert [s.pixels for s in result.data.segments] == [int(dict(h)["Pixels"]) for h, _ in was]
        assert [http1(apart.service, rendition_request(s.url))[1]
                for s in result.data.segments] == [b"one" * 100, b"two" * 100]


def assert_posted_like(answer, name):
    assert without_date(answer.headers) == \
        without_date(recorded.headers(f"{name}.response-headers.txt"))
    assert answer.body == recorded.raw(f"{name}.response-body.txt")


def test_worker_answers_with_an_error(apart, worker, media):
    with Gateway(apart) as link:
        token = link.ask()
        stream = link.request(segment_request(token, media, "segment"), media.ts)
        text = recorded.raw("transcode-results-error.request-body.txt")
        answer = worker.post("transcode-results-error", worker.notify().task_id, text)
        assert_posted_like(answer, "transcode-results")
        result = pb.TranscodeResult.FromString(link.answer(stream).body)
    assert result.error == text.decode() and not result.HasField("data")


def test_worker_is_told_of_a_sessions_end(apart, worker, media):
    with Gateway(apart) as link:
        token = link.ask()
        stream = link.request(segment_request(token, media, "segment"), media.ts)
        worker.post_parts("transcode-results", worker.notify().task_id, [b"1" * 99, b"2" * 99])
        link.answer(stream)
        end_session(link, link.tokens.pop())
    was = recorded.message("NotifySegment", "notify-teardown.pb")
    was.seg_data.auth_token.session_id = token.session_id
    assert worker.notify() == was


def test_worker_with_a_wrong_secret(apart):
    with Link(apart.service) as link:
        answer = link.hello().answer(link.request(
            recorded.headers("register-wrong-secret.request-headers.txt"),
            recorded.wrap(recorded.raw("register-wrong-secret.request.pb"))))
    head, end = recorded.answer_headers("register-wrong-secret.response-headers.txt")
    assert head | end <= set(answer.headers + answer.trailers)
    assert answer.body == b""
    assert apart.status()["workers"] == []
