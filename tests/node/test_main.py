"""The main job: a stream published by RTMP comes out in every rendition, whole, in time, with
playlists that tell the truth. Each kind of source is published once, all at the same time; the
tests look at what a viewer could fetch when all had ended."""
import re
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from clips import SECONDS, packet_times, pictures, streams_of
from leatnet import LADDER, fetch, wait_for

RENDITIONS = ["source", *LADDER.split(",")]
SIZES = {"source": (320, 180), "P144p30fps16x9": (256, 144), "P240p30fps16x9": (426, 240)}
# stream name: clip. Also names that other servers stumble over.
STREAMS = {"outgrown": "outgrown", "plain": "plain", "video-only": "video-only", "audio-only": "audio-only",
           "b-frames": "b-frames", "ntsc": "ntsc", "pal": "pal", "vfr": "vfr",
           "late-audio": "late-audio", "live": "four", "resized": "resized", "we.b-ca.m": "four",
           "bjørn-日本": "four"}
FRAME = 3000


class Rendition:
    def __init__(self, gateway, name, rendition):
        self.playlist = gateway.playlist(name, rendition)
        self.listed = self.playlist.segments
        self.media = [None if s["gap"] else fetch(s["url"]) for s in self.listed]
        self.whole = b"".join(m for m in self.media if m)

    def gaps(self):
        return [s["n"] for s in self.listed if s["gap"]]


class Published:
    """What became of one stream once its publisher had left: fetched at once, for playlists are
    forgotten 24 s later."""

    def __init__(self, gateway, name):
        self.status = gateway.stream(name)
        self.master_text = fetch(gateway.url(f"/stream/{quoted(name)}.m3u8")).decode()
        self.master = gateway.master(quoted(name))
        self.renditions = {r: Rendition(gateway, quoted(name), r) for r in self.master}
        self.pictures = {}

    def decoded(self, rendition):
        if rendition not in self.pictures:
            self.pictures[rendition] = pictures(self.renditions[rendition].whole)
        return self.pictures[rendition]


def has_ended(gateway, name):
    s = gateway.stream(name)
    assert s["state"] == "ended" and not s["in_flight"], s
    return True


def quoted(name):
    return urllib.request.quote(name)


@pytest.fixture(scope="module")
def gateway(shared_network):
    orchestrators = [shared_network.orchestrator(ready=False) for _ in range(2)]
    gateway = shared_network.gateway(*orchestrators, flags=["-maxSessions", "20"])
    for o in orchestrators:
        o.wait_ready()
    return gateway


def publish_and_fetch(gateway, name, clip):
    """From the first byte published to the last one fetched, as soon as the stream has ended."""
    publisher = gateway.publish(name, ["-i", str(clip), "-c", "copy"])
    publisher.wait(SECONDS + 90)
    assert publisher.process.returncode == 0, publisher.process.stderr.read().decode()
    wait_for(lambda: has_ended(gateway, name), 60, f"the end of {name}")
    return Published(gateway, name)


@pytest.fixture(scope="module")
def published(gateway, clips):
    gateway.publish("steady", ["-stream_loop", "-1", "-i", str(clips["long"]), "-c", "copy"])
    with ThreadPoolExecutor(7) as pool:  # two waves: small machines must keep up
        running = {name: pool.submit(publish_and_fetch, gateway, name, clips[clip])
                   for name, clip in STREAMS.items()}
        gateway.targets = {name: gateway.wait_segments(1, name).target
                           for name in ("plain", "b-frames")}
        done = {name: r.result() for name, r in running.items()}
    return done


def steady(times, step, slack=1):
    return all(abs(b - a - step) <= slack for a, b in zip(times, times[1:]))


@pytest.mark.parametrize("name", ["plain", "video-only", "b-frames", "ntsc", "pal", "late-audio",
                                  "vfr"])
def test_every_rendition_comes_without_a_gap(published, name):
    """Fault: a segment lost on its way. The viewer would see the picture stop for 2 s."""
    assert sorted(published[name].renditions) == sorted(RENDITIONS)
    for rendition, r in published[name].renditions.items():
        assert r.gaps() == [], rendition
        assert len(r.listed) == 6, rendition
        assert r.playlist.ended and r.playlist.sequence == 0


@pytest.mark.parametrize("name, rate", [("plain", 30), ("video-only", 30), ("b-frames", 30),
                                        ("ntsc", 30000 / 1001), ("late-audio", 30)])
def test_frames_pass_one_to_one_and_in_step(published, name, rate):
    """Fault: frames dropped or doubled, in mid-segment or where segments meet. The viewer would
    see a jerk every two seconds. The short last segment is there too."""
    for rendition in RENDITIONS:
        frames = published[name].decoded(rendition)
        assert len(frames) == round(SECONDS * rate), rendition
        assert len({f.hash for f in frames}) == len(frames), f"{rendition}: a picture twice"
        assert steady([f.pts for f in frames], 90000 / rate), rendition


def test_another_rate_is_resampled_without_a_jerk(published):
    """Fault: 25 pictures a second into a rendition of 30 loses pictures or drifts."""
    source = published["pal"].decoded("source")
    assert len(source) == 25 * SECONDS
    for rendition in RENDITIONS[1:]:
        frames = published["pal"].decoded(rendition)
        assert abs(len(frames) - 30 * SECONDS) <= 1, rendition
        assert len({f.hash for f in frames}) >= 25 * SECONDS, f"{rendition} lost pictures"
        assert steady([f.pts for f in frames], FRAME), rendition


def test_variable_rate_keeps_its_own_times_in_the_source(published):
    """Fault: a phone's uneven pictures are straightened in the source or lost."""
    source = published["vfr"].decoded("source")
    times = [f.pts for f in source]
    assert len(source) == 30 * SECONDS and times == sorted(set(times))
    assert not steady(times, FRAME, 45), "the clip should not be steady"
    for rendition in RENDITIONS[1:]:
        frames = published["vfr"].decoded(rendition)
        assert abs(frames[0].pts - times[0]) <= FRAME
        assert abs(frames[-1].pts - times[-1]) <= 2 * FRAME


@pytest.mark.parametrize("name", ["plain", "b-frames", "pal", "ntsc"])
def test_segments_line_up_in_all_renditions(published, name):
    """Fault: renditions begin elsewhere than their source. The viewer would see a jump when the
    player switches quality."""
    source = published[name].renditions["source"]
    for rendition in RENDITIONS[1:]:
        r = published[name].renditions[rendition]
        assert [s["n"] for s in r.listed] == [s["n"] for s in source.listed]
        assert [s["duration"] for s in r.listed] == [s["duration"] for s in source.listed]
        for ours, theirs in zip(r.media, source.media):
            assert min(packet_times(ours, "v")) == min(packet_times(theirs, "v"))


def test_sound_goes_on_where_segments_meet(published):
    """Fault: audio frames lost, doubled or moved at a cut: a click every two seconds."""
    for rendition, r in published["plain"].renditions.items():
        times = packet_times(r.whole, "a")
        assert steady(times, 90000 * 1024 / 44100, 9), rendition  # 0.1 ms
        assert len(times) >= SECONDS * 44100 // 1024, rendition


def test_late_audio_stays_in_step_with_the_picture(published):
    """Fault: audio that begins 3 s after the video is moved to its start: lips out of step."""
    for rendition, r in published["late-audio"].renditions.items():
        apart = packet_times(r.whole, "a")[0] - min(packet_times(r.whole, "v"))
        assert abs(apart - 3 * 90000) < 9000, rendition


def test_audio_only_is_cut_by_length_and_not_transcoded(published):
    """Fault: a stream without a picture never plays, or wastes an orchestrator's time."""
    stream = published["audio-only"]
    assert list(stream.renditions) == ["source"]
    r = stream.renditions["source"]
    assert all(abs(s["duration"] - 2) < 0.1 for s in r.listed[:-1]) and r.playlist.ended
    times = packet_times(r.whole, "a")
    assert steady(times, 90000 * 1024 / 44100, 9)
    frames = -(-SECONDS * 44100 // 1024) + 1  # with the encoder's priming
    assert len(times) == frames, "the beginning or the end is missing"
    assert abs(sum(s["duration"] for s in r.listed) - frames * 1024 / 44100) < 0.03
    assert 'CODECS="mp4a.40.2"' in stream.master_text and "RESOLUTION" not in stream.master_text


def test_a_new_size_in_mid_stream_goes_on(published):
    """Fault: the encoder changes its picture's size; decoders downstream stop. The viewer sees a
    DISCONTINUITY and the new picture."""
    stream = published["resized"]
    source = stream.renditions["source"]
    changes = [s["n"] for s in source.listed if s["discontinuity"]]
    sizes = [streams_of(m)["video"]["width"] for m in source.media]
    assert sizes == [320, 320, 480, 480] and changes == [2]
    for rendition in RENDITIONS[1:]:
        r = stream.renditions[rendition]
        assert r.gaps() == [] and [s["n"] for s in r.listed if s["discontinuity"]] == [2]
        assert len(pictures(r.whole)) == 8 * 30, rendition


@pytest.mark.parametrize("name", ["live", "we.b-ca.m", "bjørn-日本"])
def test_odd_names_play(published, name):
    """Fault: a stream called `live`, with dots or with letters beyond ASCII never plays."""
    assert sorted(published[name].renditions) == sorted(RENDITIONS)
    assert len(published[name].decoded("source")) == 4 * 30
    assert len(published[name].decoded(RENDITIONS[1])) == 4 * 30


def test_sizes_and_cadence_are_what_was_asked(published):
    for rendition, r in published["plain"].renditions.items():
        video = streams_of(r.media[0])["video"]
        assert (video["width"], video["height"]) == SIZES[rendition]
        assert video["r_frame_rate"] == "30/1"


def attributes(info):
    return {k: v.strip('"') for k, v in re.findall(r'([A-Z-]+)=("[^"]*"|[^,]*)', info)}


def test_the_multivariant_playlist_tells_the_truth(published):
    """Fault: BANDWIDTH below what comes, codecs or sizes missing: players pick wrongly or not."""
    stream = published["plain"]
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in stream.master_text
    for rendition, (info, url) in stream.master.items():
        a = attributes(info)
        r = stream.renditions[rendition]
        rates = [8 * len(m) / s["duration"] for m, s in zip(r.media, r.listed)]
        assert int(a["BANDWIDTH"]) >= max(rates), rendition
        mean = 8 * len(r.whole) / sum(s["duration"] for s in r.listed)
        assert mean <= int(a["AVERAGE-BANDWIDTH"]) <= mean * 1.1, rendition
        assert a["RESOLUTION"] == "%dx%d" % SIZES[rendition]
        assert a["FRAME-RATE"] == "30.000"
        profile = streams_of(r.media[0])["video"]["profile"]
        idc = {"Constrained Baseline": "42", "Baseline": "42", "Main": "4d", "High": "64"}[profile]
        assert re.fullmatch(rf"avc1\.{idc}[0-9a-f]{{4}},mp4a\.40\.2", a["CODECS"], re.I), a


def test_frame_rate_of_odd_sources(published):
    assert "FRAME-RATE=29.970" in published["ntsc"].master["source"][0]
    assert "FRAME-RATE=25.000" in published["pal"].master["source"][0]
    assert "FRAME-RATE=30.000" in published["pal"].master[RENDITIONS[1]][0]


def test_target_duration_never_changes(gateway, published):
    """Fault: TARGETDURATION grows while the stream runs, which players must not be shown."""
    for name, target in gateway.targets.items():
        for r in published[name].renditions.values():
            assert r.playlist.target == target
            assert all(round(s["duration"]) <= target for s in r.listed)


def test_groups_of_pictures_that_outgrow_the_target(published):
    """Fault: key frames come every 2 s, then every 7 s: segments beyond TARGETDURATION, at which
    players stall. They are cut instead, in all renditions at the same pictures; nothing is lost."""
    stream = published["outgrown"]
    assert "INDEPENDENT" not in stream.master_text
    assert "INDEPENDENT" in published["plain"].master_text
    source = stream.renditions["source"]
    for rendition in RENDITIONS:
        r = stream.renditions[rendition]
        assert r.playlist.target == 2 and r.gaps() == []
        assert [s["n"] for s in r.listed] == [2, 3, 4, 5, 6, 7]
        assert all(round(s["duration"]) <= 2 for s in r.listed)
        assert not any(s["discontinuity"] for s in r.listed)
        assert [s["duration"] for s in r.listed] == [s["duration"] for s in source.listed]
        for ours, theirs in zip(r.media, source.media):
            assert min(packet_times(ours, "v")) == min(packet_times(theirs, "v"))
        frames = stream.decoded(rendition)
        assert len({f.hash for f in frames}) == len(frames) == 14 * 30, rendition
        assert steady([f.pts for f in frames], FRAME), rendition
        assert steady(packet_times(r.whole, "a"), 90000 * 1024 / 44100, 9), rendition


def test_playlist_texts(published):
    for r in published["plain"].renditions.values():
        text = r.playlist.text
        assert text.startswith("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
                               "#EXT-X-MEDIA-SEQUENCE:0\n")
        assert text.endswith("#EXT-X-ENDLIST\n")
        dates = re.findall(r"#EXT-X-PROGRAM-DATE-TIME:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
        assert len(dates) == len(r.listed)
        assert [s["duration"] for s in r.listed[:-1]] == [2.0] * 5
        assert abs(r.listed[-1]["duration"] - 1) < 0.04


def head(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_types_cors_and_ranges(gateway, published):
    """Fault: browsers refuse what lacks CORS, and segments of a nonsense type."""
    r = Rendition(gateway, "steady", "source")
    for url, kind in [(gateway.url("/stream/steady.m3u8"), "application/vnd.apple.mpegurl"),
                      (r.playlist.url, "application/vnd.apple.mpegurl"),
                      (r.listed[0]["url"], "video/mp2t")]:
        status, headers, body = head(url)
        assert (status, headers["content-type"]) == (200, kind)
        assert headers["access-control-allow-origin"] == "*"
        assert int(headers["content-length"]) == len(body)
        assert head(url, "HEAD")[2] == b""
        status, headers, _ = head(url, "OPTIONS")
        assert status == 204 and "GET" in headers["access-control-allow-methods"]
    status, headers, body = head(r.listed[0]["url"], Range="bytes=188-375")
    assert (status, body) == (206, r.media[0][188:376])
    status, headers, body = head(gateway.url("/stream/nobody.m3u8"))
    assert status == 404 and headers["access-control-allow-origin"] == "*"


def test_names_in_status_and_log(gateway, published):
    """Each line about a stream says which: an operator greps for it."""
    s = published["plain"].status
    assert (s["state"], s["ingest"], s["segments"]) == ("ended", "rtmp", 6)
    troubles = [t for t in s["troubles"] if "overdue" not in t["text"]]  # a busy machine is slow
    assert troubles == []
    assert re.search(r"info gateway stream=plain .*on air by RTMP from number 0", gateway.log)
    assert re.search(r"debug gateway stream=plain segment=3 transcoded by https://127", gateway.log)


def test_goodbye_ends_the_playlist_within_a_second(gateway, clips):
    """Fault: players keep waiting when the publisher has said goodbye. The rest stays there."""
    p = gateway.publish("bye", ["-i", str(clips["long"]), "-c", "copy"])
    gateway.wait_segments(2, "bye", RENDITIONS[1])
    p.goodbye()
    left = time.monotonic()
    for rendition in RENDITIONS:
        wait_for(lambda r=rendition: gateway.playlist("bye", r).ended, 10, "ENDLIST", every=0.02)
    took = time.monotonic() - left
    assert took < 1 + gateway.slack, f"{took:.3f} s"
    assert time.monotonic() - left < 10
    for rendition in RENDITIONS:
        r = Rendition(gateway, "bye", rendition)
        assert r.gaps() == [] and len(r.listed) >= 3, "the last, unfinished segment is there"
    print(f"\nENDLIST everywhere {took * 1000:.0f} ms after goodbye")


def test_rtmp_playback(gateway, clips):
    """Fault: RTMP players get nothing, or the wrong stream."""
    p = gateway.publish("watched", ["-i", str(clips["long"]), "-c", "copy"])
    gateway.wait_segments(1, "watched")
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-rw_timeout", "15000000", "-read_intervals", "%+3",
         "-show_entries", "stream=codec_name,width", "-of", "csv=p=0",
         gateway.rtmp_url("watched")], capture_output=True, timeout=60)
    assert b"h264,320" in out.stdout and b"aac" in out.stdout, out
    missing = subprocess.run(["ffprobe", "-v", "error", gateway.rtmp_url("nothing")],
                             capture_output=True, timeout=60)
    assert missing.returncode != 0
    p.goodbye()


def test_what_ended_long_ago_does_no_harm(gateway, published):
    """Fault: the page asks about a stream whose playlists were forgotten: the gateway read freed
    memory and died. Viewers can fetch the rest for 24 s, then get 404."""
    wait_for(lambda: head(gateway.url("/stream/plain.m3u8"))[0] == 404, 40,
             "the playlist to be forgotten", every=0.2)
    states = {s["name"]: s["state"] for s in gateway.status()["streams"]}
    assert states.get("plain", "ended") == "ended"  # shown for a minute
