"""What leat-codec makes of segments: pictures, times, sizes, bitrate, refusals (video.md 12)."""
import struct

import pytest

from codec_util import (P240, P360, TONE, cut_segments, ffmpeg, frame_numbers,
                        frame_times, one_segment, packets, pattern, picture, picture_bytes,
                        probe, profile, streams, underflows, video_bits)


@pytest.fixture(scope="module")
def counted():
    """Two seconds of numbered frames by rate, as FLV."""
    running = {fps: picture("-size", "640x360", "-fps", fps, "-duration", "2")
               for fps in ("30", "25", "60", "30000/1001")}
    return {fps: picture_bytes(p) for fps, p in running.items()}


def counted_segment(tmp_path, flv, *video):
    """One TS segment of the numbered frames, encoded anew."""
    path = tmp_path / "counted.flv"
    path.write_bytes(flv)
    return one_segment("-i", str(path), seconds=10, video=("-b:v", "3M", *video))


def good(result, n=1):
    assert (result.rc, result.text, result.detail) == ("OK", "", "")
    assert len(result.renditions) == n
    return result.renditions


def video_stream(media):
    found = streams(media)
    assert found[0]["codec_type"] == "video"
    return found[0]


# ---- pictures and times ----

@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_equal_rate_passes_one_to_one(session, counted, tmp_path, b_frames):
    source = counted_segment(tmp_path, counted["30"], "-bf", b_frames)
    r = session.transcode(source, [P240, P360])
    for rendition, size in zip(good(r, 2), ((426, 240), (640, 360))):
        assert (rendition.width, rendition.height, rendition.frames) == (*size, 60)
        assert rendition.pixels == 60 * size[0] * size[1]
        assert frame_times(rendition.media) == frame_times(source)
        assert frame_numbers(rendition.media) == list(range(60))
    assert r.decoded_pixels == 60 * 640 * 360


def test_ntsc_rate_counts_as_thirty(session, counted, tmp_path):
    source = counted_segment(tmp_path, counted["30000/1001"])
    rendition, = good(session.transcode(source, [P240]))
    assert frame_times(rendition.media) == frame_times(source)
    assert frame_numbers(rendition.media) == list(range(60))


def test_rate_as_the_source(session, counted, tmp_path):
    source = counted_segment(tmp_path, counted["25"])
    rendition, = good(session.transcode(source, [profile(426, 240, 600_000)]))
    assert frame_times(rendition.media) == frame_times(source)
    assert frame_numbers(rendition.media) == list(range(50))


def test_half_the_rate_shows_every_other_picture(session, counted, tmp_path):
    source = counted_segment(tmp_path, counted["60"])
    rendition, = good(session.transcode(source, [P240]))
    times = frame_times(rendition.media)
    first = frame_times(source)[0]
    assert times == [first + 3000 * i for i in range(60)]
    numbers = frame_numbers(rendition.media)
    assert len(set(numbers)) == 60 and numbers == sorted(numbers)
    assert all(abs(n - 2 * i) <= 1 for i, n in enumerate(numbers))


def test_other_rate_is_laid_on_a_grid(session, counted, tmp_path):
    source = counted_segment(tmp_path, counted["25"])
    rendition, = good(session.transcode(source, [P240]))
    first = frame_times(source)[0]
    assert frame_times(rendition.media) == [first + 3000 * i for i in range(60)]
    numbers = frame_numbers(rendition.media)
    assert sorted(set(numbers)) == list(range(50))      # every picture is seen
    assert max(numbers.count(n) for n in numbers) == 2  # none for long


def test_rendition_begins_with_a_key_frame(session):
    for segment in cut_segments(*pattern(seconds="6"), *TONE):
        rendition, = good(session.transcode(segment, [P240]))
        first = packets(rendition.media)[0]
        assert "K" in first["flags"]
        assert first["pts"] == frame_times(segment)[0] == first["dts"]
        at = rendition.media.find(b"\x00\x00\x01\x09")      # access unit delimiter, SPS, PPS
        nals = rendition.media[at:at + 2000]
        assert b"\x00\x00\x01\x67" in nals and b"\x00\x00\x01\x68" in nals
        assert b"\x00\x00\x01\x65" in nals


def test_audio_is_copied_with_its_times(session):
    source = one_segment(*pattern(), *TONE)
    rendition, = good(session.transcode(source, [P240]))
    kinds = [s["codec_type"] for s in streams(rendition.media)]
    assert kinds == ["video", "audio"]

    def sound(media):
        return [(p["pts"], p["dts"], p["size"]) for p in packets(media, "a")]
    assert sound(rendition.media) == sound(source)

    def samples(media):
        return ffmpeg("-i", "-", "-map", "0:a", "-f", "s16le", "-", data=media)
    assert samples(rendition.media) == samples(source)


def test_no_audio_gives_video_alone(session):
    rendition, = good(session.transcode(one_segment(*pattern(), audio=False), [P240]))
    assert [s["codec_type"] for s in streams(rendition.media)] == ["video"]


def test_clock_that_wraps_inside_a_segment(session):
    wrap = 2 ** 33
    start = (wrap - 90_000) / 90_000
    source = one_segment(*pattern(), *TONE)
    source = ffmpeg("-i", "-", "-c", "copy", "-output_ts_offset", str(start), "-muxdelay", "0",
                    "-mpegts_copyts", "1", "-f", "mpegts", "-", data=source)
    rendition, = good(session.transcode(source, [P240]))

    def raw_times(media):       # from the PES headers, no demuxer in between
        times = []
        for at in range(0, len(media), 188):
            p = media[at:at + 188]
            if p[1] & 0x5f == 0x41 and p[2] == 0 and p[3] & 0x10:      # PID 256 starts a PES
                pes = p[4 + (1 + p[4] if p[3] & 0x20 else 0):]
                a, b, c = pes[9], struct.unpack(">H", pes[10:12])[0], struct.unpack(
                    ">H", pes[12:14])[0]
                times.append((a >> 1 & 7) << 30 | b >> 1 << 15 | c >> 1)
        return times
    wanted = sorted(raw_times(source), key=lambda t: (t + wrap // 2) % wrap)
    assert wanted[0] > wrap // 2 and wanted[-1] < wrap // 2
    assert raw_times(rendition.media) == wanted


def clock_references(media):
    """All in order. Counters of packets are checked on the way: those without payload repeat."""
    clocks, counters = [], {}
    for at in range(0, len(media), 188):
        p = media[at:at + 188]
        pid, counter = (p[1] & 31) << 8 | p[2], p[3] & 15
        step = 1 if p[3] & 0x10 else 0
        assert pid not in counters or counter == counters[pid] + step & 15, f"packet {at // 188}"
        counters[pid] = counter
        if p[3] & 0x20 and p[4] and p[5] & 0x10:
            base, = struct.unpack(">I", p[6:10])
            clocks.append(base << 1 | p[10] >> 7)
    return clocks


@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("fps", [30, 12, 8, 5, 1])
def test_clock_reference_every_100_ms(session, fps, audio):
    made = cut_segments(*pattern(fps=str(fps), seconds="4"), *(TONE if audio else ()), fps=fps,
                        audio=audio)
    clocks = []
    for seq, segment in enumerate(made):
        rendition, = good(session.transcode(segment, [profile(426, 240, 600_000, fps)], seq=seq))
        clocks += clock_references(rendition.media)
        assert len(frame_times(rendition.media)) == 2 * fps, "nothing disturbs a demuxer"
    assert len(made) == 2 and len(clocks) > 40
    steps = [b - a for a, b in zip(clocks, clocks[1:])]
    assert 0 < min(steps) and max(steps) <= 9000


def test_provider(session):
    rendition, = good(session.transcode(one_segment(*pattern(), *TONE), [P240]))
    tags = probe(rendition.media, "-show_programs")["programs"][0]["tags"]
    assert tags["service_provider"].startswith("Livepeer Transcoder ")


def test_variable_frame_rate(session):
    """Frames pass with their own times at the source's rate, and fill a grid otherwise."""
    source = one_segment(*pattern(seconds="4"), seconds=10,
                         video=("-vf", "select='not(mod(n,7))+lt(mod(n,50),20)'", "-fps_mode",
                                "vfr"))
    own, grid = good(session.transcode(source, [profile(426, 240, 600_000), P240]), 2)
    times = frame_times(source)
    assert len(set(b - a for a, b in zip(times, times[1:]))) >= 3
    assert frame_times(own.media) == times
    assert frame_times(grid.media) == [times[0] + 3000 * i for i in range(grid.frames)]
    assert abs(grid.frames * 3000 - (times[-1] - times[0])) <= 9000


# ---- sizes and formats ----

@pytest.mark.parametrize("source,asked,made", [
    ("360x640", (640, 360), (360, 640)),
    ("640x480", (640, 360), (640, 480)),
    ("374x666", (426, 240), (240, 426)),
    ("638x270", (426, 240), (426, 180)),
    ("1000x100", (640, 360), (640, 64)),
])
def test_shape_of_the_source_is_kept(session, source, asked, made):
    segment = one_segment(*pattern(size=source, seconds="1"))
    rendition, = good(session.transcode(segment, [profile(*asked, 800_000, 30)]))
    found = video_stream(rendition.media)
    assert (found["width"], found["height"]) == made == (rendition.width, rendition.height)
    assert found["nb_read_frames"] == "30"


@pytest.mark.parametrize("pixels", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le",
                                    "yuv444p10le", "yuvj420p", "gray"])
def test_odd_pixel_formats_become_yuv420p(session, pixels):
    segment = one_segment(*pattern(seconds="1"), video=("-pix_fmt", pixels))
    rendition, = good(session.transcode(segment, [P240]))
    found = video_stream(rendition.media)
    assert (found["pix_fmt"], found["nb_read_frames"]) == ("yuv420p", "30")

    def mean(media):        # black and white stay where they were
        raw = ffmpeg("-i", "-", "-vf", "format=gray,scale=64:36", "-f", "rawvideo", "-",
                     data=media)
        return sum(raw) / len(raw)
    assert abs(mean(rendition.media) - mean(segment)) < 3


def test_pixels_that_are_not_square(session):
    segment = one_segment(*pattern(size="720x576", seconds="1"), video=("-vf", "setsar=16/11"))
    rendition, = good(session.transcode(segment, [profile(360, 288, 500_000, 30)]))
    assert video_stream(rendition.media)["sample_aspect_ratio"] == "16:11"


def test_resolution_may_change_between_segments(session):
    for size, made in (("640x360", (426, 240)), ("480x640", (320, 426)), ("640x360", (426, 240))):
        rendition, = good(session.transcode(one_segment(*pattern(size=size, seconds="1")), [P240]))
        assert (rendition.width, rendition.height) == made
        assert video_stream(rendition.media)["nb_read_frames"] == "30"


def test_profiles_may_change_between_segments(session):
    segment = one_segment(*pattern(seconds="1"))
    good(session.transcode(segment, [P240, P360]), 2)
    rendition, = good(session.transcode(segment, [P360]))
    assert rendition.width == 640
    assert not good(session.transcode(segment, []), 0)
    good(session.transcode(segment, [P240, P360] * 5), 10)


@pytest.mark.parametrize("container", ["mp4", "flv"])
def test_other_containers_in(session, container, tmp_path):
    path = tmp_path / f"source.{container}"
    ffmpeg(*pattern(), *TONE, "-c:v", "libx264", "-bf", "2", "-c:a", "aac", str(path))
    rendition, = good(session.transcode(path.read_bytes(), [P240]))
    found = streams(rendition.media)
    assert [s["codec_type"] for s in found] == ["video", "audio"]
    assert found[0]["nb_read_frames"] == "60"


@pytest.mark.parametrize("source", ["mp4", "mpegts"])
def test_mp4_out_has_its_index_in_front(session, source, tmp_path):
    path = tmp_path / "source"
    ffmpeg(*pattern(), *TONE, "-c:v", "libx264", "-bf", "2", "-c:a", "aac", "-f", source,
           str(path))
    ts, mp4 = good(session.transcode(path.read_bytes(), [P240, profile(
        640, 360, 900_000, 30, container="mp4")]), 2)
    assert mp4.media[4:8] == b"ftyp"
    assert mp4.media.index(b"moov") < mp4.media.index(b"mdat")
    found = streams(mp4.media)
    assert [s["codec_type"] for s in found] == ["video", "audio"]
    assert found[0]["nb_read_frames"] == "60"
    assert int(found[1]["nb_read_frames"]) > 80
    assert streams(ts.media)[0]["nb_read_frames"] == "60"


def test_data_behind_the_last_slice_does_not_shift_times(session):
    """Some cameras write SEI after a picture's slices (video.md 12.1)."""
    plain = one_segment(*pattern(), audio=False, video=("-bf", "0"))
    sei = b"\x00\x00\x01\x06\x05\x11" + bytes(range(1, 17)) + b"x\x80"
    annexb = ffmpeg("-i", "-", "-c", "copy", "-f", "h264", "-", data=plain)
    parts = annexb.split(b"\x00\x00\x00\x01\x09")
    trailing = parts[0] + b"".join(b"\x00\x00\x00\x01\x09" + p + sei for p in parts[1:])
    assert trailing.count(sei) == 60
    # one access unit a PES packet, with the plain segment's times
    source = put_into_ts(trailing, frame_times(plain))
    rendition, = good(session.transcode(source, [P240]))
    assert frame_times(rendition.media) == frame_times(plain)


def put_into_ts(annexb, times):
    """A minimal MPEG-TS: the tables of ffmpeg, then each access unit in a PES of its own."""
    empty = ffmpeg("-f", "lavfi", "-i", "testsrc2=duration=0.04", "-c:v", "libx264", "-f",
                   "mpegts", "-")
    tables = [empty[at:at + 188] for at in range(0, len(empty), 188)]
    tables = [p for p in tables if (p[1] & 0x1f) << 8 | p[2] in (0, 0x1000)][:2]
    out, counter = b"".join(tables), 0
    units = annexb.split(b"\x00\x00\x00\x01\x09")[1:]
    assert len(units) == len(times)
    for unit, time in zip(units, times):
        stamp = bytes([0x21 | time >> 29 & 14]) + struct.pack(
            ">HH", time >> 14 & 0xfffe | 1, time << 1 & 0xfffe | 1)
        pes = b"\x00\x00\x01\xe0\x00\x00\x80\x80\x05" + stamp + b"\x00\x00\x00\x01\x09" + unit
        for at in range(0, len(pes), 184):
            part = pes[at:at + 184]
            gap = 184 - len(part)
            stuffing = b"" if not gap else bytes([gap - 1]) + (
                b"\x00" + b"\xff" * (gap - 2) if gap > 1 else b"")
            out += bytes([0x47, 0x41 if at == 0 else 0x01, 0x00,
                          (0x30 if gap else 0x10) | counter]) + stuffing + part
            counter = counter + 1 & 15
    return out


# ---- encoder options ----

@pytest.mark.parametrize("number,name", [(0, "High"), (1, "Constrained Baseline"), (2, "Main"),
                                         (3, "High"), (4, "High")])
def test_encoder_profile(session, number, name):
    segment = one_segment(*pattern(seconds="1"))
    rendition, = good(session.transcode(segment, [profile(426, 240, 600_000, 30,
                                                          encoder_profile=number)]))
    found = video_stream(rendition.media)
    assert (found["profile"], found["has_b_frames"]) == (name, 0)


@pytest.mark.parametrize("encoder,name", [(1, "HEVC"), (2, "VP8"), (3, "VP9")])
def test_other_encoders_are_refused_by_name(session, encoder, name):
    segment = one_segment(*pattern(seconds="0.5"))
    r = session.transcode(segment, [profile(426, 240, 600_000, 30, encoder=encoder, name="low")])
    assert (r.rc, r.text) == ("UNSUPPORTED", "Encoder not found")
    assert r.detail == f"low asks for {name}, only H.264 is made here"
    good(session.transcode(segment, [P240]))


def test_gop_below_intra_is_refused(session):
    r = session.transcode(one_segment(*pattern(seconds="0.5")),
                          [profile(426, 240, 600_000, 30, gop_ms=-2)])
    assert (r.rc, r.text) == ("UNSUPPORTED", "TranscoderInvalidGOP")


def test_rates_that_are_fractions(session):
    rendition, = good(session.transcode(one_segment(*pattern(fps="30")), [
        profile(426, 240, 600_000, 15000, 1001)]))
    times = frame_times(rendition.media)
    assert [b - a for a, b in zip(times, times[1:])] == [6006] * (len(times) - 1)
    assert len(times) == 30


@pytest.mark.parametrize("fps,gop_ms,keys", [
    (30, 0, [0]), (30, 500, [0, 15, 30, 45]), (30, -1, list(range(60))),
    (0, 500, [0, 15, 30, 45]), (0, -1, list(range(60)))])
def test_key_frames_where_they_are_asked(session, fps, gop_ms, keys):
    segment = one_segment(*pattern())
    rendition, = good(session.transcode(segment, [profile(426, 240, 600_000, fps,
                                                          gop_ms=gop_ms)]))
    assert [i for i, p in enumerate(packets(rendition.media)) if "K" in p["flags"]] == keys


def test_quality_spends_less_than_the_bitrate_and_never_more(session):
    segment = one_segment(*pattern(seconds="4"), seconds=10)
    coarse, fine = good(session.transcode(segment, [profile(426, 240, 600_000, 30, quality=45),
                                                    profile(426, 240, 600_000, 30, quality=1)]), 2)
    spent = [sum(b for _, b in video_bits(r.media)) / 4 for r in (coarse, fine)]
    assert spent[0] < 300_000
    assert spent[1] < 600_000 * 1.25    # one buffer above at most


SOURCES = {
    "pattern": pattern("640x360", seconds="24"),
    "grain": ["-f", "lavfi", "-i",
              "testsrc2=size=640x360:rate=30:duration=24,noise=alls=20:allf=t"],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_bitrate_asked_is_bitrate_delivered(session, kind):
    rates = [300_000, 600_000, 1_200_000]
    sizes = [(426, 240), (426, 240), (640, 360)]
    asked = [profile(*size, rate, 30) for size, rate in zip(sizes, rates)]
    made = [[] for _ in rates]
    for seq, segment in enumerate(cut_segments(*SOURCES[kind], video=("-b:v", "2M"))):
        for r in good(session.transcode(segment, asked, seq=seq), len(rates)):
            made[r.index].append(video_bits(r.media))
    for rate, parts in zip(rates, made):
        assert len(parts) == 12
        bits = [sum(b for _, b in part) for part in parts]
        for at in range(len(bits) - 9):
            assert sum(bits[at:at + 10]) / 20 <= 1.05 * rate
        assert abs(sum(bits) / 24 / rate - 1) <= 0.05
        whole = [f for part in parts for f in part]
        assert underflows(whole, rate) == underflows(whole, rate, start=0.75) == 0


# ---- clips ----

def test_clip(session, counted, tmp_path):
    source = counted_segment(tmp_path, counted["30"])
    rendition, = good(session.transcode(source, [P240], clip=(500, 1000)))
    assert frame_numbers(rendition.media) == list(range(15, 31))
    assert frame_times(rendition.media) == [3000 * i for i in range(16)]
    sound = [p["pts"] for p in packets(rendition.media, "a")]
    assert sound and 0 <= sound[0] < 2000 and sound[-1] <= 45000


def test_clip_outside_the_segment(session):
    r = session.transcode(one_segment(*pattern()), [P240], clip=(5000, 6000))
    assert (r.rc, r.text) == ("BAD_INPUT", "TranscoderInvalidVideo")


# ---- refusals ----

NO_VIDEO = {
    "empty": b"",
    "playlist": b"#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n",
    "sync bytes": b"\x47" * 4000,
    "zeros": b"\x00" * 100_000,
    "sound": b"RIFF$\x00\x00\x00WAVEfmt ",
}


@pytest.mark.parametrize("kind", NO_VIDEO)
def test_what_is_no_video_is_refused(session, kind):
    r = session.transcode(NO_VIDEO[kind], [P240])
    assert (r.rc, r.text) == ("BAD_INPUT", "TranscoderInvalidVideo")
    good(session.transcode(one_segment(*pattern(seconds="1")), [P240]))


def test_segment_without_video(session):
    source = ffmpeg(*TONE[:-1], "-t", "2", "-c:a", "aac", "-f", "mpegts", "-")
    r = session.transcode(source, [P240])
    assert (r.rc, r.text) == ("BAD_INPUT", "TranscoderInvalidVideo")


def test_video_track_without_a_frame(session):
    """The tables name a video track, only audio has packets (video.md 9.3)."""
    source = one_segment(*pattern(), *TONE)
    packets_of = [source[at:at + 188] for at in range(0, len(source), 188)]
    source = b"".join(p for p in packets_of if (p[1] & 0x1f) << 8 | p[2] != 256)
    r = session.transcode(source, [P240])
    assert (r.rc, r.text) == ("BAD_INPUT", "TranscoderInvalidVideo")


def test_segment_without_a_key_frame(session):
    both = ffmpeg(*pattern(seconds="4"), "-c:v", "libx264", "-g", "600", "-bf", "0", "-f", "mpegts",
                  "-")
    starts = [at for at in range(0, len(both), 188)
              if both[at + 1] & 0x5f == 0x41 and both[at + 2] == 0]
    tables = both[:starts[0]]
    r = session.transcode(tables + both[starts[60]:], [P240])
    assert (r.rc, r.text) == ("BAD_INPUT", "No keyframes in input")


def test_other_codecs_are_refused(session):
    source = ffmpeg(*pattern(seconds="1"), "-c:v", "mpeg2video", "-f", "mpegts", "-")
    r = session.transcode(source, [P240])
    assert (r.rc, r.text) == ("UNSUPPORTED", "Unsupported input codec")


def test_too_long_a_segment_is_refused_before_it_is_decoded(session):
    source = ffmpeg("-f", "lavfi", "-i", "color=size=160x90:rate=1:duration=320", "-c:v",
                    "libx264", "-preset", "ultrafast", "-f", "mpegts", "-")
    r = session.transcode(source, [P240])
    assert (r.rc, r.text, r.decoded_pixels) == ("BAD_INPUT", "TranscoderInvalidDuration", 0)


def test_runaway_frames_are_refused(session):
    source = ffmpeg("-f", "lavfi", "-i", "color=size=160x90:rate=1:duration=20", "-c:v",
                    "libx264", "-f", "mpegts", "-")
    r = session.transcode(source, [profile(426, 240, 600_000, 60)])
    assert (r.rc, r.text) == ("UNSUPPORTED", "Encoded frames runaway")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_segment_cut_short_gives_what_it_holds(session, share):
    source = one_segment(*pattern(), *TONE)
    r = session.transcode(source[:int(len(source) * share)], [P240])
    rendition, = good(r)
    assert 60 * share * 0.4 < rendition.frames <= 60
    assert video_stream(rendition.media)["nb_read_frames"] == str(rendition.frames)


def test_damaged_segments_do_no_harm(session):
    """Bytes turned over, reproducibly; whatever the answer, the session goes on."""
    source = bytearray(one_segment(*pattern(seconds="1"), *TONE))
    seed = 1
    for _ in range(20):
        damaged = bytearray(source)
        for _ in range(40):
            seed = (seed * 1103515245 + 12345) % 2 ** 31
            damaged[seed % len(damaged)] ^= 1 << seed % 8
        r = session.transcode(bytes(damaged), [P240])
        assert r.rc in ("OK", "BAD_INPUT", "UNSUPPORTED")
    good(session.transcode(bytes(source), [P240]))


def test_key_frames_larger_than_a_demuxers_buffer(session):
    """FFmpeg hands PES packets of more than 200 KiB over in pieces."""
    source = one_segment("-f", "lavfi", "-i",
                         "nullsrc=size=1280x720:rate=30:duration=1,geq=random(1)*255:128:128",
                         *TONE, video=("-preset", "ultrafast", "-qp", "20"))
    assert max(int(p["size"]) for p in packets(source)) > 300_000
    rendition, = good(session.transcode(source, [P240]))
    assert frame_times(rendition.media) == frame_times(source)
    # audio still packed as it was: one PES packet for several frames
    assert count_starts(rendition.media, 257) == count_starts(source, 257) < 30


def count_starts(media, pid):
    """PES packets of one track."""
    headers = (media[at:at + 4] for at in range(0, len(media), 188))
    return sum((h[1] & 0x1f) << 8 | h[2] == pid and h[1] >> 6 & 1 for h in headers)
