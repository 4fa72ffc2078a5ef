"""An orchestrator's recorded words, said to a leat gateway."""
import base64
import json
import re
import threading
import time

import pytest

from peers import keccak, pb
from replay import recorded
from replay.likeness import answer_head, assert_get_like, assert_headers_like
from replay.server import Orchestrator, Recording

DEFAULT_LADDER = "P240p30fps16x9,P360p30fps16x9"
# What the recorded segments were pushed with.
PUSH = {"Content_Duration": 2000, "Content_Resolution": "320x180", "Accept": "multipart/mixed"}
FULL = json.dumps({"profiles": [
    {"name": "low", "width": 160, "height": 90, "bitrate": 100000, "fps": 30, "fpsDen": 2,
     "profile": "H264Baseline", "gop": "1.0"},
    {"name": "intra", "width": 160, "height": 90, "bitrate": 200000, "fps": 0,
     "profile": "H264High", "gop": "intra", "quality": 27}]})


class Reference(Orchestrator):
    """Answers with the recorded bytes, adapted to where it is and when."""

    def __init__(self, folder, media):
        self.media, self.name, self.before_body = media, "segment", lambda: None
        self.expires = int(time.time()) + 1800
        super().__init__(folder, answers={
            "/net.Orchestrator/GetOrchestrator": self.info,
            "/net.Orchestrator/EndTranscodingSession": lambda x: x.grpc(
                b"", "end-session.response-headers.txt"),
            "/segment": self.segment, "/stream/": self.rendition})

    def own_info(self, name):
        """The recorded answer; the token is that of the recorded segment `name`."""
        m = recorded.message("OrchestratorInfo", "get-orchestrator.response.pb")
        m.transcoder = self.uri
        m.auth_token.CopyFrom(recorded.message("SegData", f"{name}.segdata.pb").auth_token)
        m.auth_token.expiration = self.expires
        return m

    def info(self, exchange):
        exchange.grpc(self.own_info(self.name).SerializeToString())

    def result(self, name):
        m = recorded.message("TranscodeResult", f"{name}.response.pb")
        for s in m.data.segments:
            s.url = s.url.replace(m.info.transcoder, self.uri)
        m.info.CopyFrom(self.own_info(name))
        return m

    def segment(self, exchange):
        exchange.start(recorded.headers("segment.response-headers.txt"))
        self.before_body()
        exchange.data(self.result(self.name).SerializeToString(), end=True)

    def rendition(self, exchange):
        mp4 = exchange.path.endswith(".mp4")
        second = any(n in exchange.path for n in ("360p", "intra"))
        body = self.media.mp4 if mp4 else self.media.renditions[second]
        exchange.answer(answer_head(f"get-rendition{'-mp4' * mp4}.response-head.txt", len(body)),
                        body)


@pytest.fixture
def o(tmp_path, media):
    with Reference(tmp_path, media) as server:
        yield server


@pytest.fixture
def gateway(network, o):
    return network.gateway(o, ladder=DEFAULT_LADDER)


def sent_seg_data(exchange):
    text = exchange.fields["livepeer-segment"]
    return pb.SegData.FromString(base64.b64decode(text, validate=True))


def assert_segment_like(o, exchange, name, body=None, **own):
    sent, was = sent_seg_data(exchange), recorded.message("SegData", f"{name}.segdata.pb")
    was.auth_token.expiration = sent.auth_token.expiration
    was.hash = keccak(exchange.body)
    for field, value in own.items():
        setattr(was, field, value)
    assert sent == was
    assert exchange.alpn == "h2"
    assert_headers_like(exchange.headers, f"{name}.request-headers.txt",
                        **{":authority": o.service, "content-length": str(len(exchange.body)),
                           "livepeer-segment": exchange.fields["livepeer-segment"]})
    if body is not None:
        assert exchange.body == body


def assert_asked_like(o, bits):
    asked = o.all("/net.Orchestrator/GetOrchestrator")
    for exchange in asked:
        assert exchange.alpn == "h2"
        assert_headers_like(exchange.headers, "get-orchestrator.request-headers.txt",
                            **{":authority": o.service})
        was = recorded.message("OrchestratorRequest", "get-orchestrator.request.pb")
        was.capabilities.bitstring[0] = bits
        assert exchange.message("OrchestratorRequest") == was
    assert len(asked) == 1
    if bits == 67112963:
        assert recorded.unwrap(asked[0].body) == recorded.raw("get-orchestrator.request.pb")


def assert_downloads_like(o, name, mp4=False):
    urls = [s.url for s in recorded.message("TranscodeResult", f"{name}.response.pb").data.segments]
    got = o.all("/stream/")
    assert sorted(e.path for e in got) == sorted(re.sub("https://[^/]+", "", u) for u in urls)
    for e in got:
        assert_get_like(e, f"get-rendition{'-mp4' * mp4}.request.txt", o.service)


def assert_push_answer_like(answer, names, seq, bodies, ext=".ts", mime="video/mp2t"):
    status, headers, body = answer
    assert status == 200, body
    was = dict(recorded.headers("push-answer.headers.txt"))
    got = {k.lower(): v for k, v in headers.items()}
    boundary, own = recorded.parts(body)
    assert got.pop("content-type") == f"multipart/mixed; boundary={boundary}"
    assert re.fullmatch("[0-9a-f]{20}", boundary)
    assert set(got) - {"connection"} == set(was) - {"content-type"}
    assert got["transfer-encoding"] == "chunked"
    _, (first, _) = recorded.parts(recorded.raw("push-answer.body-cut.bin"), cut=True)
    assert len(own) == len(names)
    for (rows, part), name, media in zip(own, names, bodies):
        assert part == media
        want = [(k, v.replace("P240p30fps16x9_0.ts", f"{name}_{seq}{ext}")
                 .replace("P240p30fps16x9", name).replace("video/mp2t", mime))
                for k, v in first[0]]
        want = [(k, str(len(media)) if k == "Content-Length" else v) for k, v in want]
        assert rows == want


# --- whole conversations ---

def test_push(o, gateway, media):
    answer = gateway.push("movie", 0, media.ts, **PUSH)
    assert_push_answer_like(answer, DEFAULT_LADDER.split(","), 0, media.renditions)
    assert_asked_like(o, 67112963)
    segment, = o.all("/segment")
    assert_segment_like(o, segment, "segment", media.ts)
    assert_downloads_like(o, "segment")


def test_push_of_a_slice(o, gateway, media):
    o.name = "segment-slice"
    answer = gateway.push("movie", 2, media.ts, Content_Slice_From=500, Content_Slice_To=1500,
                          **PUSH)
    assert_push_answer_like(answer, DEFAULT_LADDER.split(","), 2, media.renditions)
    assert_segment_like(o, o.all("/segment")[0], "segment-slice", media.ts)
    assert_downloads_like(o, "segment-slice")


def test_push_with_encoder_settings(o, gateway, media):
    o.name = "segment-full"
    answer = gateway.push("inner", 7, media.ts, Livepeer_Transcode_Configuration=FULL, **PUSH)
    assert_push_answer_like(answer, ["low", "intra"], 7, media.renditions)
    assert_asked_like(o, recorded.message("SegData", "segment-full.segdata.pb")
                      .capabilities.bitstring[0])
    assert_segment_like(o, o.all("/segment")[0], "segment-full", media.ts)


def test_push_of_mp4(o, gateway, media):
    o.name = "segment-mp4"
    answer = gateway.push("boxed", 0, media.mp4, ext="mp4", **PUSH)
    assert_push_answer_like(answer, DEFAULT_LADDER.split(","), 0, [media.mp4] * 2, ".mp4",
                            "video/mp4")
    assert_asked_like(o, recorded.message("SegData", "segment-mp4.segdata.pb")
                      .capabilities.bitstring[0])
    assert_segment_like(o, o.all("/segment")[0], "segment-mp4", media.mp4)
    assert_downloads_like(o, "segment-mp4", mp4=True)


def test_rtmp_from_first_segment_to_last_word(o, gateway):
    o.name = "segment-rtmp"
    publisher = gateway.publish("cam", seconds=10)
    segment = o.wait("/segment")
    publisher.goodbye()
    assert_asked_like(o, 4099)
    sent = sent_seg_data(segment)
    assert abs(sent.duration - 2000) <= 34  # a frame at the least
    assert_segment_like(o, segment, "segment-rtmp", duration=sent.duration)
    end = o.wait("/net.Orchestrator/EndTranscodingSession")
    assert_headers_like(end.headers, "end-session.request-headers.txt", **{":authority": o.service})
    was = recorded.message("EndTranscodingSessionRequest", "end-session.request.pb")
    was.auth_token.CopyFrom(sent.auth_token)
    assert end.message("EndTranscodingSessionRequest") == was


def test_recorded_connection(network, o, tmp_path, media):
    """GetOrchestrator answered with the recorded frames, headers and trailers."""
    with Recording(tmp_path, "get-orchestrator.h2.s2c.bin", [o.own_info("segment")]) as r:
        gateway = network.gateway(r, ladder=DEFAULT_LADDER)
        assert_push_answer_like(gateway.push("movie", 0, media.ts, **PUSH),
                                DEFAULT_LADDER.split(","), 0, media.renditions)
        assert r.requests.get(timeout=1) == recorded.raw("get-orchestrator.request.pb")


def test_body_long_after_the_200(o, gateway, media):
    """Two phases with their own limits: the 200 within 2 s, the result within 8."""
    o.before_body = lambda: time.sleep(2.5)
    assert gateway.push("movie", 0, media.ts, **PUSH)[0] == 200
    assert len(o.all("/segment")) == 1


def test_error_that_no_orchestrator_can_mend(o, gateway, media):
    """The recorded answer to garbage: told to the pusher, not tried again, nobody's fault."""
    o.name = "segment-garbage"
    status, _, body = gateway.push("junk", 0, media.ts, **PUSH)
    assert (status, len(o.all("/segment"))) == (422, 1)
    assert b"TranscoderInvalidVideo" in body
    o.name = "segment"
    assert gateway.push("junk", 1, media.ts, **PUSH)[0] == 200
    assert len(o.all("/net.Orchestrator/GetOrchestrator")) == 1


# --- orchestrators that fail: the next one is asked ---

def refuse(text, status="403"):
    return lambda x: x.answer([(":status", status), ("content-type", "text/plain; charset=utf-8"),
                               ("x-content-type-options", "nosniff")], f"{text}\n".encode())


def recorded_refusals():
    """Those of /segment, under the name of each case."""
    for case in recorded.table("http-refusals.json"):
        if case["status"] in (402, 403):
            yield case["case"], refuse(case["body"].rstrip("\n"), str(case["status"]))


def error_in_200(text):
    def answer(exchange):
        m = recorded.message("TranscodeResult", "segment-garbage.response.pb")
        m.error = text
        exchange.answer([(":status", "200")], m.SerializeToString())
    return answer


def in_200(body):
    return lambda x: x.answer([(":status", "200")], body)


def fewer_segments(exchange):
    m = exchange.connection.server.result("segment")
    del m.data.segments[1]
    exchange.answer([(":status", "200")], m.SerializeToString())


def lost_rendition(exchange):
    m = exchange.connection.server.result("segment")
    m.data.segments[0].url += ".missing"
    exchange.answer([(":status", "200")], m.SerializeToString())


def never(exchange):
    pass


BAD_SEGMENTS = {
    **dict(recorded_refusals()),
    "capped": refuse("OrchestratorCapped"),
    "internal error": refuse("Internal Server Error", "500"),
    "busy": error_in_200("OrchestratorBusy"),
    "no worker": error_in_200("no transcoders available"),
    "neither data nor error": in_200(b""),
    "garbage": in_200(b"\xff\xff\xff\xff" * 20),
    "fewer segments than profiles": fewer_segments,
    "rendition that cannot be fetched": lost_rendition,
    "no answer": never,
}


class Pair:
    """A bad orchestrator that answers first, and a good one; one gateway for all streams."""

    def __init__(self, folder, media, net):
        self.bad, self.good = Reference(folder, media), Reference(folder, media)
        self.usual = dict(self.bad.answers)
        self.asked = threading.Event()
        self.good.answers["/net.Orchestrator/GetOrchestrator"] = self._second
        self.bad.answers["/net.Orchestrator/GetOrchestrator"] = self._first
        self.gateway = net.gateway(self.bad, self.good, ladder=DEFAULT_LADDER,
                                   flags=["-maxSessions", 100])
        self.streams = 0

    def _first(self, exchange):
        self.first(exchange)
        self.asked.set()

    def _second(self, exchange):
        assert self.asked.wait(10)
        time.sleep(0.1)  # the order of discovery is that of the answers
        self.good.info(exchange)

    def push(self, media, segment=None, info=None):
        self.first = info or self.bad.info
        self.asked.clear()
        self.bad.answers["/segment"] = segment or self.bad.segment
        self.bad.answers["/stream/"] = lambda x: x.answer(
            ["HTTP/1.1 404 Not Found", "Content-Length: 12"], b"ErrNotFound\n") \
            if x.path.endswith(".missing") else self.bad.rendition(x)
        for o in (self.bad, self.good):
            o.seen.clear()
        self.streams += 1
        return self.gateway.push(f"stream{self.streams}", 0, media.ts, **PUSH)

    def close(self):
        for o in (self.bad, self.good):
            o.__exit__()


@pytest.fixture(scope="module")
def pair(shared, media):
    p = Pair(shared.folder, media, shared)
    yield p
    p.close()


@pytest.mark.parametrize("kind", BAD_SEGMENTS)
def test_bad_answer_to_a_segment(pair, media, kind):
    answer = pair.push(media, segment=BAD_SEGMENTS[kind])
    assert_push_answer_like(answer, DEFAULT_LADDER.split(","), 0, media.renditions)
    assert [len(o.all("/segment")) for o in (pair.bad, pair.good)] == [1, 1]


BAD_INFO = {
    "capped": lambda x: x.grpc(None, "get-orchestrator-capped.response-headers.txt"),
    "garbage": lambda x: x.grpc(b"\xff" * 40),
    "empty": lambda x: x.grpc(b""),
    "no answer": never,
}


@pytest.mark.parametrize("kind", BAD_INFO)
def test_bad_answer_to_get_orchestrator(pair, media, kind):
    answer = pair.push(media, info=BAD_INFO[kind])
    assert_push_answer_like(answer, DEFAULT_LADDER.split(","), 0, media.renditions)
    assert [len(o.all("/segment")) for o in (pair.bad, pair.good)] == [0, 1]
