"""Publishers that come, go, return and quarrel, and what viewers see of it."""
import http.server
import json
import re
import threading
import time

import pytest

from clips import pictures
from leatnet import LADDER, fetch, wait_for

SMALL = LADDER.split(",")[0]


@pytest.fixture(scope="module")
def gateway(shared_network):
    orchestrator = shared_network.orchestrator()
    gateway = shared_network.gateway(orchestrator, flags=["-maxSessions", "10",
                                                          "-reconnectGrace", "8s"])
    gateway.orchestrator = orchestrator
    return gateway


@pytest.fixture(scope="module")
def copying(clips):
    """ffmpeg's arguments to publish the minute-long clip."""
    return ["-i", str(clips["long"]), "-c", "copy"]


@pytest.fixture(scope="module", autouse=True)
def on_air(gateway, copying):
    """The streams that the tests quarrel about, all started at once."""
    names = ["mine", "keyed/secret-of-mine", "cut", "short-lived"]
    by_name = {n.split("/")[0]: gateway.publish(n, copying) for n in names}
    for name in by_name:
        gateway.wait_segments(2, name, SMALL)
    return by_name


def refused(gateway, name, copying):
    p = gateway.publish(name, copying)
    p.wait(20)
    assert p.process.returncode != 0, f"{name} was not refused"


def assert_unbroken(viewer):
    viewer.stop()
    numbers = sorted(viewer.got)
    assert numbers == list(range(numbers[0], numbers[-1] + 1)) and not viewer.gaps
    frames = pictures(b"".join(viewer.got[n] for n in numbers))
    assert len(frames) == 60 * len(numbers)
    assert all(b.pts - a.pts == 3000 for a, b in zip(frames, frames[1:]))


def test_second_publisher_is_refused_and_the_first_goes_on(shared_network, gateway, copying):
    """Fault: a second publisher under a name in use closes the running stream. The viewer sees
    no difference: gap 0 ms."""
    viewer = shared_network.viewer(gateway, name="mine", rendition=SMALL)
    refused(gateway, "mine", copying)
    first = gateway.playlist("mine", SMALL).segments[-1]["n"]
    gateway.wait_segments(first + 3, "mine", SMALL)
    assert not any(s["discontinuity"] for s in gateway.playlist("mine", SMALL).segments)
    assert_unbroken(viewer)
    assert gateway.stream("mine")["reconnects"] == 0
    gateway.wait_log(r"peer gateway stream=mine .*second publisher from 127.0.0.1:\d+ was refused:"
                     r" the name is in use")


def test_same_key_takes_over_with_running_numbers(gateway, on_air, copying):
    """Fault: an encoder that reconnects before its old connection is found dead is locked out.
    The viewer sees a DISCONTINUITY, and numbers that go on."""
    refused(gateway, "keyed/another-key", copying)
    refused(gateway, "keyed", copying)
    assert on_air["keyed"].process.poll() is None
    last = gateway.playlist("keyed").segments[-1]["n"]
    gateway.publish("keyed/secret-of-mine", copying)
    on_air["keyed"].wait(20)  # the old connection is closed
    playlist = gateway.wait_segments(last + 4, "keyed", SMALL)
    changes = [s["n"] for s in playlist.segments if s["discontinuity"]]
    assert len(changes) == 1 and changes[0] > last
    assert not any(s["gap"] for s in playlist.segments)
    for s in playlist.segments:
        assert pictures(fetch(s["url"]))
    assert gateway.stream("keyed")["reconnects"] == 1
    assert "secret-of-mine" not in gateway.log, "a key was logged"
    assert "secret-of-mine" not in str(gateway.status()), "a key is on the page"


def test_a_publisher_that_was_cut_returns(gateway, on_air, copying):
    """Fault: a publisher loses its connection for two seconds and the stream is over for all. The
    viewer sees a DISCONTINUITY; what had arrived before the cut is there in every rendition."""
    on_air["cut"].cut()
    wait_for(lambda: gateway.stream("cut")["state"] == "waiting", 5, "the cut to be seen")
    before = wait_for(lambda: settled(gateway, "cut"), 10, "renditions of the last segment")
    assert not before.ended
    gateway.publish("cut", copying)
    after = gateway.wait_segments(before.segments[-1]["n"] + 3, "cut", SMALL)
    changes = [s["n"] for s in after.segments if s["discontinuity"]]
    assert changes == [before.segments[-1]["n"] + 1]
    assert not any(s["gap"] for s in after.segments)
    assert gateway.stream("cut")["state"] == "live"


def settled(gateway, name):
    """The small rendition's playlist once it holds all that the source's does."""
    source, small = gateway.playlist(name), gateway.playlist(name, SMALL)
    return small if small.segments[-1]["n"] == source.segments[-1]["n"] else None


def test_a_player_that_starts_with_the_publisher_plays(gateway, copying):
    """Fault: a player that is started together with the encoder hears 404 and gives up, for the
    first segment takes two seconds. It waits instead, and one request is enough."""
    gateway.publish("together", copying)
    wait_for(lambda: gateway.stream("together")["state"] == "live", 10, "the publisher")
    assert not gateway.stream("together")["segments"], "too late to try"
    assert list(gateway.master("together")) == ["source"]
    assert gateway.playlist("together").segments[0]["n"] == 0


def test_a_publisher_without_key_frames_is_told_to_players(gateway):
    """Fault: `no such stream` while the encoder sends. The answer names what is missing."""
    gateway.publish("rare", gop=900, seconds=25)
    wait_for(lambda: gateway.stream("rare")["state"] == "live", 10, "the publisher")
    with pytest.raises(OSError) as refusal:
        fetch(gateway.url("/stream/rare.m3u8"))
    assert refusal.value.code == 404 and b"first segment is not" in refusal.value.read()


def test_grace_over_is_the_end(gateway, on_air):
    """Fault: players wait for ever for a publisher that never returns."""
    on_air["short-lived"].cut()
    cut = time.monotonic()
    wait_for(lambda: gateway.playlist("short-lived").ended, 20, "ENDLIST")
    took = time.monotonic() - cut
    assert 7.5 < took < 9 + gateway.slack, f"ENDLIST after {took:.1f} s, the grace is 8 s"
    assert gateway.stream("short-lived")["state"] == "ended"


def test_max_sessions_says_so_and_a_quiet_stream_makes_room(shared_network, gateway, copying,
                                                             segments):
    """Fault: a full gateway says "Could not create stream ID", and streams that nobody sends any
    more keep others out for two minutes."""
    tiny = shared_network.gateway(gateway.orchestrator, flags=["-maxSessions", "2"])
    first, _ = tiny.publish("a", copying), tiny.publish("b", copying)
    tiny.wait_segments(1, "a")
    tiny.wait_segments(1, "b")
    refused(tiny, "c", copying)
    tiny.wait_log("peer gateway stream=c .*refused: 2 streams are live, -maxSessions allows 2")
    status, _, text = tiny.push("d", 0, segments[0])
    assert (status, text) == (500, b"Could not create stream ID: url=/live/d/0.ts: 2 streams are "
                                   b"live, -maxSessions allows 2\n")
    first.cut()
    wait_for(lambda: tiny.stream("a")["state"] == "waiting", 5, "the cut to be seen")
    tiny.publish("c", copying)
    tiny.wait_segments(1, "c")
    assert tiny.playlist("a").ended


def test_numbers_go_on_after_a_restart(shared_network, gateway, copying):
    """Fault: after a restart of the gateway segment numbers begin at 0 again: players that kept
    old numbers never show another picture. One is asked to stop; one is killed, with nothing
    written on the way out."""
    both = [shared_network.gateway(gateway.orchestrator) for _ in range(2)]
    for gw in both:
        gw.publish("on", copying)
    before = [gw.wait_segments(2, "on", SMALL).segments[-1]["n"] for gw in both]
    both[0].stop()
    both[1].kill()
    for gw in both:
        gw.start()
    for gw in both:
        gw.wait_alive().publish("on", copying)
    for gw, last in zip(both, before):
        after = gw.wait_segments(last + 2, "on", SMALL)
        assert after.segments[0]["n"] > last, "a number was used twice"
        assert after.segments[0]["discontinuity"]
        assert after.segments[0]["n"] <= last + 8


def test_current_manifest(shared_network, gateway, copying):
    gw = shared_network.gateway(gateway.orchestrator, flags=["-currentManifest"])
    gw.publish("newest", copying)
    gw.wait_segments(1, "newest")
    assert fetch(gw.url("/stream/current.m3u8")) == fetch(gw.url("/stream/newest.m3u8"))
    with pytest.raises(OSError):
        fetch(gateway.url("/stream/current.m3u8"))


def test_readiness_says_why(shared_network):
    """Fault: a gateway without orchestrators looks healthy and transcodes nothing."""
    lonely = shared_network.gateway()
    with pytest.raises(OSError) as refusal:
        fetch(lonely.url("/readyz"))
    assert refusal.value.code == 503
    assert b"give -orchAddr" in refusal.value.read()
    assert fetch(lonely.url("/healthz")) == b""


def test_metrics_have_the_networks_names(gateway, on_air):
    text = gateway.metrics()
    for name in ["livepeer_stream_created_total", "livepeer_current_sessions_total",
                 "livepeer_segment_source_appeared_total", "livepeer_segment_transcoded_total",
                 "livepeer_transcode_overall_latency_seconds_bucket"]:
        assert re.search(rf"^{name}(\{{.*\}})? [\d.e+]+$", text, re.M), name
    assert gateway.metric("livepeer_segment_transcoded_total") >= 8
    assert 'node_type="bctr"' in text


def test_orchestrators_come_from_a_webhook(shared_network, gateway, copying):
    """-orchWebhookUrl, its failures told, entries with a score between 0 and 1 left out."""
    rows = [{"address": f"https://{gateway.orchestrator.service}", "score": 1},
            {"address": "https://127.0.0.1:1", "score": 0.5}]

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(rows).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gw = shared_network.gateway(
            flags=["-orchWebhookUrl", f"http://127.0.0.1:{server.server_port}/list"])
        wait_for(lambda: gw.status()["candidates"], 10, "the webhook's list")
        assert gw.status()["candidates"] == [rows[0]["address"]]
        gw.publish("hooked", copying)
        gw.wait_segments(1, "hooked", SMALL)
        rows = {"no": "list"}
        misled = shared_network.gateway(
            flags=["-orchWebhookUrl", f"http://127.0.0.1:{server.server_port}/list"])
        misled.wait_log("peer gateway discovery webhook's answer is no JSON array; the last good "
                        "list of 0 stays")
        assert misled.log.count("is no JSON array") == 1, misled.log
        server.shutdown()
