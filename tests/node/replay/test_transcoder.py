"""An orchestrator's recorded words, said to a leat transcoder."""
import re
from urllib.parse import urlparse

import pytest

from leatnet import SLOW, Node, count_frames, probe, wait_for
from peers import pb
from replay import recorded
from replay.likeness import answer_head, assert_get_like, assert_headers_like
from replay.server import Orchestrator, Recording

SECRET = "matrix-secret"
SOURCE_PIXELS = 60 * 320 * 180


def orchestrator(folder, media):
    """Serves the source in the recorded form and takes results as the reference does."""
    def source(exchange):
        body = media.mp4 if "mp4" in exchange.path else media.ts
        exchange.answer(answer_head("get-source.response-head.txt", len(body)), body)

    def results(exchange):
        exchange.answer(recorded.headers("transcode-results.response-headers.txt"),
                        recorded.raw("transcode-results.response-body.txt"))

    def register(exchange):
        exchange.start(recorded.headers("register-transcoder.notify-headers.txt"))

    return Orchestrator(folder, answers={"/stream/": source, "/transcodeResults": results,
                                         "/net.Transcoder/": register})


def transcoder(network, o, *flags):
    return network.add(Node(network.folder, "transcoder", ["-orchAddr", o.service, "-orchSecret",
                                                           SECRET, *flags])).wait_alive()


@pytest.fixture(scope="module")
def worker(shared, media):
    """(orchestrator, the exchange that its one worker registered with)"""
    with orchestrator(shared.folder, media) as o:
        node = transcoder(shared, o)
        yield o, o.wait("/net.Transcoder/RegisterTranscoder")
        node.stop()


@pytest.fixture(scope="module", autouse=True)
def frozen(shared, media, tmp_path_factory):
    """(orchestrator, its worker): silence takes ten seconds to notice, so it begins with the
    first test and is looked at by the last."""
    with orchestrator(tmp_path_factory.mktemp("frozen"), media) as o:
        t = transcoder(shared, o)
        o.wait("/net.Transcoder/RegisterTranscoder")
        o.thawed.clear()
        yield o, t
        t.stop()


def notification(o, name, task):
    m = recorded.message("NotifySegment", f"{name}.pb")
    m.url = o.uri + urlparse(m.url).path + ("?mp4" if name == "notify-mp4" else "")
    m.task_id = task
    return m


def notify(exchange, m):
    exchange.data(recorded.wrap(m.SerializeToString()))


def test_registration(worker):
    o, registered = worker
    assert registered.alpn == "h2"
    assert_headers_like(registered.headers, "register-transcoder.request-headers.txt",
                        **{":authority": o.service})
    got = pb.RegisterRequest.FromString(recorded.unwrap(registered.body[:5 + int.from_bytes(
        registered.body[1:5], "big")]))
    was = recorded.message("RegisterRequest", "register-transcoder.request.pb")
    assert (got.secret, got.capacity) == (was.secret, was.capacity)
    assert got.capabilities.version.startswith(was.capabilities.version)
    assert got.capabilities.HasField("constraints")
    assert not got.capabilities.constraints.min_version
    bits = got.capabilities.bitstring[0]
    assert len(got.capabilities.bitstring) == 1
    # The recorded worker was started without -hevcDecoding and never claims VP9; leat reads both.
    assert bits & ~was.capabilities.bitstring[0] == 1 << 15 | 1 << 18
    for name in ("segment", "segment-full", "segment-mp4", "segment-rtmp"):
        need = recorded.message("SegData", f"{name}.segdata.pb").capabilities.bitstring[0]
        assert bits & need == need
    assert {c.key: c.value for c in got.capabilities.capacities} == \
        {i: 1 for i in range(64) if bits >> i & 1}


SEGMENTS = [("register-transcoder.notify-0", "transcode-results"),
            ("register-transcoder.notify-1", "transcode-results"),
            ("register-transcoder.notify-2", "transcode-results"),
            ("notify-full", "transcode-results-full"), ("notify-mp4", "transcode-results-mp4"),
            ("notify-rtmp", "transcode-results")]


@pytest.mark.parametrize("name,results", SEGMENTS, ids=[s[0] for s in SEGMENTS])
def test_segment(worker, media, name, results):
    o, registered = worker
    task = recorded.message("NotifySegment", f"{name}.pb").task_id + 100
    m = notification(o, name, task)
    notify(registered, m)
    asked = o.wait("/stream/")
    assert f"{o.uri}{asked.path}" == m.url
    assert_get_like(asked, "get-source.request.txt", o.service)
    posted = o.wait("/transcodeResults")
    boundary, got = recorded.parts(posted.body)
    was_boundary, was = recorded.parts(recorded.raw(f"{results}.request-body-cut.bin"), cut=True)
    assert re.fullmatch("[0-9a-f]{20}", boundary) and len(boundary) == len(was_boundary)
    assert posted.alpn == "h2"
    assert_headers_like(
        posted.headers, f"{results}.request-headers.txt", taskid=str(task),
        **{":authority": o.service, "content-length": str(len(posted.body)),
           "content-type": f"multipart/mixed; boundary={boundary}",
           "pixels": str(SOURCE_PIXELS)})
    profiles = m.seg_data.full_profiles or m.seg_data.full_profiles2 or m.seg_data.full_profiles3
    assert len(got) == len(was) == len(profiles)
    for (rows, body), (was_rows, _), profile in zip(got, was, profiles):
        assert [k for k, _ in rows] == [k for k, _ in was_rows]
        assert dict(rows)["Content-Type"] == dict(was_rows)["Content-Type"]
        stream, = probe(body, "-select_streams", "v", "-show_streams")["streams"]
        assert (stream["width"], stream["height"]) == (profile.width, profile.height)
        pixels = count_frames(body) * profile.width * profile.height
        assert dict(rows)["Pixels"] == str(pixels)
        if not m.seg_data.HasField("segment_parameters"):
            assert dict(rows)["Pixels"] == dict(was_rows)["Pixels"]


def test_garbage_is_answered_with_the_recorded_error(network, media, tmp_path):
    with orchestrator(tmp_path, media._replace(ts=b"no media at all" * 99)) as o:
        t = transcoder(network, o)
        registered = o.wait("/net.Transcoder/RegisterTranscoder")
        notify(registered, notification(o, "register-transcoder.notify-0", 0))
        posted = o.wait("/transcodeResults")
        text = recorded.raw("transcode-results-error.request-body.txt")
        assert_headers_like(posted.headers, "transcode-results-error.request-headers.txt",
                            **{":authority": o.service})
        assert posted.body == text
        wait_for(lambda: not t.status()["running"], 5)


def test_teardown(network, media, tmp_path):
    """A session's end frees its codec; nothing is answered."""
    with orchestrator(tmp_path, media) as o:
        t = transcoder(network, o)
        registered = o.wait("/net.Transcoder/RegisterTranscoder")
        notify(registered, notification(o, "notify-rtmp", 0))
        o.wait("/transcodeResults")
        wait_for(lambda: t.status()["streams"] == 1 and not t.status()["running"], 5)
        came = len(o.seen)
        notify(registered, recorded.message("NotifySegment", "notify-teardown.pb"))
        wait_for(lambda: t.status()["streams"] == 0, 5)
        assert len(o.seen) == came


def test_recorded_connection(network, media, tmp_path):
    """What the reference sent on the registration's connection, frame by frame."""
    names = [f"register-transcoder.notify-{i}" for i in range(3)]
    with orchestrator(tmp_path, media) as o:
        own = [notification(o, name, i) for i, name in enumerate(names)]
        with Recording(tmp_path, "register-transcoder.h2.s2c.bin", own) as r:
            # Sources come from o; results go where the worker registered, which takes none.
            t = transcoder(network, r)
            was = recorded.message("RegisterRequest", "register-transcoder.request.pb")
            assert pb.RegisterRequest.FromString(r.requests.get(timeout=10)).secret == was.secret
            assert {o.uri + o.wait("/stream/").path for _ in own} == {m.url for m in own}
            t.kill()


def test_wrong_secret_ends_the_process(network, media, tmp_path):
    def register(exchange):
        exchange.grpc(None, "register-wrong-secret.response-headers.txt")

    with Orchestrator(tmp_path, answers={"/net.Transcoder/": register}) as o:
        t = network.add(Node(network.folder, "transcoder",
                             ["-orchAddr", o.service, "-orchSecret", "not-the-secret"]))
        asked = o.wait("/net.Transcoder/RegisterTranscoder")
        was = recorded.message("RegisterRequest", "register-wrong-secret.request.pb")
        got = asked.message("RegisterRequest")
        assert was.secret and got.secret == "not-the-secret"
        assert t.process.wait(timeout=10 * SLOW) != 0
        t.wait_log("invalid secret")


def test_broken_stream_makes_it_register_again(network, media, tmp_path):
    with orchestrator(tmp_path, media) as o:
        t = transcoder(network, o)
        o.wait("/net.Transcoder/RegisterTranscoder")
        o.drop()
        again = o.wait("/net.Transcoder/RegisterTranscoder", 5)
        notify(again, notification(o, "register-transcoder.notify-0", 7))
        assert dict(o.wait("/transcodeResults").headers)["taskid"] == "7"
        wait_for(lambda: not t.status()["running"], 5)


def test_frozen_orchestrator_is_noticed(frozen):
    """It answers no more and closes nothing: the worker leaves it and comes back."""
    o, t = frozen
    wait_for(lambda: t.status()["reconnects"], 20)
    o.thawed.set()
    o.wait("/net.Transcoder/RegisterTranscoder", 20)
