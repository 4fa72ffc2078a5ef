"""What leat-codec reads: codecs, containers, pixel formats and sound (video.md 6.2, 12)."""
import pytest

from codec_util import (P240, TONE, ffmpeg, frame_numbers, frame_times, packets, pattern,
                        picture, picture_bytes, probe, profile, streams)


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


# ---- pictures ----

@pytest.mark.parametrize("name,size,made", [
    ("vp8.webm", "321x181", (426, 240)), ("vp9.webm", "181x321", (240, 426)),
    ("av1.mp4", "321x181", (426, 240)), ("hevc.ts", "322x182", (426, 240))])
def test_odd_sizes(session, tmp_path, name, size, made):
    source = media(tmp_path / name, *pattern(size=size, seconds="0.5"), *INPUTS[name])
    rendition, = good(session.transcode(source, [P240]))
    found = streams(rendition.media)[0]
    assert (found["width"], found["height"]) == made == (rendition.width, rendition.height)
    assert rendition.frames == 15


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p10le", "yuv444p", "yuv420p12le"])
def test_deep_hevc_becomes_yuv420p(session, tmp_path, pixels):
    source = media(tmp_path / "deep.ts", *pattern(size="320x180", seconds="0.5"), *HEVC,
                   "-pix_fmt", pixels)
    rendition, = good(session.transcode(source, [P240]))
    assert streams(rendition.media)[0]["pix_fmt"] == "yuv420p"


RGB = {
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt",
                 "gbrp"),
    "h264.mp4": ("-c:v", "libx264rgb"),
    "hevc.ts": ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "gbrp"),
}


@pytest.mark.parametrize("name", RGB)
def test_rgb_becomes_yuv_of_the_same_colour(session, tmp_path, name):
    source = media(tmp_path / name, "-f", "lavfi", "-i",
                   "color=c=0xC02060:size=320x180:rate=30:duration=0.2", *RGB[name])
    rendition, = good(session.transcode(source, [P240]))
    found = streams(rendition.media)[0]
    assert (found["pix_fmt"], found["color_space"]) == ("yuv420p", "bt709")
    raw = ffmpeg("-i", "-", "-vf", "scale=in_color_matrix=bt709", "-frames:v", "1", "-pix_fmt",
                 "rgb24", "-f", "rawvideo", "-", data=rendition.media)
    assert all(abs(a - b) <= 4 for a, b in zip(raw[30000:30003], (0xc0, 0x20, 0x60)))


def quadrants(media, width, height):
    """The quarters of the first picture as ffmpeg shows it, by their grey: A is the darkest."""
    raw = ffmpeg("-i", "-", "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-",
                 data=media)
    assert len(raw) == width * height
    at = [raw[y * width + x] for y in (height // 4, 3 * height // 4)
          for x in (width // 4, 3 * width // 4)]
    return "".join("ABCD"[round((v - 40) / 50)] for v in at)


@pytest.mark.parametrize("source_pixels", ["1", "2"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_pictures_stand_upright(session, tmp_path, turn, source_pixels):
    """As telephones write them: lying, with a matrix that says how to hold them."""
    shades = "+".join(f"{40 + 50 * i}*{x}(X,W/2)*{y}(Y,H/2)" for i, (x, y) in enumerate(
        (("lt", "lt"), ("gte", "lt"), ("lt", "gte"), ("gte", "gte"))))
    ffmpeg("-f", "lavfi", "-i", "color=size=640x360:rate=30:duration=0.5", "-vf",
           f"format=gray,geq=lum='{shades}',format=yuv420p,setsar={source_pixels}", "-c:v",
           "libx264", str(tmp_path / "lying.mp4"))
    source = media(tmp_path / "turned.mp4", "-i", str(tmp_path / "lying.mp4"), "-c", "copy",
                   "-metadata:s:v:0", f"rotate={turn}")
    sideways = turn in (90, 270)
    shown_by_ffmpeg = quadrants(source, *((360, 640) if sideways else (640, 360)))
    assert turn == 0 or shown_by_ffmpeg != "ABCD"
    for container in ("ts", "mp4"):
        own, grid = good(session.transcode(source, [
            profile(320, 180, 600_000, 0, container=container),
            profile(320, 180, 600_000, 20, container=container)]), 2)
        for rendition in (own, grid):
            size = (180, 320) if sideways else (320, 180)
            found = streams(rendition.media)[0]
            assert (found["width"], found["height"]) == size == (rendition.width, rendition.height)
            assert quadrants(rendition.media, *size) == shown_by_ffmpeg
            assert not found.get("side_data_list"), "nobody turns it again"
            wide = "1:2" if sideways else "2:1"
            aspect = found.get("sample_aspect_ratio", "1:1")
            assert aspect == ("1:1" if source_pixels == "1" else wide)


# ---- sound ----

def sound_of(rendition):
    found = [s for s in streams(rendition) if s["codec_type"] == "audio"]
    return found[0] if found else None


def samples(path_or_media, data=None):
    return ffmpeg("-i", path_or_media, "-map", "0:a", "-f", "s16le", "-", data=data)


SOUNDS = {      # container of the source, encoder's options, what a rendition then has
    "mono": ("ts", ("-c:a", "aac", "-ac", "1"), ("aac", 1)),
    "stereo": ("ts", ("-c:a", "aac", "-ac", "2"), ("aac", 2)),
    "surround": ("ts", ("-c:a", "aac", "-ac", "6"), ("aac", 6)),
    "surround in MP4": ("mp4", ("-c:a", "aac", "-ac", "6"), ("aac", 6)),
    "22 kHz": ("ts", ("-c:a", "aac", "-ar", "22050"), ("aac", 1)),
    "MP3": ("ts", ("-c:a", "libmp3lame", "-ac", "2"), ("mp3", 2)),
    "AC-3": ("ts", ("-c:a", "ac3", "-ac", "6"), ("ac3", 6)),
    "Opus": ("mkv", ("-c:a", "libopus", "-ac", "2"), ("opus", 2)),
}


@pytest.mark.parametrize("container", ["ts", "mp4"])
@pytest.mark.parametrize("name", SOUNDS)
def test_sound_is_copied_whatever_it_is(session, tmp_path, name, container):
    suffix, audio, made = SOUNDS[name]
    path = tmp_path / f"source.{suffix}"
    source = media(path, *pattern(size="320x180", seconds="1"), *TONE, "-c:v", "libx264", "-bf",
                   "0", *audio)
    rendition, = good(session.transcode(source, [profile(426, 240, 600_000, 30,
                                                         container=container)]))
    found = sound_of(rendition.media)
    assert (found["codec_name"], found["channels"]) == made
    got, want = samples("-", rendition.media), samples(str(path))
    assert abs(len(got) - len(want)) <= 2048 * 2 * made[1], "at most a frame less at the start"


def test_sound_may_change_between_segments(session, tmp_path):
    for i, name in enumerate(("mono", "surround", None, "stereo", "MP3", "mono")):
        audio = (*TONE, *SOUNDS[name][1]) if name else ()
        video = ("-c:v", "libx264", "-bf", "0", "-t", "0.5")
        source = media(tmp_path / f"{i}.ts", *pattern(size="320x180", seconds="1"), *audio, *video)
        rendition, = good(session.transcode(source, [P240]))
        found = sound_of(rendition.media)
        assert (found and (found["codec_name"], found["channels"])) == (name and SOUNDS[name][2])


def test_sound_that_ends_early_or_starts_late(session, tmp_path):
    source = media(tmp_path / "late.ts", *pattern(size="320x180", seconds="1"), "-itsoffset", "0.7",
                   "-f", "lavfi", "-i", "sine=duration=0.2", "-c:v", "libx264", "-bf", "0", "-c:a",
                   "aac")
    rendition, = good(session.transcode(source, [P240]))
    assert rendition.frames == 30
    before, after = ([(p.get("pts"), p["size"]) for p in packets(m, "a")]
                     for m in (source, rendition.media))
    assert before == after and len(before) > 5
