"""Talks to leat-codec as its client does (codec/message.h), and measures what comes back.

Helper of test_codec*.py; uses ffmpeg and ffprobe as the oracle.
"""

import json
import os
import pathlib
import socket
import struct
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LEAT_BUILD", ROOT / "build"))

READY, OPEN, OPENED, DIED, BUDGET, JOB, RENDITION, DONE = range(1, 9)
RC = ["OK", "BAD_INPUT", "DENIED", "NOT_FOUND", "TIMEOUT", "EXISTS", "LIMIT", "UNSUPPORTED",
      "BUSY", "UNAVAILABLE", "STALE", "CLOSED", "CANCELLED", "IO", "CRASHED", "INTERNAL"]


def program():
    for path in (BUILD / "leat-codec", BUILD / "codec" / "leat-codec"):
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"leat-codec is not in {BUILD}: build it, or set LEAT_BUILD")


def is_sanitized():
    return b"__asan_init" in subprocess.run(["nm", "-D", program()], capture_output=True).stdout


def profile(width, height, bitrate, fps=0, fps_den=1, gop_ms=0, container="ts", encoder_profile=0,
            encoder=0, quality=0, name="test"):
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(
        ">iiiIIiBBBI", width, height, bitrate, fps, fps_den, gop_ms,
        1 if container == "mp4" else 0, encoder_profile, encoder, quality)


P240 = profile(426, 240, 600_000, 30, name="P240p30fps16x9")
P360 = profile(640, 360, 1_200_000, 30, name="P360p30fps16x9")


def message(kind, body=b""):
    return struct.pack(">I", kind << 24 | len(body)) + body


class Rendition:
    def __init__(self, body):
        (self.index, self.width, self.height, self.frames, self.pixels,
         self.bytes) = struct.unpack(">IiiiqQ", body)
        self.media = b""


class Result:
    def __init__(self):
        self.renditions = []
        self.rc = self.text = self.detail = None
        self.decoded_pixels = 0


class Session:
    """One child. `pid` is its process, `pidfd` its handle."""

    def __init__(self, template, name, memory):
        self.sock, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        template.sessions += 1
        name = name.encode()
        body = struct.pack(">IQB", template.sessions, memory, len(name)) + name
        socket.send_fds(template.control, [message(OPEN, body)], [child.fileno()])
        child.close()
        self.sock.settimeout(60)
        number, self.pid, self.pidfd = template.wait_opened()
        assert number == template.sessions and self.pid > 0

    def read(self, n):
        data = bytearray()
        while len(data) < n:
            part = self.sock.recv(min(n - len(data), 1 << 20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def read_message(self):
        head, = struct.unpack(">I", self.read(4))
        return head >> 24, self.read(head & 0xffffff)

    def send(self, segment, profiles, seq=0, duration_ms=2000, reinit=False, clip=(0, 0)):
        body = struct.pack(">qiBqqQB", seq, duration_ms, reinit, *clip, len(segment),
                           len(profiles)) + b"".join(profiles)
        self.sock.sendall(message(JOB, body) + segment)

    def result(self):
        r = Result()
        while True:
            kind, body = self.read_message()
            if kind == RENDITION:
                rendition = Rendition(body)
                rendition.media = self.read(rendition.bytes)
                r.renditions.append(rendition)
                continue
            assert kind == DONE
            rc, r.decoded_pixels, n = struct.unpack_from(">BqB", body)
            r.rc, r.text = RC[rc], body[10:10 + n].decode()
            r.detail = body[11 + n:].decode()
            return r

    def transcode(self, segment, profiles, **how):
        self.send(segment, profiles, **how)
        return self.result()

    def close(self):
        self.sock.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


class Template:
    """A running `leat-codec template`; a context manager."""

    def __init__(self):
        self.control, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(60)
        self.sessions = 0
        self.deaths = []
        self.readies = 0

        def as_descriptor_3():
            os.dup2(child.fileno(), 3)
            os.set_inheritable(3, True)
        self.process = subprocess.Popen([program(), "template"], close_fds=False,
                                        preexec_fn=as_descriptor_3)
        child.close()
        self.wait(READY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.process.wait(20)

    def read(self):
        data, fds, _, _ = socket.recv_fds(self.control, 8192, 1)
        if not data:
            raise EOFError
        kind, body = data[0], data[4:]
        if kind == READY:
            self.readies += 1
        if kind == DIED:
            self.deaths.append(struct.unpack(">ii", body))
        return kind, body, fds

    def wait(self, kind):
        while True:
            found, body, fds = self.read()
            if found == kind:
                return body, fds

    def wait_opened(self):
        body, fds = self.wait(OPENED)
        return *struct.unpack(">Ii", body), fds[0] if fds else None

    def wait_death(self, pid):
        while not any(p == pid for p, _ in self.deaths):
            self.read()
        return next(s for p, s in self.deaths if p == pid)

    def open(self, name="test", memory=768 << 20):
        return Session(self, name, memory)


# ---- media ----

def ffmpeg(*args, data=None):
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin" if data is None else "-y", *args],
                       input=data, capture_output=True)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout


def probe(media, *show):
    r = subprocess.run(["ffprobe", "-v", "error", "-of", "json", *show, "-"], input=media,
                       capture_output=True)
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


def streams(media):
    return probe(media, "-show_streams", "-count_frames")["streams"]


def packets(media, kind="v"):
    return probe(media, "-show_packets", "-select_streams", kind)["packets"]


def frame_times(media, tb=90000):
    """Presentation times of the video frames, in 1/90000 s, in order."""
    found = probe(media, "-show_frames", "-select_streams", "v",
                  "-show_entries", "frame=pts,pict_type,key_frame")["frames"]
    return [f["pts"] for f in found]


def cut_segments(*source, seconds=2, fps=30, video=(), audio=True):
    """TS segments of so many seconds, cut where a gateway would: at key frames."""
    gop = str(round(seconds * fps))
    with tempfile.TemporaryDirectory() as folder:
        ffmpeg(*source, "-c:v", "libx264", "-preset", "veryfast", "-g", gop, "-keyint_min", gop,
               "-sc_threshold", "0", *video, *(["-c:a", "aac"] if audio else ["-an"]),
               "-f", "segment", "-segment_time", str(seconds), "-segment_format", "mpegts",
               f"{folder}/%04d.ts")
        return [p.read_bytes() for p in sorted(pathlib.Path(folder).glob("*.ts"))]


def one_segment(*source, **how):
    found = cut_segments(*source, **how)
    assert len(found) == 1
    return found[0]


def pattern(size="640x360", fps="30", seconds="2"):
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}:duration={seconds}"]


TONE = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-shortest"]

# ---- frame numbers that leat-codec picture drew (codec/program/picture_draw.h) ----

BLOCKS, START_PATTERN = 40, 0xb2


def picture(*options):
    """Starts the test picture; finish with picture_bytes."""
    return subprocess.Popen([program(), "picture", *options], stdout=subprocess.PIPE)


def picture_bytes(process):
    data = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    return data


def frame_number(luma, width):
    bits = 0
    for i in range(BLOCKS):
        x, y = (2 * i + 1) * width // (2 * BLOCKS), width // (2 * BLOCKS)
        bits = bits << 1 | (luma[y * width + x] > 128)
    number, check = bits >> 8 & 0xffffff, bits & 0xff
    assert bits >> 32 == START_PATTERN, f"no start pattern in {bits:010x}"
    assert check == (number ^ number >> 8 ^ number >> 16) & 0xff, f"bad check in {bits:010x}"
    return number


def frame_numbers(media):
    """The number burned into each picture that decodes."""
    width, height = [(s["width"], s["height"]) for s in streams(media)
                     if s["codec_type"] == "video"][0]
    raw = ffmpeg("-i", "-", "-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "gray",
                 "-f", "rawvideo", "-", data=media)
    size = width * height
    return [frame_number(raw[at:at + size], width) for at in range(0, len(raw), size)]


# ---- bitrate ----

def video_bits(media):
    return [(p["pts"], 8 * int(p["size"])) for p in packets(media)]


def underflows(frames, rate, start=1.0):
    """How often a decoder's buffer of one second runs dry; frames: (time, bits)."""
    fill, last, dry = rate * start, None, 0
    for time, bits in frames:
        if last is not None:
            fill = min(rate, fill + rate * (time - last) / 90000)
        fill -= bits
        last = time
        if fill < 0:
            dry, fill = dry + 1, 0
    return dry
