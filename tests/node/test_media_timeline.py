"""The timeline on real FLV: milliseconds in, exact times out."""
from fractions import Fraction

import pytest

from media_util import Clips, Packets, decode_warnings, elementary, ffmpeg, flv_file, flv_tags, \
    our, picture, segments, tone, AAC, X264

START = 900000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return Clips(tmp_path_factory.mktemp("clips"))


def exact(n, rate):
    """Frame n of a steady rate in ticks, to the nearest."""
    return (2 * n * 90000 + rate) // (2 * rate)


@pytest.mark.parametrize("name,rate", [
    ("ntsc-b-frames", Fraction(30000, 1001)), ("film-23.976", Fraction(24000, 1001)),
    ("59.94", Fraction(60000, 1001)), ("25-no-b", Fraction(25)), ("slow-5", Fraction(5))])
def test_steady_rates_come_back(clips, name, rate):
    """FLV rounds to milliseconds; what comes out is what the camera did, pts too."""
    frames, _ = our("times", clips.get(name, "flv"))
    video = frames["video"]
    first = video[0].dts
    assert [f.dts - first for f in video] == [exact(n, rate) for n in range(len(video))]
    shown = sorted(f.pts for f in video)
    assert [p - shown[0] for p in shown] == pytest.approx(
        [exact(n, rate) for n in range(len(video))], abs=0 if 90000 % rate == 0 else 1)
    for now, after in zip(video[1:], video[2:]):
        assert now.duration == after.dts - now.dts


@pytest.mark.parametrize("name,rate", [("ntsc-b-frames", 44100), ("25-no-b", 48000),
                                       ("audio-only-22k", 22050)])
def test_audio_counts_samples(clips, name, rate):
    audio = our("times", clips.get(name, "flv"))[0]["audio"]
    # the encoder's first frame starts before zero and is stamped zero: counted from the second
    for n, f in enumerate(audio[2:]):
        assert abs(f.dts - audio[2].dts - exact(n * 1024, rate)) <= 1
    assert sum(f.duration for f in audio[2:-1]) == audio[-1].dts - audio[2].dts


@pytest.mark.parametrize("name", ["variable-rate", "variable-rate-no-b"])
def test_variable_rate_is_left_as_sent(clips, name):
    path = clips.get(name, "flv")
    sent, ours = our("frames", path)[0]["video"], our("times", path)[0]["video"]
    zero = ours[0].dts - sent[0].dts * 90
    assert [f.dts for f in ours] == [f.dts * 90 + zero for f in sent]
    assert [f.pts for f in ours] == [f.pts * 90 + zero for f in sent]
    assert len({b.dts - a.dts for a, b in zip(sent, sent[1:])}) > 10


@pytest.mark.parametrize("offset", [2**32 - 2000, 2**31 - 2000, 2**24 - 2000, 1234567])
def test_wrapping_stamps_change_nothing(clips, tmp_path, offset):
    path = clips.get("ntsc-b-frames", "flv")
    moved = tmp_path / "moved.flv"
    moved.write_bytes(flv_file((k, t + offset, b) for k, t, b in flv_tags(path.read_bytes())))
    assert our("times", moved) == our("times", path)


def test_stamps_of_31_bits(clips, tmp_path):
    path = clips.get("ntsc-b-frames", "flv")
    moved = tmp_path / "moved.flv"
    moved.write_bytes(flv_file((k, (t + 2**31 - 2000) % 2**31, b)
                               for k, t, b in flv_tags(path.read_bytes())))
    assert our("times", moved) == our("times", path)


def test_headers_sent_again_change_nothing(clips, tmp_path):
    path = clips.get("ntsc-b-frames", "flv")
    tags = list(flv_tags(path.read_bytes()))
    headers = [(k, b) for k, _, b in tags if (k == 9 and b[1] == 0) or (k == 8 and b[1] == 0)]
    assert len(headers) == 2
    again = [x for k, t, b in tags for x in [(k, t, b), *((h, t, c) for h, c in headers)]]
    moved = tmp_path / "again.flv"
    moved.write_bytes(flv_file(again))
    assert our("times", moved) == our("times", path)


def test_a_publisher_that_starts_over(clips, tmp_path):
    """Its clock back at zero in the middle: one discontinuity a track, no time lost or doubled."""
    tags = list(flv_tags(clips.get("25-no-b", "flv").read_bytes()))
    path = tmp_path / "twice.flv"
    path.write_bytes(flv_file(tags + tags))
    frames, _ = our("times", path)
    for kind in ("video", "audio"):
        assert sum(f.discontinuity for f in frames[kind]) == 1
    assert [f.dts - START for f in frames["video"]] == pytest.approx(
        [n * 3600 for n in range(len(frames["video"]))], abs=2 * 3600)
    files = segments(path, tmp_path)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(f.read_bytes() for f in files))
    assert decode_warnings(whole) == ""


def test_a_new_size(tmp_path):
    """A second sequence header in the stream; FFmpeg decodes both sizes."""
    tags, at = [], 0
    for size in ("320x240", "640x360"):
        ffmpeg(*picture(size, "25"), *tone(48000), *X264, *AAC, "-t", "4", tmp_path / "part.flv")
        part = list(flv_tags((tmp_path / "part.flv").read_bytes()))
        tags += [(k, t + at, b) for k, t, b in part if t or k != 8 or not at]
        at = 4000
    path = tmp_path / "both.flv"
    path.write_bytes(flv_file(tags))
    frames, tracks = our("times", path)
    assert [t[1] for t in tracks["video"]] == ["320x240", "640x360"]
    assert len(frames["video"]) == 200
    packets = Packets()
    files = segments(path, tmp_path)
    for file in files:
        packets.segment(file.read_bytes())
        assert decode_warnings(file) == ""
    assert sum(len(elementary(f, "video")) for f in files) == 200
