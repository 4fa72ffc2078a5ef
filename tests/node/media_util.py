"""Clips made by FFmpeg, its word for what is in them, and media_tool's.

Helper of test_media_*.py.
"""
import json
import os
import pathlib
import re
import subprocess
import zlib
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKET = 188

Frame = namedtuple("Frame", "dts pts size key hash exact")
Out = namedtuple("Out", "dts pts duration size key discontinuity hash")


def tool():
    for name in ("LEAT_BUILD_SANITIZED", "LEAT_BUILD"):
        path = pathlib.Path(os.environ.get(name, ROOT / "build")) / "media" / "media_tool"
        if path.exists():
            return str(path)
    raise FileNotFoundError("media_tool is not built: set LEAT_BUILD to a build folder")


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ffmpeg(*args):
    run("ffmpeg", "-v", "error", "-y", *args)


# --- clips ---

def picture(size="320x240", rate="30000/1001"):
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"]


def tone(rate=44100, layout="stereo"):
    return ["-f", "lavfi", "-i", f"sine=440:sample_rate={rate},aformat=channel_layouts={layout}"]


X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-force_key_frames",
        "expr:gte(t,n_forced*2)"]
AAC = ["-c:a", "aac", "-b:a", "96k"]
NO_B = ["-bf", "0"]
IRREGULAR = ["-vf", "settb=1/1000,setpts=PTS+floor(random(1)*20)/1000/TB", "-vsync", "vfr",
             "-enc_time_base", "1/1000"]

# name: what goes into ffmpeg, but the output
CLIPS = {
    "ntsc-b-frames": [*picture(), *tone(44100), *X264, "-bf", "3", "-b_strategy", "0", *AAC],
    "film-23.976": [*picture(rate="24000/1001"), *tone(48000), *X264, *AAC],
    "59.94": [*picture(rate="60000/1001"), *tone(48000), *X264, *AAC],
    "25-no-b": [*picture(rate="25"), *tone(48000, "mono"), *X264, *NO_B, *AAC],
    "slow-5": [*picture(rate="5"), *tone(48000), *X264, *AAC],
    "variable-rate": [*picture(rate="30"), *tone(44100), *IRREGULAR, *X264, *AAC],
    "variable-rate-no-b": [*picture(rate="30"), *tone(44100), *IRREGULAR, *X264, *NO_B, *AAC],
    "video-only": [*picture(rate="30"), *X264],
    "audio-only": [*tone(44100), *AAC],
    "audio-only-22k": [*tone(22050, "mono"), *AAC],
    "portrait": [*picture("360x640", "30"), *tone(48000), *X264, *AAC],
    "odd-size": [*picture("374x666", "30"), *tone(48000), *X264, *AAC],
    "late-audio": [*picture(rate="30"), "-itsoffset", "3", *tone(44100), *X264, *AAC],
    "late-video": ["-itsoffset", "2", *picture(rate="30"), *tone(48000), *X264, *AAC],
    "large-frames": [*picture(rate="10"), *tone(48000), *X264, "-vf", "noise=alls=90:allf=t",
                     "-qp", "0", "-sc_threshold", "0", *AAC],     # longer than a PES can say
    "sliced": [*picture(rate="30"), *tone(48000), *X264, "-slices", "4", *AAC],
    "5.1": [*picture(rate="30"), *tone(48000, "5.1"), *X264, *AAC],
}


class Clips:
    """Each is made when it is first asked for. Five seconds: three segments."""

    def __init__(self, folder):
        self.folder = folder

    def get(self, name, extension):
        path = self.folder / f"{name}.{extension}"
        master = self.folder / f"{name}.nut"        # which keeps any time base
        if not master.exists():
            ffmpeg(*CLIPS[name], "-t", "5", master)
        if not path.exists():
            ffmpeg("-i", master, "-map", "0", "-c", "copy", path)
        return path


def flv_tags(data):
    """(type, time in ms, body) of each tag."""
    at = 13
    while at < len(data):
        size = int.from_bytes(data[at + 1:at + 4], "big")
        time = int.from_bytes(data[at + 7:at + 8] + data[at + 4:at + 7], "big")
        yield data[at], time, data[at + 11:at + 11 + size]
        at += 11 + size + 4


def flv_file(tags):
    out = b"FLV\1\5\0\0\0\x09\0\0\0\0"
    for kind, time, body in tags:
        time = (time % (1 << 32)).to_bytes(4, "big")
        out += bytes([kind]) + len(body).to_bytes(3, "big") + time[1:] + time[:1] + b"\0\0\0"
        out += body
        out += (len(body) + 11).to_bytes(4, "big")
    return out


# --- FFmpeg's word ---

def probe_packets(path, kind):
    """Packets of one kind as ffprobe sees them; `exact`: their time stands in the stream."""
    text = run("ffprobe", "-v", "error", "-select_streams", kind[0], "-show_entries",
               "packet=dts,pts,size,flags,pos", "-of", "json", path)
    return [Frame(p["dts"], p["pts"], int(p["size"]), "K" in p["flags"], None, "pos" in p)
            for p in json.loads(text)["packets"]]


def as_avc(unit):
    """An Annex B access unit in AVC form, without delimiters and parameter sets."""
    out = b""
    for nal in re.split(rb"\x00\x00\x01", unit)[1:]:
        nal = nal.rstrip(b"\0")
        if nal and nal[0] & 31 not in (7, 8, 9):
            out += len(nal).to_bytes(4, "big") + nal
    return out


def elementary(path, kind):
    """The packets' own bytes: as our frames should hold them."""
    fmt = ["-f", "h264"] if kind == "video" else ["-f", "adts"]
    data = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-map", f"0:{kind[0]}", "-c",
                           "copy", *fmt, "-"], capture_output=True, check=True).stdout
    at, frames = 0, []
    for p in probe_packets(path, kind):
        unit = data[at:at + p.size]
        at += p.size
        body = as_avc(unit) if kind == "video" else unit[7:]
        frames.append(p._replace(size=len(body), hash=f"{zlib.adler32(body):08x}"))
    assert at == len(data)
    return frames


def decode_warnings(path):
    """What FFmpeg has to say when it decodes everything."""
    done = subprocess.run(["ffmpeg", "-v", "warning", "-i", path, "-fps_mode", "passthrough", "-f",
                           "null", "-"], capture_output=True, text=True)
    return done.stderr + (f"exit {done.returncode}" if done.returncode else "")


# --- our word ---

def our(command, path, *args):
    """(frames of each kind, track lines of each kind)."""
    frames, tracks = {"video": [], "audio": []}, {"video": [], "audio": []}
    for line in run(tool(), command, path, *args).splitlines():
        word = line.split()
        if word[0] == "track":
            tracks[word[1]].append(word[2:])
        else:
            frames[word[0]].append(Out(*map(int, word[1:5]), "k" in word[5], "d" in word[5],
                                       word[6]))
    return frames, tracks


def segments(path, folder):
    run(tool(), "segments", path, str(folder / "s"))
    files = sorted(folder.glob("s*.ts"), key=lambda p: int(p.stem[1:]))
    assert files
    return files


# --- packets ---

class Packets:
    """Walks packets of segments that follow each other; asserts what delivery.md b.5 asks."""

    def __init__(self):
        self.counters, self.pcr, self.pcr_gap, self.units = {}, None, 0, []

    def segment(self, data):
        assert len(data) % PACKET == 0
        pids = []
        for at in range(0, len(data), PACKET):
            pids.append(self.packet(data[at:at + PACKET], len(pids)))
        assert pids[:2] == [0, 0x1000]
        return pids

    def packet(self, p, index):
        pid, payload = (p[1] & 31) << 8 | p[2], p[3] & 0x10
        assert p[0] == 0x47
        if p[3] & 0x20 and p[4] and p[5] & 0x10:
            self.see_pcr(p[6] << 25 | p[7] << 17 | p[8] << 9 | p[9] << 1 | p[10] >> 7)
        if payload:
            assert p[3] & 15 == self.counters.get(pid, p[3] & 15), f"counter of {pid:#x}"
            self.counters[pid] = p[3] + 1 & 15
        if index == 2 and payload and pid == 0x100:
            self.see_first_picture(p)
        return pid

    def see_pcr(self, pcr):
        if self.pcr is not None:
            self.pcr_gap = max(self.pcr_gap, (pcr - self.pcr) % (1 << 33))
        self.pcr = pcr

    def see_first_picture(self, p):
        assert p[1] & 0x40 and p[5] & 0x40, "starts with a PES at a random access point"
        unit = p[p.index(b"\0\0\1\xe0"):]
        unit = unit[9 + unit[8]:]
        types = [nal[0] & 31 for nal in re.split(rb"\x00\x00\x01", unit)[1:]]
        assert types[:3] == [9, 7, 8], types
