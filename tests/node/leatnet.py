"""Real nodes for tests: processes on ephemeral ports, ffmpeg as publisher, HLS as a viewer
sees it. A test that ends with a `bug` line or a sanitizer report in any node's log fails."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ.get("LEAT_BUILD", ROOT / "build"))
SANITIZED = Path(os.environ.get("LEAT_BUILD_SANITIZED", RELEASE))
LADDER = "P144p30fps16x9,P240p30fps16x9"
SLOW = 1 if SANITIZED == RELEASE else 3  # sanitizers and small machines


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds, text="the condition", every=0.05):
    """The first true value of what(); fails with the last exception or value."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = what()
            if last:
                return last
        except (OSError, ValueError, KeyError, IndexError, AssertionError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {text}; last: {last!r}")
        time.sleep(every)


def no_check():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fetch(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10, context=no_check()) as answer:
        return answer.read()


class Node:
    """One leat process. role and flags as on the command line."""

    def __init__(self, folder, role, flags, build=SANITIZED, env=None):
        self.role, self.flags, self.build, self.folder = role, flags, build, folder
        self.admin = f"127.0.0.1:{free_port()}"
        self.data = folder / f"{role}-{self.admin.rsplit(':', 1)[1]}"
        self.log = ""
        self.env = {**os.environ, "NO_COLOR": "1", **(env or {})}
        self.expected_bugs = []
        self.start()

    def start(self):
        argv = [str(self.build / "leat"), self.role, "-v", "6", "-cliAddr", self.admin,
                "-dataDir", str(self.data), *map(str, self.flags)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=self.env)
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _read(self, pipe):
        for line in pipe:
            self.log += line.decode(errors="replace")

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def status(self):
        return json.loads(fetch(f"http://{self.admin}/api/status"))

    def metrics(self):
        return fetch(f"http://{self.admin}/metrics").decode()

    def metric(self, name):
        """Sum over all label sets."""
        rows = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.metrics(), re.M)
        return sum(map(float, rows))

    def wait_alive(self):
        def alive():
            assert self.running(), f"{self.role} ended:\n{self.log[-3000:]}"
            return fetch(f"http://{self.admin}/healthz") == b""
        wait_for(alive, 20 * SLOW, f"{self.role} to answer /healthz")
        return self

    def wait_ready(self):
        self.wait_alive()
        wait_for(lambda: b"ready" in fetch(f"http://{self.admin}/readyz"), 20 * SLOW,
                 f"{self.role} to be ready")
        return self

    def wait_log(self, pattern, seconds=20):
        return wait_for(lambda: re.search(pattern, self.log), seconds * SLOW,
                        f"log line {pattern!r} of {self.role}:\n{self.log[-2000:]}")

    def signal(self, signum):
        self.process.send_signal(signum)

    def kill(self):
        """Death without a word, its children included."""
        for pid in self.children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def children(self):
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            try:
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            more = [int(p) for p in text.split()]
            found += more
            todo += more
        return found

    def stop(self):
        if self.running():
            self.thaw()
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20 * SLOW)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
                try:
                    self.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise AssertionError(f"{self.role} did not stop:\n{self.log[-2000:]}")
        self.reader.join(timeout=5)

    def complaints(self):
        bad = [l for l in self.log.splitlines()
               if re.match(r"\S+ bug ", l) or "ERROR: AddressSanitizer" in l
               or "ERROR: LeakSanitizer" in l or "runtime error:" in l]
        return [l for l in bad if not any(re.search(p, l) for p in self.expected_bugs)]


class Publisher:
    """ffmpeg sending a test picture (or a file) in real time."""

    def __init__(self, url, args):
        self.process = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "error", "-re", *args, "-f", "flv", url],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def goodbye(self):
        """ffmpeg says FCUnpublish and deleteStream on SIGINT."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=20)

    def cut(self):
        self.process.kill()
        self.process.wait()

    def wait(self, seconds=60):
        self.process.wait(timeout=seconds)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def picture(seconds=60, size="320x180", rate=30, gop=60, audio=True, extra=()):
    """ffmpeg's arguments for a moving picture with a tone."""
    args = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    if audio:
        args += ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}",
                 "-c:a", "aac", "-b:a", "64k"]
    return [*args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v",
            "400k", "-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0", "-pix_fmt",
            "yuv420p", *extra]


class MediaPlaylist:
    def __init__(self, url, text):
        self.url, self.text = url, text
        self.ended = "#EXT-X-ENDLIST" in text
        self.sequence = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)[1])
        self.target = int(re.search(r"#EXT-X-TARGETDURATION:(\d+)", text)[1])
        self.segments = []
        gap = discontinuity = False
        duration = 0.0
        for line in text.splitlines():
            if line.startswith("#EXTINF:"):
                duration = float(line[8:].split(",")[0])
            elif line == "#EXT-X-GAP":
                gap = True
            elif line == "#EXT-X-DISCONTINUITY":
                discontinuity = True
            elif line and not line.startswith("#"):
                self.segments.append({"n": self.sequence + len(self.segments), "gap": gap,
                                      "discontinuity": discontinuity, "duration": duration,
                                      "url": urljoin(url, line)})
                gap = discontinuity = False


class Gateway(Node):
    def __init__(self, folder, flags, **more):
        self.http = f"127.0.0.1:{free_port()}"
        self.rtmp = f"127.0.0.1:{free_port()}"
        super().__init__(folder, "gateway",
                         ["-httpAddr", self.http, "-rtmpAddr", self.rtmp, *flags], **more)
        self.publishers = []
        self.slack = SLOW - 1  # seconds that a sanitized build may take longer

    def url(self, path):
        return f"http://{self.http}{path}"

    def rtmp_url(self, name):
        return f"rtmp://{self.rtmp}/live/{name}"

    def publish(self, name="demo", args=None, **kind):
        p = Publisher(self.rtmp_url(name), args or picture(**kind))
        self.publishers.append(p)
        return p

    def master(self, name="demo"):
        """{rendition: (attributes text, playlist URL)}"""
        url = self.url(f"/stream/{name}.m3u8")
        lines = fetch(url).decode().splitlines()
        return {u.rsplit("/", 1)[-1].removesuffix(".m3u8"): (i, urljoin(url, u))
                for i, u in zip(lines, lines[1:]) if i.startswith("#EXT-X-STREAM-INF")}

    def playlist(self, name="demo", rendition="source"):
        url = self.url(f"/stream/{name}/{rendition}.m3u8")
        return MediaPlaylist(url, fetch(url).decode())

    def wait_segments(self, n, name="demo", rendition="source", seconds=40):
        """Until a rendition lists a segment numbered so that n have been listed since 0."""
        def enough():
            p = self.playlist(name, rendition)
            return p if p.segments and p.segments[-1]["n"] + 1 >= n else None
        return wait_for(enough, seconds * SLOW, f"{n} segments of {name}/{rendition}; log:\n"
                        + self.log[-1500:])

    def stream(self, name="demo"):
        return {s["name"]: s for s in self.status()["streams"]}[name]

    def push(self, name, number, body, ext="ts", method="PUT", **headers):
        """(status, headers, body) of a push, errors included."""
        request = urllib.request.Request(
            self.url(f"/live/{name}/{number}.{ext}"), data=body, method=method,
            headers={k.replace("_", "-"): str(v) for k, v in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def stop(self):
        for p in self.publishers:
            p.stop()
        super().stop()


class Viewer(threading.Thread):
    """Follows one rendition as a player does, and remembers what it got and when."""

    def __init__(self, gateway, name="demo", rendition="source"):
        super().__init__(daemon=True)
        self.gateway, self.name, self.rendition = gateway, name, rendition
        self.got, self.gaps, self.errors, self.times = {}, [], [], {}
        self.done = threading.Event()
        self.ended = False
        self.start()

    def run(self):
        seen = set()
        while not self.done.is_set() and not self.ended:
            try:
                self._look(seen)
            except (OSError, TypeError, ValueError) as error:
                self.errors.append(str(error))
            self.done.wait(0.2)

    def _look(self, seen):
        p = self.gateway.playlist(self.name, self.rendition)
        for s in p.segments:
            if s["n"] in seen:
                continue
            seen.add(s["n"])
            self.times[s["n"]] = time.monotonic()
            if s["gap"]:
                self.gaps.append(s["n"])
            else:
                self.got[s["n"]] = fetch(s["url"])
        self.ended = p.ended

    def stop(self):
        self.done.set()
        self.join(timeout=15)
        return self

    def longest_wait(self):
        """Seconds between two listed segments, at the most."""
        times = [t for _, t in sorted(self.times.items())]
        return max((b - a for a, b in zip(times, times[1:])), default=0)

    def frames(self):
        """Video frames decoded from all segments in order; fails on any decoder complaint."""
        media = b"".join(self.got[n] for n in sorted(self.got))
        return count_frames(media)


def count_frames(media):
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
         "stream=nb_read_frames", "-of", "csv=p=0", "-"], input=media, capture_output=True,
        check=True)
    assert not probe.stderr.strip(), probe.stderr.decode()[-1000:]
    return int(probe.stdout.split()[0].strip(b","))


def probe(media, *entries):
    out = subprocess.run(["ffprobe", "-v", "error", "-of", "json", *entries, "-"], input=media,
                         capture_output=True, check=True)
    return json.loads(out.stdout)


class Network:
    """Nodes of one test; all are stopped and their logs read at its end."""

    def __init__(self, folder):
        self.folder, self.nodes, self.viewers = folder, [], []

    def add(self, node):
        self.nodes.append(node)
        return node

    def orchestrator(self, *flags, ready=True, **more):
        port = free_port()
        o = self.add(Node(self.folder, "orchestrator",
                          ["-transcoder", "-serviceAddr", f"127.0.0.1:{port}", *flags], **more))
        o.service = f"127.0.0.1:{port}"
        return o.wait_ready() if ready else o.wait_alive()

    def bare_orchestrator(self, secret, *flags, **more):
        """Without a worker of its own."""
        port = free_port()
        o = self.add(Node(self.folder, "orchestrator",
                          ["-orchSecret", secret, "-serviceAddr", f"127.0.0.1:{port}", *flags],
                          **more))
        o.service = f"127.0.0.1:{port}"
        return o.wait_alive()

    def transcoder(self, orchestrator, secret, *flags, **more):
        return self.add(Node(self.folder, "transcoder",
                             ["-orchAddr", orchestrator.service, "-orchSecret", secret, *flags],
                             **more)).wait_alive()

    def gateway(self, *orchestrators, flags=(), ladder=LADDER, **more):
        addresses = ",".join(o.service for o in orchestrators)
        flags = [*(["-orchAddr", addresses] if addresses else []), "-transcodingOptions", ladder, *flags]
        return self.add(Gateway(self.folder, flags, **more)).wait_alive()

    def viewer(self, gateway, **more):
        v = Viewer(gateway, **more)
        self.viewers.append(v)
        return v

    def close(self):
        for v in self.viewers:
            v.done.set()
        for node in reversed(self.nodes):
            node.stop()
        complaints = [f"{n.role}: {l}" for n in self.nodes for l in n.complaints()]
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not complaints, "\n".join(complaints[:10])
