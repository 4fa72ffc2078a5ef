"""A transcoding worker at an orchestrator that a test plays: what it asks, fetches and posts,
against recordings of the reference (tests/vectors/offchain)."""
import json
import random
import re
import signal
import subprocess
import time
import urllib.error
from urllib.parse import urlparse

import pytest

from leatnet import SANITIZED, SLOW, Node, fetch, free_port, probe
from peers import VECTORS, OrchestratorPeer, headers_of, parts_of, pb, wait_until

SECRET = "matrix-secret"
PING_S = 5          # how often a worker makes sure that its orchestrator lives


@pytest.fixture
def orchestrator():
    o = OrchestratorPeer(SECRET)
    yield o
    o.close()


def start(network, orchestrator, *flags, secret=SECRET):
    return network.add(Node(network.folder, "transcoder",
                            ["-orchAddr", orchestrator.addr, "-orchSecret", secret, *flags]))


@pytest.fixture
def worker(network, orchestrator):
    w = start(network, orchestrator)
    w.at = orchestrator.registration()
    return w


def recorded(name):
    return pb.NotifySegment.FromString((VECTORS / f"{name}.pb").read_bytes())


def give(orchestrator, worker, notify, media):
    """Notifies with a URL at this orchestrator; the post that comes back."""
    path = urlparse(notify.url).path
    notify.url = f"https://{orchestrator.addr}{path}"
    orchestrator.sources[path] = media
    worker.at.notify(notify)
    return orchestrator.post()


def text_of(post):
    headers, body = post
    assert dict(headers)["content-type"] == "livepeer/transcoding-error"
    return body.decode()


# --- registration ---

def test_registration_as_recorded(orchestrator, worker):
    r = worker.at.request
    want = pb.RegisterRequest.FromString((VECTORS / "register-transcoder.request.pb").read_bytes())
    assert (r.secret, r.capacity) == (want.secret, want.capacity)
    assert r.capabilities.version.startswith("0.9.1")
    assert r.capabilities.HasField("constraints") and want.capabilities.HasField("constraints")
    assert not r.capabilities.mandatories
    ours, theirs = r.capabilities.bitstring[0], want.capabilities.bitstring[0]
    assert ours & ~theirs == 1 << 15 | 1 << 18, "besides HEVC and VP9 the same"
    assert ours & 67112963 == 67112963, "what a pushed stream needs"
    assert {c.key: c.value for c in r.capabilities.capacities} == {
        n: 1 for n in range(64) if ours >> n & 1}
    names = [k for k, _ in worker.at.headers]
    assert names[:4] == [k for k, _ in headers_of("register-transcoder.request-headers.txt")][:4] \
        or set(names[:4]) == {":method", ":scheme", ":path", ":authority"}
    for name, value in headers_of("register-transcoder.request-headers.txt"):
        if name not in (":authority", "user-agent"):
            assert dict(worker.at.headers)[name] == value


def test_capacity_is_max_sessions(network, orchestrator):
    start(network, orchestrator, "-maxSessions", "3")
    assert orchestrator.registration().request.capacity == 3


def test_ready_when_registered(network, orchestrator, worker):
    worker.wait_ready()
    assert worker.status()["trouble"] == ""


@pytest.mark.parametrize("text,flag", [("invalid secret", "-orchSecret"),
                                       ("zero capacity", "-maxSessions")])
def test_refused_for_good_ends_with_status_and_reason(network, orchestrator, text, flag):
    orchestrator.refuse = (2, text)
    w = start(network, orchestrator, secret="wrong")
    assert w.process.wait(timeout=20) not in (0, None)
    w.reader.join()
    assert text in w.log and flag in w.log


def test_no_orchestrator_is_said_and_waited_for(network, orchestrator):
    orchestrator.stop_listening()
    w = start(network, orchestrator)
    w.wait_log("not registered with .*trying again in")
    assert w.running()
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(f"http://{w.admin}/readyz")
    assert b"not registered with" in error.value.read()
    orchestrator.listen(orchestrator.port)
    assert orchestrator.registration().request.secret == SECRET


def test_reconnects_with_growing_waits(network, orchestrator):
    orchestrator.refuse = (14, "not now")
    w = start(network, orchestrator)
    for _ in range(4):
        orchestrator.registration()
    orchestrator.refuse = None
    orchestrator.registration()
    waits = [int(n) for n in re.findall(r"trying again in (\d+) ms", w.log)][:4]
    for i, wait in enumerate(waits):
        assert 0.5 * 500 * 1.5 ** i - 2 <= wait <= 1.5 * 500 * 1.5 ** i + 2, waits


def test_comes_back_when_the_orchestrator_was_restarted(orchestrator, worker):
    orchestrator.drop()
    assert orchestrator.registration().request.secret == SECRET
    assert worker.running()


def test_frozen_orchestrator_is_noticed(orchestrator, worker):
    worker.wait_ready()
    orchestrator.frozen = True
    begun = time.monotonic()
    worker.wait_log("not registered with", 2 * PING_S + 5)
    assert time.monotonic() - begun < 2 * PING_S + 3
    orchestrator.frozen = False
    orchestrator.registration()


# --- a segment ---

@pytest.mark.parametrize("name,results", [
    ("register-transcoder.notify-0", "transcode-results"),
    ("register-transcoder.notify-1", "transcode-results"),
    ("notify-rtmp", "transcode-results"),
    ("notify-full", "transcode-results-full"),
    ("notify-mp4", "transcode-results-mp4")])
def test_recorded_notification_is_answered_in_the_recorded_form(orchestrator, worker, segments,
                                                                name, results):
    notify = recorded(name)
    headers, body = give(orchestrator, worker, notify, segments[0])
    want = headers_of(f"{results}.request-headers.txt")
    ours = dict(headers)
    for key, value in want:
        if key in (":method", ":path", ":scheme", "authorization", "credentials"):
            assert ours[key] == value
    assert ours["taskid"] == str(notify.task_id)
    assert int(ours["pixels"]) == 60 * 320 * 180
    assert re.fullmatch(r"multipart/mixed; boundary=[0-9a-f]{20}", ours["content-type"])
    assert re.fullmatch(r"multipart/mixed; boundary=[0-9a-f]{20}", dict(want)["content-type"])
    assert int(ours["content-length"]) == len(body)
    cut = (VECTORS / f"{results}.request-body-cut.bin").read_bytes()
    theirs = parts_of(dict(want)["content-type"], cut)
    parts = parts_of(ours["content-type"], body)
    assert len(parts) == len(theirs)
    for (head, media), (their_head, _) in zip(parts, theirs):
        rows = [r.split(": ", 1) for r in head.split("\r\n")]
        their_rows = [r.split(": ", 1) for r in their_head.split("\r\n")]
        assert [k for k, _ in rows] == [k for k, _ in their_rows], "the same headers in order"
        values, their_values = dict(rows), dict(their_rows)
        assert values["Content-Type"] == their_values["Content-Type"]
        assert int(values["Content-Length"]) == len(media)
        stream = probe(media, "-count_frames", "-show_streams", "-select_streams", "v")
        stream = stream["streams"][0]
        assert int(values["Pixels"]) == (int(stream["nb_read_frames"]) * stream["width"]
                                         * stream["height"])


def test_clip_as_recorded(orchestrator, worker, segments):
    """Number 2 asks for 500 to 1500 ms of its segment."""
    headers, body = give(orchestrator, worker, recorded("register-transcoder.notify-2"),
                         segments[0])
    for _, media in parts_of(dict(headers)["content-type"], body):
        stream = probe(media, "-count_frames", "-show_streams", "-select_streams", "v")
        assert abs(int(stream["streams"][0]["nb_read_frames"]) - 30) <= 1


def test_source_is_fetched_as_recorded(orchestrator, worker, segments):
    notify = recorded("register-transcoder.notify-0")
    give(orchestrator, worker, notify, segments[0])
    path, request = orchestrator.gets[0]
    want = (VECTORS / "get-source.request.txt").read_text().splitlines()
    assert path == urlparse(notify.url).path
    assert request.splitlines()[0] == want[0], "HTTP/1.1, and a connection without ALPN"


def test_error_in_the_recorded_form(orchestrator, worker):
    noise = random.Random(1)
    notify = recorded("register-transcoder.notify-0")
    headers, body = give(orchestrator, worker, notify,
                         bytes(noise.randrange(256) for _ in range(2000)))
    want = headers_of("transcode-results-error.request-headers.txt")
    for name, value in want:
        if name not in (":authority", "accept-encoding", "user-agent"):
            assert dict(headers)[name] == value, name
    assert body == (VECTORS / "transcode-results-error.request-body.txt").read_bytes()


def test_source_that_is_gone(orchestrator, worker):
    notify = recorded("register-transcoder.notify-0")
    assert "status 404" in text_of(give(orchestrator, worker, notify, None))
    assert len(orchestrator.gets) == 1, "an answer is an answer"


def test_source_whose_connection_breaks_is_fetched_again(orchestrator, worker, segments):
    orchestrator.sources["then"] = segments[0]
    headers, _ = give(orchestrator, worker, recorded("register-transcoder.notify-0"), "close")
    assert dict(headers)["content-type"].startswith("multipart/")
    assert len(orchestrator.gets) == 2


def test_capabilities_are_checked_first(orchestrator, worker, segments):
    notify = recorded("register-transcoder.notify-0")
    notify.seg_data.capabilities.bitstring[0] |= 1 << 16
    assert text_of(give(orchestrator, worker, notify, segments[0])) == \
        "incompatible segment capabilities"
    assert not orchestrator.gets


@pytest.mark.parametrize("change,text", [
    (lambda n: setattr(n.seg_data, "duration", -5), "invalid duration"),
    (lambda n: setattr(n.seg_data.full_profiles[0], "encoder", 9), "unrecognized video codec"),
    (lambda n: n.seg_data.ClearField("auth_token"), "missing auth token"),
    (lambda n: n.seg_data.ClearField("full_profiles"), "TranscoderUnrecognizedProfile")])
def test_notifications_that_cannot_be_done_are_answered(orchestrator, worker, change, text):
    notify = recorded("register-transcoder.notify-1")
    change(notify)
    headers, body = post = give(orchestrator, worker, notify, b"")
    assert text in text_of(post) and dict(headers)["taskid"] == "1"


def test_many_segments_at_once(orchestrator, worker, segments):
    for i in range(4):
        notify = recorded("register-transcoder.notify-0")
        notify.task_id, notify.seg_data.seq = i + 10, i
        notify.seg_data.auth_token.session_id = f"{i % 2:08x}"
        notify.url = f"https://{orchestrator.addr}/stream/{i}/0.tempfile"
        orchestrator.sources[f"/stream/{i}/0.tempfile"] = segments[i]
        worker.at.notify(notify)
    posts = [dict(orchestrator.post(60)[0]) for _ in range(4)]
    assert {p["taskid"] for p in posts} == {str(i + 10) for i in range(4)}
    assert all(p["content-type"].startswith("multipart/") for p in posts)
    assert worker.status()["streams"] == 2


# --- posts ---

@pytest.mark.parametrize("answers", [["reset"], ["close"], [503], ["reset", "close", 500]])
def test_posts_that_fail_are_tried_again(orchestrator, worker, segments, answers):
    orchestrator.post_answers = list(answers)
    first = give(orchestrator, worker, recorded("register-transcoder.notify-0"), segments[0])
    for _ in answers:
        assert orchestrator.post()[1] == first[1]
    wait_until(lambda: worker.status()["done"] == 1)


def test_posts_that_are_refused_are_not_tried_again(orchestrator, worker, segments):
    orchestrator.post_answers = [401]
    give(orchestrator, worker, recorded("register-transcoder.notify-0"), segments[0])
    wait_until(lambda: worker.status()["failed"] == 1)
    assert orchestrator.posts.empty()


# --- sessions ---

def test_teardown_ends_the_codec(orchestrator, worker, segments):
    notify = recorded("register-transcoder.notify-0")
    give(orchestrator, worker, notify, segments[0])
    wait_until(lambda: worker.status()["codec"]["children"] == 1)
    teardown = recorded("notify-teardown")
    teardown.seg_data.auth_token.session_id = notify.seg_data.auth_token.session_id
    worker.at.notify(teardown)
    wait_until(lambda: worker.status()["codec"]["children"] == 0, text="the codec to end")
    assert worker.status()["streams"] == 0
    teardown.seg_data.auth_token.session_id = "unknown0"
    worker.at.notify(teardown)
    assert dict(give(orchestrator, worker, notify, segments[1])[0])["content-type"].startswith(
        "multipart/"), "the session may come again"


def test_teardown_in_mid_segment_is_answered(orchestrator, worker, segments):
    notify = recorded("register-transcoder.notify-0")
    notify.url = f"https://{orchestrator.addr}/a"
    orchestrator.sources["/a"] = segments[0] * 4
    worker.at.notify(notify)
    teardown = recorded("notify-teardown")
    teardown.seg_data.auth_token.session_id = notify.seg_data.auth_token.session_id
    worker.at.notify(teardown)
    assert text_of(orchestrator.post()) == "TranscoderStopped"
    wait_until(lambda: worker.status()["running"] == 0)


# --- stopping ---

def test_asked_to_stop_it_leaves_and_finishes(orchestrator, worker, segments):
    notify = recorded("register-transcoder.notify-0")
    notify.url = f"https://{orchestrator.addr}/a"
    orchestrator.sources["/a"] = segments[0]
    worker.at.notify(notify)
    wait_until(lambda: worker.status()["running"] == 1)
    worker.signal(signal.SIGTERM)
    assert dict(orchestrator.post()[0])["content-type"].startswith("multipart/")
    assert worker.process.wait(timeout=10 * SLOW) == 0


def test_asked_to_stop_idle_it_ends_at_once(orchestrator, worker):
    begun = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(timeout=10) == 0
    assert time.monotonic() - begun < 2 * SLOW


def test_missing_flags_are_named(tmp_path):
    run = subprocess.run([SANITIZED / "leat", "transcoder", "-cliAddr", f"127.0.0.1:{free_port()}",
                          "-dataDir", tmp_path / "d"], capture_output=True, timeout=20)
    assert run.returncode != 0 and b"-orchAddr" in run.stderr


def test_metrics(orchestrator, worker, segments):
    give(orchestrator, worker, recorded("register-transcoder.notify-0"), segments[0])
    wait_until(lambda: worker.metric("livepeer_segment_transcoded_total") == 1)
    assert worker.metric("livepeer_transcode_time_seconds_count") == 1
    assert worker.metric("livepeer_upload_time_seconds_count") == 1
    assert json.dumps(worker.status())
