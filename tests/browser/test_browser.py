"""What a person sees: Chromium plays the pages while real nodes work and die. Frame numbers read
back from the picture prove that what plays is the stream, whole and in order. Release builds:
the browser needs the processor that sanitizers would eat."""
import json
import subprocess
import time
import urllib.error
from pathlib import Path

import pytest

from leatnet import RELEASE, fetch, free_port, wait_for

WATCH = Path(__file__).with_name("watch.mjs")
LADDER = "P144p30fps16x9,P240p30fps16x9"
FPS = 30


def watch(url, steps, bare=False, viewport=None, seconds=150):
    plan = {"url": url, "steps": steps, "bare": bare}
    if viewport:
        plan["viewport"] = viewport
    run = subprocess.run(["node", str(WATCH), json.dumps(plan)], capture_output=True, timeout=seconds)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    return json.loads(run.stdout)


class Picture:
    """The test picture, published by leat itself."""

    def __init__(self, gateway, name="test"):
        self.process = subprocess.Popen(
            [RELEASE / "leat", "publish", "-picture", "-size", "640x360", gateway.rtmp_url(name)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture
def stage(network):
    """(gateway, orchestrators) with the test picture on air in all qualities."""
    orchestrators = [network.orchestrator(build=RELEASE) for _ in range(3)]
    gateway = network.gateway(*orchestrators, ladder=LADDER, build=RELEASE)
    picture = Picture(gateway)
    wait_for(lambda: len(gateway.master("test")) == 3, 30, "three qualities")
    yield gateway, orchestrators
    picture.stop()


def check_frames(seen, seconds, height=None):
    """Numbers rise without a jump back, at the picture's rate, none unreadable. The browser shows
    each frame once; under load it may leave some out, so the rate is of numbers, not of calls."""
    frames = seen["frames"]
    numbers = [f[0] for f in frames]
    assert len(frames) > seconds * FPS / 3, f"only {len(frames)} frames were shown"
    # A change of quality may show the frame at the seam once more: the same one, at the same time.
    back = [(a, b) for a, b in zip(frames, frames[1:])
            if b[0] < a[0] or (b[0] == a[0] and abs(b[2] - a[2]) > 0.001)]
    assert not back, f"frames came back: {back[:3]}"
    shown = (frames[-1][1] - frames[0][1]) / 1000
    rate = (numbers[-1] - numbers[0]) / shown
    assert abs(rate - FPS) < FPS * 0.02, f"{rate:.2f} frames a second over {shown:.0f} s"
    media = frames[-1][2] - frames[0][2]
    assert abs((numbers[-1] - numbers[0]) / FPS - media) < 0.1, "numbers and media time differ"
    assert seen["unread"] <= len(frames) * 0.01, f"{seen['unread']} frames could not be read"
    if height:
        assert {f[3] for f in frames[-20:]} == {height}


def fatal(seen):
    return [e for e in seen["errors"] if e["fatal"] or e["details"] == "bufferStalledError"]


def test_plays_a_minute_and_switches_quality(stage):
    gateway, _ = stage
    report = watch(gateway.url("/play/test"), [
        {"watch": 60}, {"mark": True},                       # the source or what the player chose
        {"quality": 3}, {"watch": 9}, {"mark": True},        # smallest: 144p
        {"watch": 5}, {"mark": True},
        {"quality": 1}, {"watch": 9}, {"mark": True},        # largest: the source
        {"watch": 5}, {"mark": True}])
    minute, to_small, small, to_large, large = report["results"]
    check_frames(minute, 60)
    assert not minute["stalls"] and not fatal(minute), (minute["stalls"], minute["errors"])
    check_frames(small, 5, height=144)
    check_frames(large, 5, height=360)
    for part in (to_small, small, to_large, large):
        assert not part["stalls"] and not fatal(part)
    assert not report["complaints"], report["complaints"]


def test_an_orchestrator_dies_and_nobody_notices(stage):
    gateway, orchestrators = stage
    busy = wait_for(lambda: gateway.stream("test")["renditions"][1]["orchestrator"], 20)
    victim = next(o for o in orchestrators if o.service in busy)
    plan = {"url": gateway.url("/play/test"),
            "steps": [{"quality": 2}, {"watch": 30}, {"mark": True}]}
    run = subprocess.Popen(["node", str(WATCH), json.dumps(plan)], stdout=subprocess.PIPE)
    time.sleep(14)
    victim.kill()
    out, _ = run.communicate(timeout=120)
    seen = json.loads(out)["results"][0]
    check_frames(seen, 28)
    assert not seen["stalls"] and not fatal(seen), (seen["stalls"], seen["errors"])
    stream = gateway.stream("test")
    assert all(r["gaps"] == 0 for r in stream["renditions"])
    assert victim.service not in stream["renditions"][1]["orchestrator"]


def test_dashboard_tells_who_does_what_and_what_went_wrong(stage):
    gateway, orchestrators = stage
    orchestrators[0].kill()
    gateway.publish("camera", size="320x180", seconds=40)
    wait_for(lambda: any(o["state"] == "failed" for o in gateway.stream("camera")["orchestrators"]), 20)
    report = watch(gateway.url("/"), [
        {"wait": "document.querySelectorAll('.card').length === 2"},
        {"click": ".card:has-text('camera')"},
        {"wait": "document.querySelectorAll('#renditions tbody tr').length === 3"},
        {"eval": "document.getElementById('renditions').innerText"},
        {"eval": "document.getElementById('orchestrators').innerText"},
        {"eval": "document.getElementById('summary').innerText"},
        {"click": "[data-copy='rtmp-url']"},
        {"eval": "navigator.clipboard.readText()"},
        {"viewport": {"width": 390, "height": 844}},
        {"eval": "document.documentElement.scrollWidth"}])
    renditions, orchestrator_table, summary, copied, width = report["results"]
    assert "P240p30fps16x9" in renditions and "P144p30fps16x9" in renditions
    assert any(o.service in renditions for o in orchestrators[1:])
    assert orchestrators[0].service in orchestrator_table and "failed" in orchestrator_table
    assert "2 streams live" in summary
    assert copied == f"rtmp://{gateway.rtmp}/live/mystream"
    assert width <= 390, "the page scrolls sideways on a phone"


def test_stream_names_are_not_for_the_public(network):
    port = free_port()
    gateway = network.gateway(build=RELEASE, flags=["-httpAddr", f"0.0.0.0:{port}"])
    public = f"http://127.0.0.1:{port}"
    for path in ("/", "/api/status"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(public + path)
        assert refused.value.code == 404
        assert fetch(f"http://{gateway.admin}{path}")
    assert b"video" in fetch(public + "/play/anything")
    shown = network.gateway(build=RELEASE,
                            flags=["-httpAddr", f"0.0.0.0:{free_port()}", "-dashboard"])
    address = shown.status()["http_addr"].rsplit(":", 1)[1]
    assert b"leat" in fetch(f"http://127.0.0.1:{address}/")
