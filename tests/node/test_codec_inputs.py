"""What leat-codec reads: codecs, containers, pixel formats and sound (video.md 6.2, 12)."""
import pytest

from codec_util import (P240, TONE, Template, ffmpeg, frame_numbers, frame_times, pattern, picture,
                        picture_bytes, probe, profile, streams)


@pytest.fixture(scope="module")
def template():
    with Template() as t:
        yield t


@pytest.fixture
def session(template):
    s = template.open()
    yield s
    s.close()


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """One second of numbered frames, as a file."""
    path = tmp_path_factory.mktemp("source") / "counted.flv"
    path.write_bytes(picture_bytes(picture("-size", "640x360", "-fps", "30", "-duration", "1")))
    return path


def good(result, n=1):
    assert (result.rc, result.text, result.detail) == ("OK", "", "")
    assert len(result.renditions) == n
    return result.renditions


def media(path, *args):
    in_front = ("-movflags", "faststart") if path.suffix == ".mp4" else ()    # ffprobe has a pipe
    ffmpeg(*args, *in_front, str(path))
    return path.read_bytes()


HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3",
        "-b:v", "3M")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "3M")
# with pictures that nobody sees and others refer to; takes two passes
VP8_HIDDEN = ("-c:v", "libvpx", "-deadline", "good", "-cpu-used", "5", "-b:v", "1M",
              "-auto-alt-ref", "1", "-lag-in-frames", "16", "-g", "100")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "8", "-b:v", "3M",
       "-auto-alt-ref", "1", "-lag-in-frames", "16")
AV1 = ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "3M", "-strict",
       "experimental")
INPUTS = {
    "hevc.ts": HEVC, "hevc.mp4": HEVC, "hevc.mkv": HEVC,
    "hevc10.ts": (*HEVC, "-pix_fmt", "yuv420p10le"),
    "vp8.webm": VP8,
    "vp9.webm": VP9, "vp9.mp4": VP9,
    "av1.webm": AV1, "av1.mp4": AV1,
    "h264.mkv": ("-c:v", "libx264", "-bf", "2", "-b:v", "3M"),
}


def shown(source):
    """Times of the pictures in 1/90000 s, whatever clock the container has."""
    base = streams(source)[0]["time_base"].split("/")
    return [round(t * int(base[0]) * 90000 / int(base[1])) for t in frame_times(source)]


@pytest.mark.parametrize("name", INPUTS)
def test_codecs_in(session, counted, tmp_path, name):
    """Every picture comes out, once, at its time, and the next segment of a session too."""
    source = media(tmp_path / name, "-i", str(counted), "-an", *INPUTS[name])
    for seq in range(2):
        r = session.transcode(source, [P240, profile(426, 240, 600_000)], seq=seq)
        for rendition in good(r, 2):
            assert streams(rendition.media)[0]["codec_name"] == "h264"
            assert frame_numbers(rendition.media) == list(range(30))
            assert frame_times(rendition.media) == shown(source)
        assert r.decoded_pixels == 30 * 640 * 360


def test_hidden_pictures_take_no_time(session, counted, tmp_path):
    log, name = str(tmp_path / "log"), tmp_path / "hidden.webm"
    ffmpeg("-i", str(counted), "-an", *VP8_HIDDEN, "-pass", "1", "-passlogfile", log, "-f", "null",
           "-")
    source = media(name, "-i", str(counted), "-an", *VP8_HIDDEN, "-pass", "2", "-passlogfile", log)
    assert len(probe(source, "-show_packets")["packets"]) > len(frame_times(source)) == 30
    rendition, = good(session.transcode(source, [P240]))
    assert frame_numbers(rendition.media) == list(range(30))
    assert frame_times(rendition.media) == shown(source)


def test_codec_may_change_between_segments(session, counted, tmp_path):
    for name in ("hevc.ts", "vp9.webm", "h264.mkv", "av1.mp4", "vp8.webm", "hevc.ts"):
        source = media(tmp_path / name, "-y", "-i", str(counted), "-an", *INPUTS[name])
        rendition, = good(session.transcode(source, [P240]))
        assert frame_numbers(rendition.media) == list(range(30))


def test_hevc_pictures_before_the_segment_are_left_out(session, tmp_path):
    """Segments cut at an open GOP begin with pictures that need the segment before."""
    ffmpeg(*pattern(seconds="2"), "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
           "log-level=none:open-gop=1:keyint=30:min-keyint=30:bframes=3:scenecut=0", "-f",
           "segment", "-segment_time", "1", "-segment_format", "mpegts", str(tmp_path / "%d.ts"))
    made = [session.transcode((tmp_path / f"{i}.ts").read_bytes(), [P240]) for i in range(2)]
    first, second = (good(r)[0] for r in made)
    assert (first.frames, second.frames) == (29, 30)    # the 30th picture needs both


@pytest.mark.parametrize("name,video", [
    ("mpeg2.ts", ("-c:v", "mpeg2video")), ("mpeg4.mp4", ("-c:v", "mpeg4")),
    ("mjpeg.mkv", ("-c:v", "mjpeg")), ("theora.mkv", ("-c:v", "libtheora"))])
def test_other_codecs_are_refused(session, tmp_path, name, video):
    source = media(tmp_path / name, *pattern(seconds="0.5"), *video)
    r = session.transcode(source, [P240])
    assert (r.rc, r.text) == ("UNSUPPORTED", "Unsupported input codec")
    assert "read are H.264, HEVC, VP8, VP9 and AV1" in r.detail


@pytest.mark.parametrize("name", ["hevc.ts", "vp8.webm", "vp9.webm", "av1.mp4"])
def test_damage_in_any_codec_does_no_harm(session, tmp_path, name):
    """Bytes turned over, reproducibly; whatever the answer, the session goes on."""
    source = media(tmp_path / name, *pattern(size="160x90", seconds="0.5"), *INPUTS[name])
    seed = 7
    for _ in range(20):
        damaged = bytearray(source)
        for _ in range(40):
            seed = (seed * 1103515245 + 12345) % 2 ** 31
            damaged[seed % len(damaged)] ^= 1 << seed % 8
        r = session.transcode(bytes(damaged), [P240])
        assert r.rc in ("OK", "BAD_INPUT", "UNSUPPORTED")
    rendition, = good(session.transcode(source, [P240]))
    assert rendition.frames == 15
