"""What a person sees: Chromium plays the pages while real nodes work and die. Frame numbers read
back from the picture prove that what plays is the stream, whole and in order. Release builds:
the browser needs the processor that sanitizers would eat."""
import json
import subprocess
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from leatnet import RELEASE, fetch, free_port, wait_for

WATCH = Path(__file__).with_name("watch.mjs")
LADDER = "P144p30fps16x9,P240p30fps16x9"
FPS = 30
NOTE = "document.getElementById('player-note').textContent"


class Browser:
    """A person at a page, who does the steps of a plan and tells what was seen (watch.mjs)."""

    def __init__(self, url, steps, phone=False, seconds=200):
        plan = json.dumps({"url": url, "steps": steps, "phone": phone})
        self.process = subprocess.Popen(["node", str(WATCH), plan], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.limit = threading.Timer(seconds, self.process.kill)
        self.limit.start()

    def wait_playing(self):
        line = self.process.stderr.readline()
        assert line == "playing\n", line + self.process.stderr.read()[-2000:]

    def report(self):
        out, said = self.process.communicate()
        self.limit.cancel()
        assert self.process.returncode == 0, said[-2000:]
        report = json.loads(out)
        assert not report["strangers"], f"asked elsewhere: {report['strangers'][:3]}"
        return report


class Picture:
    """The test picture, published by leat itself."""

    def __init__(self, gateway, name="test"):
        self.process = subprocess.Popen(
            [RELEASE / "leat", "publish", "-picture", "-size", "640x360", gateway.rtmp_url(name)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def goodbye(self):
        self.process.terminate()
        self.process.wait(timeout=20)


class Stage:
    """A network with the test picture on air in all qualities."""

    def __init__(self, network, orchestrators=3):
        self.orchestrators = [network.orchestrator(build=RELEASE) for _ in range(orchestrators)]
        self.gateway = network.gateway(*self.orchestrators, ladder=LADDER, build=RELEASE)
        self.picture = Picture(self.gateway)

    def wait(self):
        wait_for(lambda: len(self.gateway.master("test")) == 3, 60, "three qualities")
        return self


@pytest.fixture
def stage(network):
    stage = Stage(network)
    try:
        yield stage.wait()
    finally:
        stage.picture.goodbye()


def check_frames(seen, seconds, height=None):
    """Each picture shown carries the number that belongs to its time; numbers rise at the
    picture's rate, none unreadable; what comes next was always there in time. A busy browser
    may leave some out, may be late to read one when the next is there already, and its clock
    may be late."""
    frames = seen["frames"]
    assert len(frames) > seconds * FPS / 3, f"only {len(frames)} frames were shown"
    back = [(a, b) for a, b in zip(frames, frames[1:]) if b[0] < a[0]]
    assert not back, f"frames came back: {back[:3]}"
    first = min(f[0] - f[2] * FPS for f in frames)
    wrong = [f for f in frames if f[0] - f[2] * FPS - first > 2.5]
    assert not wrong, f"frames at a time that is not theirs: {wrong[:3]}"
    shown = (frames[-1][1] - frames[0][1]) / 1000
    counted = (frames[-1][0] - frames[0][0]) / FPS
    assert abs(counted - shown) < 0.15 + 0.05 * shown, f"{counted:.2f} s of stream in {shown:.2f} s"
    assert min(f[4] for f in frames) > 0.2, "nearly ran out of stream"
    assert seen["unread"] <= len(frames) * 0.01, f"{seen['unread']} frames could not be read"
    if height:
        assert {f[3] for f in frames[-20:]} == {height}


def check_smooth(seen):
    bad = [e for e in seen["errors"] if e["fatal"] or e["details"] == "bufferStalledError"]
    assert not seen["stalls"] and not bad, (seen["stalls"], bad)


def test_plays_a_minute_and_switches_quality(stage):
    report = Browser(stage.gateway.url("/play/test"), [
        {"watch": 60}, {"mark": 1},                        # what the player chose by itself
        {"quality": 3},                                    # the smallest
        {"wait": "document.getElementById('video').videoHeight === 144"}, {"mark": 1},
        {"watch": 4}, {"mark": 1},
        {"quality": 1},                                    # the largest: the source
        {"wait": "document.getElementById('video').videoHeight === 360"}, {"mark": 1},
        {"watch": 4}, {"mark": 1}]).report()
    minute, to_small, small, to_large, large = report["results"]
    for part in (minute, to_small, small, to_large, large):
        check_smooth(part)
    check_frames(minute, 60)
    check_frames(small, 4, height=144)
    check_frames(large, 4, height=360)
    whole = [f for part in report["results"] for f in part["frames"]]
    assert all(a[0] <= b[0] for a, b in zip(whole, whole[1:])), "a switch showed old frames"
    assert not report["complaints"], report["complaints"]


def test_an_orchestrator_dies_and_nobody_notices(stage):
    gateway = stage.gateway
    browser = Browser(gateway.url("/play/test"), [{"quality": 2}, {"watch": 24}, {"mark": 1}])
    browser.wait_playing()
    time.sleep(4)  # the person watches: what is tested is a picture that runs
    busy = gateway.stream("test")["renditions"][1]["orchestrator"]
    victim = next(o for o in stage.orchestrators if o.service in busy)
    victim.kill()
    at_death = gateway.stream("test")["segments"]
    seen = browser.report()["results"][0]
    check_smooth(seen)
    check_frames(seen, 22)
    stream = gateway.stream("test")
    assert stream["segments"] >= at_death + 6, "too little was played after the death"
    assert all(r["gaps"] == 0 for r in stream["renditions"]), stream["renditions"]
    assert victim.service not in stream["renditions"][1]["orchestrator"]


def test_dashboard_tells_who_does_what_and_what_went_wrong(stage):
    gateway, (dead, *others) = stage.gateway, stage.orchestrators
    dead.kill()
    gateway.publish("camera", size="320x180", seconds=120)
    wait_for(lambda: [o for o in gateway.stream("camera")["orchestrators"]
                      if o["state"] == "failed"], 60, "the death to be noticed")
    wait_for(lambda: len(gateway.master("camera")) == 3, 60, "three qualities of the camera")
    menu = "document.getElementById('quality').options[1]"
    report = Browser(gateway.url("/"), [
        {"wait": "document.querySelectorAll('.card').length === 2"},
        {"click": ".card:has-text('camera')"},
        {"wait": "document.getElementById('stage').dataset.stream === 'camera'"},
        {"wait": "[...document.querySelectorAll('#renditions tr')].filter((r) => "
                 "/^(144p|240p).*127/s.test(r.innerText)).length === 2"},
        {"wait": f"document.getElementById('video').currentTime > 1 && {menu}"},
        {"eval": f"window.option = {menu}; document.getElementById('renditions').innerText"},
        {"eval": "document.getElementById('orchestrators').innerText"},
        {"eval": "document.getElementById('summary').innerText"},
        {"click": "[data-copy='rtmp-url']"},
        {"eval": "navigator.clipboard.readText()"},
        {"watch": 3},
        {"eval": f"window.option === {menu}"},
        # By the admin port the page comes from one origin and the stream from another.
        {"go": f"http://{gateway.admin}/"},
        {"wait": "document.getElementById('video').currentTime > 1"},
        {"eval": "document.getElementById('share').href"}]).report()
    renditions, orchestrators, summary, copied, same_menu, share = report["results"]
    assert any(o.service in renditions for o in others) and dead.service not in renditions
    assert dead.service in orchestrators and "failed" in orchestrators
    assert "no connection to" in orchestrators, "the reason is not told"
    assert summary == "2 streams live"
    assert copied == f"rtmp://{gateway.rtmp}/live/mystream"
    assert same_menu, "the quality menu was made anew under the person's finger"
    assert share.startswith(gateway.url("/play/"))
    assert not report["complaints"], report["complaints"]


def test_what_is_wrong_now_is_told_in_words(network):
    """Fault: figures of trouble, but not a word what it means for who watches."""
    stage = Stage(network, orchestrators=1).wait()
    troubles = "document.getElementById('troubles').innerText"
    summary = {"eval": "document.getElementById('summary').innerText"}
    url = stage.gateway.url("/")
    try:
        alone = Browser(url, [
            {"wait": f"{troubles}.trim() === 'Nothing'"},
            {"wait": r"/ s for \d\.\d s of video/.test(document.getElementById('renditions').innerText)"},
            {"wait": f"{troubles}.includes('No orchestrator can be used: only the source plays')"},
            summary])
        alone.wait_playing()
        stage.orchestrators[0].kill()
        assert alone.report()["results"] == ["1 stream live"]
        stage.picture.process.kill()
        cut = Browser(url, [{"wait": f"{troubles}.includes('The publisher was cut off')"}, summary])
        assert cut.report()["results"] == ["1 interrupted"]
    finally:
        stage.picture.goodbye()


def test_on_a_phone(stage):
    """Nothing scrolls sideways, words and figures stay whole, buttons can be hit, it plays."""
    outside = ("[...document.querySelectorAll('main *')].filter((e) => "
               "e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))")
    broken = ("[...document.querySelectorAll('[data-kind=row] td')].filter((e) => "
              "e.getBoundingClientRect().height > 40).map((e) => e.innerText)")
    small = ("[...document.querySelectorAll('button, select, input')].filter((e) => "
             "e.offsetParent && e.offsetHeight < 24).map((e) => e.outerHTML)")
    report = Browser(stage.gateway.url("/"), [
        {"wait": "document.querySelectorAll('#renditions [data-kind=row]').length === 3"},
        {"eval": "document.documentElement.scrollWidth"},
        {"eval": outside}, {"eval": broken}, {"eval": small},
        {"quality": 3}, {"wait": "document.getElementById('video').videoHeight === 144"},
        {"mark": 1}, {"watch": 4}, {"mark": 1}], phone=True).report()
    width, *faults, _, playing = report["results"]
    assert width == 390, f"the page is {width} wide"
    assert faults == [[], [], []]
    check_frames(playing, 4, height=144)


def test_the_end_is_told(network):
    """The publisher says goodbye: the last pictures play, the page says so, and asks no more."""
    stage = Stage(network, orchestrators=1)
    requests = "performance.getEntriesByType('resource').length"
    try:
        browser = Browser(stage.wait().gateway.url("/play/test"), [
            {"wait": f"{NOTE} === 'The stream has ended.'"},
            {"mark": 1}, {"eval": requests}, {"watch": 6}, {"eval": requests},
            {"mark": 1}, {"eval": NOTE},
            {"eval": "document.getElementById('video').ended"}])
        browser.wait_playing()
    finally:
        stage.picture.goodbye()
    report = browser.report()
    seen, before, after, later, note, ended = report["results"]
    frames = seen["frames"]
    assert frames and not seen["stalls"] and all(a[0] <= b[0] for a, b in zip(frames, frames[1:]))
    assert ended and before == after, f"{after - before} requests after the end"
    assert note == "The stream has ended." and not later["errors"]
    assert not report["complaints"], report["complaints"]


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
