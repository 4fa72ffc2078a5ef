"""MPEG-TS both ways, with FFmpeg as the judge."""
import pytest

from media_util import (CLIPS, Clips, Packets, decode_warnings, elementary, ffmpeg, our, picture,
                        probe_packets, run, segments, tone, tool, AAC, X264)

WRAP = 1 << 33


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return Clips(tmp_path_factory.mktemp("clips"))


def has(kind, name):
    return f"{kind}-only" in name or "-only" not in name


def what(frames):
    return [(f.size, f.key, f.hash) for f in frames]


# --- in ---

@pytest.mark.parametrize("name", CLIPS)
def test_demuxer_sees_what_ffprobe_sees(clips, name):
    path = clips.get(name, "ts")
    frames, tracks = our("frames", path)
    for kind in ("video", "audio"):
        theirs = elementary(path, kind) if has(kind, name) else []
        assert what(frames[kind]) == what(theirs)
        for mine, their in zip(frames[kind], theirs):
            slack = 0 if their.exact else 1     # ours count from the PES, theirs step by step
            assert abs(mine.dts - their.dts % WRAP) <= slack
            assert abs(mine.pts - their.pts % WRAP) <= slack
        assert len(tracks[kind]) == bool(theirs)


def test_demuxer_reads_times_that_wrap(tmp_path):
    path = tmp_path / "wrap.ts"
    ffmpeg(*picture(rate="25"), *tone(48000), *X264, *AAC, "-t", "6", "-output_ts_offset",
           str(WRAP / 90000 - 4), path)
    frames, _ = our("frames", path)
    assert min(f.dts for f in frames["video"]) < 10 * 90000 < max(f.dts for f in frames["video"])
    times, _ = our("times", path)
    assert [f.dts - times["video"][0].dts for f in times["video"]] == [n * 3600 for n in range(150)]
    assert not any(f.discontinuity for f in times["video"] + times["audio"])


def test_demuxer_tells_a_new_size(tmp_path):
    sizes = ["320x240", "640x360", "320x240"]
    for n, size in enumerate(sizes):
        ffmpeg(*picture(size, "25"), *X264, "-t", "2", "-output_ts_offset", str(2 * n),
               tmp_path / f"{n}.ts")
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in range(3)))
    frames, tracks = our("frames", path)
    assert [t[1] for t in tracks["video"]] == sizes
    # each file counts its packets anew, so the end of the picture before cannot be trusted
    assert 148 <= len(frames["video"]) <= 150


@pytest.mark.parametrize("name", ["ntsc-b-frames", "audio-only", "video-only", "odd-size"])
def test_probe_agrees_with_ffprobe(clips, name):
    path = clips.get(name, "ts")
    word = run(tool(), "probe", path).split()
    video, audio = ([p for p in probe_packets(path, kind)] if has(kind, name) else []
                    for kind in ("video", "audio"))
    assert word[1] == str(int(bool(video))) and word[8 + 1] == str(int(bool(audio)))
    assert [int(word[5]), int(word[7]), int(word[12])] == [
        len(video), sum(p.key for p in video), len(audio)]
    assert int(word[14]) == min(p.pts for p in video or audio)
    if video:
        step = 3003 if name == "ntsc-b-frames" else 3000
        assert int(word[16]) == len(video) * step
        size = {"odd-size": "374x666"}.get(name, "320x240")
        assert word[3] == size


# --- out ---

@pytest.mark.parametrize("extension", ["flv", "ts"])
@pytest.mark.parametrize("name", CLIPS)
def test_segments_are_what_went_in(clips, tmp_path, name, extension):
    """Muxed again, segments obey the rules; FFmpeg decodes each and all in a row without a word,
    finds every byte, and reads back exactly the times that the timeline gave."""
    path = clips.get(name, extension)
    wanted, _ = our("times", path)
    files = segments(path, tmp_path)
    packets = Packets()
    for file in files:
        packets.segment(file.read_bytes())
    assert packets.pcr_gap <= 9000
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(f.read_bytes() for f in files))
    kinds = [kind for kind in ("video", "audio") if has(kind, name)]
    for file in [*files, whole]:
        here, _ = our("frames", file)
        if all(here[kind] for kind in kinds):   # FFmpeg complains where a declared track is silent
            assert decode_warnings(file) == ""
    for kind in kinds:
        got = elementary(whole, kind)
        want = wanted[kind]
        if kind == "audio" and has("video", name):      # what came before the first key frame
            want = want[len(want) - len(got):]
        assert what(got) == what(want)
        for mine, their in zip(want, got):
            slack = 0 if their.exact else 12            # theirs add rounded steps within a PES
            assert abs(mine.dts - their.dts) <= slack and abs(mine.pts - their.pts) <= slack


def test_segments_are_small(clips, tmp_path):
    """Container overhead: of a 60 kb/s audio beside video, most is not headers."""
    path = clips.get("large-frames", "flv")
    ours = sum(f.stat().st_size for f in segments(path, tmp_path))
    ffmpeg("-i", path, "-c", "copy", tmp_path / "theirs.ts")
    assert ours <= (tmp_path / "theirs.ts").stat().st_size * 1.01
