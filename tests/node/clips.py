"""The streams that the tests of the whole network publish, and a decoder's word for media."""
import json
import subprocess
from collections import namedtuple

SECONDS = 11  # five segments of 2 s and a short last one
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "300k", "-pix_fmt", "yuv420p",
        "-sc_threshold", "0", "-force_key_frames", "expr:gte(t,n_forced*2)", "-g", "600"]
AAC = ["-c:a", "aac", "-b:a", "64k"]


def moving(rate=30, size="320x180", seconds=SECONDS):
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


def tone(seconds=SECONDS):
    return ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}"]


KINDS = {
    "plain": [*moving(), *tone(), *X264, *AAC],
    "video-only": [*moving(), *X264],
    "audio-only": [*tone(), *AAC],
    "b-frames": [*moving(), *tone(), *X264, "-bf", "2", "-b_strategy", "0", *AAC],
    "ntsc": [*moving("30000/1001"), *tone(), *X264, *AAC],
    "pal": [*moving(25), *tone(), *X264, *AAC],
    "vfr": [*moving(), *tone(), "-vf", "setpts=PTS+floor(random(1)*20)/1000/TB", "-fps_mode",
            "vfr", "-enc_time_base", "1/1000", *X264, *AAC],
    "late-audio": [*moving(), "-itsoffset", "3", *tone(SECONDS - 3), *X264, *AAC],
    "four": [*moving(seconds=4), *tone(4), *X264, *AAC],
    "four-larger": [*moving(size="480x270", seconds=4), *tone(4), *X264, *AAC],
    "outgrown": [*moving(seconds=18), *tone(18), *X264, "-force_key_frames", "0,2,4,11", *AAC],
    "long": [*moving(seconds=60), *tone(60), *X264, *AAC],
}


def make_clips(folder):
    files = {name: folder / f"{name}.flv" for name in KINDS}
    running = [subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", *args, files[name]])
               for name, args in KINDS.items()]
    assert [p.wait(120) for p in running] == [0] * len(running)
    files["resized"] = folder / "resized.flv"
    files["resized"].write_bytes(join_flv(files["four"].read_bytes(),
                                          files["four-larger"].read_bytes(), 4000))
    return files


def flv_tags(data):
    at = 13
    while at + 15 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4], "big")
        yield data[at:at + 11 + size + 4]
        at += 11 + size + 4


def join_flv(first, second, shift_ms):
    """The second file's tags, its codec headers included, go on after the first's."""
    out = first
    for tag in flv_tags(second):
        time = int.from_bytes(bytes([tag[7]]) + tag[4:7], "big") + shift_ms
        t = time.to_bytes(4, "big")
        if tag[0] != 18:
            out += tag[:4] + t[1:] + t[:1] + tag[8:]
    return out


Picture = namedtuple("Picture", "pts hash")


def pictures(media):
    """Every video frame that FFmpeg decodes, in order; fails when it complains."""
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-copyts", "-i", "pipe:", "-map", "0:v:0",
         "-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-f", "framehash", "-hash",
         "crc32", "-"], input=media, capture_output=True, check=True)
    assert not done.stderr.strip(), done.stderr.decode()[-1000:]
    rows = [line.split(",") for line in done.stdout.decode().splitlines() if line[0] != "#"]
    return [Picture(int(row[2]), row[5].strip()) for row in rows]


def packet_times(media, kind):
    """pts in 90 kHz of all packets of a kind, "v" or "a"."""
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", "packet=pts", "-of",
         "json", "-"], input=media, capture_output=True, check=True)
    return [p["pts"] for p in json.loads(out.stdout).get("packets", [])]


def streams_of(media):
    """ffprobe's streams by kind: {"video": {...}, "audio": {...}}"""
    out = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-"],
                         input=media, capture_output=True, check=True)
    return {s["codec_type"]: s for s in json.loads(out.stdout)["streams"]}
