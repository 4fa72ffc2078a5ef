"""Trouble, on purpose. Each test names the fault and what a viewer sees of it, measured as the
longest time between two segments appearing in a rendition (2 s is none at all)."""
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest

from clips import pictures
from leatnet import LADDER, RELEASE, SANITIZED, SLOW, fetch, wait_for

SMALL, LARGE = LADDER.split(",")


@pytest.fixture(scope="module")
def copying(clips):
    return ["-i", str(clips["long"]), "-c", "copy"]


class Show:
    """A stream on air, watched in all renditions."""

    def __init__(self, network, gateway, copying, name="demo"):
        self.gateway, self.name = gateway, name
        self.publisher = gateway.publish(name, copying)
        gateway.wait_segments(2, name, SMALL)
        self.viewers = {r: network.viewer(gateway, name=name, rendition=r)
                        for r in ("source", SMALL, LARGE)}

    def last(self, rendition=SMALL):
        return self.gateway.playlist(self.name, rendition).segments[-1]["n"]

    def more(self, n):
        """n further source segments, and every rendition up to there."""
        goal = self.last("source") + n + 1
        for rendition in ("source", SMALL, LARGE):
            self.gateway.wait_segments(goal, self.name, rendition, 60)

    def check(self, fault, most_ms, lost=()):
        """No number is missing or a GAP but `lost`; all pictures decode. Prints the gap."""
        waits = {}
        for rendition, v in self.viewers.items():
            v.stop()
            numbers = sorted(v.times)
            assert numbers == list(range(numbers[0], numbers[-1] + 1)), rendition
            assert set(v.gaps) <= set(lost), f"{rendition} lost {v.gaps}"
            assert len(pictures(b"".join(v.got[n] for n in sorted(v.got)))) == 60 * len(v.got)
            waits[rendition] = v.longest_wait() - 2
        gap = max(waits.values())
        print(f"\n{fault}: the viewer waits {max(gap, 0) * 1000:.0f} ms longer than for others, "
              f"loses {len(set(self.viewers[SMALL].gaps))} segments",
              {r: round(w * 1000) for r, w in waits.items()})
        assert gap * 1000 < most_ms, waits
        assert waits["source"] < 0.7 * SLOW, "the source keeps playing"


def user(orchestrators, gateway, name="demo"):
    """The orchestrator that transcodes the stream now."""
    rows = gateway.stream(name)["renditions"]
    uri = next(r["orchestrator"] for r in rows if r["name"] == SMALL)
    return next(o for o in orchestrators if uri.endswith(o.service))


def busy(orchestrator, gateway, name="demo"):
    """Waits for the moment that a segment is being transcoded."""
    wait_for(lambda: gateway.stream(name)["in_flight"], 10, "a segment in flight", every=0.005)


@pytest.fixture
def trio(network, copying):
    """Two orchestrators and a show."""
    orchestrators = [network.orchestrator(ready=False) for _ in range(2)]
    for o in orchestrators:
        o.wait_ready()
    gateway = network.gateway(*orchestrators)
    return orchestrators, gateway, Show(network, gateway, copying)


def test_orchestrator_killed_in_mid_segment(trio):
    """Fault: the dead orchestrator stays chosen and its segment is lost."""
    orchestrators, gateway, show = trio
    victim = user(orchestrators, gateway)
    busy(victim, gateway)
    victim.kill()
    show.more(3)
    show.check("orchestrator killed", 5000)
    assert user(orchestrators, gateway) is not victim


def test_orchestrator_frozen_in_mid_segment(trio):
    """Fault: a frozen orchestrator costs 8 s and the segment. Its work goes to the next one after
    three times the usual."""
    orchestrators, gateway, show = trio
    victim = user(orchestrators, gateway)
    busy(victim, gateway)
    victim.freeze()
    show.more(3)
    victim.thaw()
    show.check("orchestrator frozen", 6500)  # 8 s without the second attempt
    gateway.wait_log("overdue after")


def test_orchestrator_restarted(network, copying):
    """Fault: a restarted orchestrator does not know its old tokens; each costs a segment."""
    only = network.orchestrator()
    gateway = network.gateway(only)
    show = Show(network, gateway, copying)
    only.kill()
    only.start()
    only.wait_ready()
    show.more(3)
    show.check("the only orchestrator restarted", 9000)
    assert not any(s["gap"] for s in gateway.playlist("demo", SMALL).segments)


def codec_children(orchestrator):
    found = []
    for pid in orchestrator.children():
        try:
            if b"leat-codec" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            pass
    return found


def worker_of(orchestrator):
    for pid in orchestrator.children():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"transcoder" in words:
            return pid
    raise AssertionError("no worker")


def test_worker_and_codec_die_and_freeze(network, copying):
    """Faults, one after the other, with nobody else to turn to: the codec of a stream is killed,
    the worker is killed, the worker freezes while another can take over. No segment is lost."""
    secret = "a secret of these tests"
    only = network.bare_orchestrator(secret)
    workers = [network.transcoder(only, secret) for _ in range(2)]
    only.wait_ready()
    gateway = network.gateway(only)
    show = Show(network, gateway, copying)
    for w in workers:
        w.expected_bugs.append("template ended")  # ours, as far as the worker can tell
        for child in codec_children(w):
            os.kill(child, signal.SIGKILL)
    show.more(1)
    workers[0].kill()
    show.more(2)
    workers.append(network.transcoder(only, secret))
    only.wait_log("(?s)transcoder.*transcoder.*transcoder|worker.*worker.*worker")
    workers[1].freeze()
    show.more(2)
    workers[1].thaw()
    show.check("codec killed, worker killed, worker frozen", 7000)


def test_all_orchestrators_gone_and_back(network, copying):
    """Fault: without orchestrators everything stops, or the gateway dies, and stays so. The source
    keeps playing; log, page and metrics say why; it recovers by itself."""
    orchestrators = [network.orchestrator(ready=False) for _ in range(2)]
    for o in orchestrators:
        o.wait_ready()
    gateway = network.gateway(*orchestrators)
    show = Show(network, gateway, copying)
    for o in orchestrators:
        o.kill()
    gone_at = show.last("source")
    goal = gone_at + 4
    gateway.wait_segments(goal, "demo", "source")
    reasons = [t["text"] for t in gateway.stream()["troubles"]]
    assert any(o.service in t for t in reasons for o in orchestrators), reasons
    states = {row["uri"]: (row["state"], row["reason"]) for row in gateway.stream()["orchestrators"]}
    assert all(state in ("failed", "asking") for state, _ in states.values()), states
    assert any("refused" in reason.lower() for _, reason in states.values()), states
    assert re.search(r"peer gateway stream=demo .*orchestrator https://\S+ cannot be used: .*refused",
                     gateway.log)
    assert gateway.metric("livepeer_discovery_errors_total") >= 2
    for o in orchestrators:
        o.start()
    for o in orchestrators:
        o.wait_ready()
    back_at = show.last("source")
    show.more(2)
    gaps = [s["n"] for s in gateway.playlist("demo", SMALL).segments if s["gap"]]
    assert all(n < back_at for n in gaps), f"gaps {gaps} after {back_at}: it does not recover"
    show.check("all orchestrators gone for a while", 25000, lost=gaps)


def test_gateway_restarted_under_viewers(network, copying):
    """Fault: a gateway's restart ends the show. The encoder reconnects by itself; the viewer waits
    and goes on with higher numbers."""
    only = network.orchestrator()
    gateway = network.gateway(only)
    gateway.publish("demo", copying)
    before = gateway.wait_segments(2, "demo", SMALL).segments[-1]["n"]
    gateway.kill()
    down = time.monotonic()
    gateway.start()
    gateway.wait_alive()
    gateway.publish("demo", copying)
    gateway.wait_segments(before + 2, "demo", SMALL)
    print(f"\ngateway killed: the viewer waits {(time.monotonic() - down - 2) * 1000:.0f} ms")


def test_disk_full(network, copying, tmp_path):
    """Fault: a full disk stops a node. Streams go on; the log says what will not survive."""
    only = network.orchestrator()
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() == 0 and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]).returncode:
        try:
            gateway = network.gateway(only, flags=["-dataDir", disk])
            (disk / "filler").write_bytes(b"\0" * 100_000)
            try:
                with open(disk / "filler2", "wb") as f:
                    while True:
                        f.write(b"\0" * 4096)
                        f.flush()
            except OSError:
                pass
            show = Show(network, gateway, copying)
            show.more(2)
            show.check("disk full", 4000)
            gateway.wait_log("(?i)peer gateway .*(disk|full|space|store)")
            gateway.stop()
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
    else:
        pytest.skip("needs root to mount a small disk")


def descriptors(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def resident_kb(node):
    text = Path(f"/proc/{node.pid}/smaps_rollup").read_text()
    return int(re.search(r"Pss:\s+(\d+)", text)[1])


def test_hundred_publishers_connect_and_vanish(network, copying, clips):
    """Fault: each publisher that vanishes leaves something behind, and its name is locked."""
    # Sanitizers keep freed memory back: bytes are counted on the release build.
    gateway = network.gateway(flags=["-maxSessions", "50"], build=RELEASE)
    host, port = gateway.rtmp.split(":")
    publish = first_bytes_of_a_publisher(gateway, clips)

    def vanish(rounds):
        for n in range(rounds):
            s = socket.create_connection((host, int(port)), timeout=10)
            s.sendall(publish[:len(publish) * (n % 10 + 1) // 10])
            s.recv(4096)
            s.close()

    vanish(40)  # what is kept for good is made now
    quiet(gateway)
    before = descriptors(gateway), resident_kb(gateway)
    vanish(100)
    quiet(gateway)
    after = descriptors(gateway), resident_kb(gateway)
    print(f"\n100 publishers came and went: {before} -> {after} (descriptors, kB)")
    assert after[0] <= before[0]
    assert after[1] <= before[1] * 1.1 + 256
    gateway.publish("vanishing", copying)
    gateway.wait_segments(1, "vanishing")


def test_hundred_refused_publishers_write_no_hundred_lines(network, copying, clips):
    """Fault: whoever wants a name in use fills the log and drives everything else off the page. Ten
    lines a minute are written, and the page counts."""
    gateway = network.gateway(flags=["-reconnectGrace", "1s"])
    publish = first_bytes_of_a_publisher(gateway, clips)
    wait_for(lambda: gateway.stream("vanishing")["state"] == "ended", 20, "the end of the first")
    gateway.publish("vanishing", copying)
    gateway.wait_segments(3, "vanishing")
    host, port = gateway.rtmp.split(":")

    def refused(_):
        with socket.create_connection((host, int(port)), timeout=20) as s:
            try:
                s.sendall(publish)
                while s.recv(65536):
                    pass
            except OSError:
                pass  # closed while we still sent

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(refused, range(100)))
    told = [t["text"] for t in gateway.stream("vanishing")["troubles"]]
    assert told == ["a second publisher was refused: the name is in use (100 times)"]
    assert len(re.findall("peer gateway .*second publisher", gateway.log)) == 10
    assert gateway.log.count(" peer ") < 30, gateway.log[-3000:]


def quiet(gateway):
    wait_for(lambda: not [s for s in gateway.status()["streams"]
                          if s["state"] in ("live", "opening")], 20, "the streams to be gone")
    time.sleep(0.5)


def first_bytes_of_a_publisher(gateway, clips):
    """What ffmpeg sends to publish `vanishing`, up to some media, recorded through a pipe."""
    recorded = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        publisher = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "quiet", "-i", clips["four"], "-c", "copy", "-f", "flv",
             f"rtmp://127.0.0.1:{port}/live/vanishing"])
        client, _ = server.accept()
        host, rtmp = gateway.rtmp.split(":")
        with client, socket.create_connection((host, int(rtmp))) as up:
            back = threading.Thread(target=pump, args=(up, client, None), daemon=True)
            back.start()
            pump(client, up, recorded)
        publisher.wait(20)
    return bytes(recorded)


def pump(a, b, record):
    try:
        while data := a.recv(65536):
            if record is not None:
                record += data
            b.sendall(data)
    except OSError:
        pass


def test_slow_and_silent_clients_are_cut(network):
    """Fault: clients that say nothing, or one byte a second, hold their place for ever."""
    gateway = network.gateway()
    begun = time.monotonic()

    def silent(addr, first, byte_by_byte):
        host, port = addr.split(":")
        s = socket.create_connection((host, int(port)), timeout=1)
        try:
            s.sendall(first)
            while time.monotonic() - begun < 40:
                if byte_by_byte:
                    s.sendall(b"a")
                try:
                    if not s.recv(4096):
                        break
                except TimeoutError:
                    pass
        except OSError:
            pass
        s.close()
        return time.monotonic() - begun

    kinds = [(gateway.rtmp, b"", False), (gateway.rtmp, b"\3", True),
             (gateway.rtmp, b"\3" + b"\0" * 1536, False), (gateway.http, b"", False),
             (gateway.http, b"GET / HTTP/1.1\r\nX: ", True), (gateway.admin, b"GET", False)]
    took = {}
    threads = [threading.Thread(target=lambda i=i, k=k: took.__setitem__(i, silent(*k)))
               for i, k in enumerate(kinds)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert all(t < 35 for t in took.values()), took
    assert fetch(gateway.url("/healthz")) == b""


class Clock:
    """The wall clock of nodes that start with `env`, moved by clock_shift.c."""

    def __init__(self, folder):
        self.file = folder / "clock-shift"
        self.env = {"LD_PRELOAD": str(SANITIZED / "tests/libclock_shift.so"),
                    "LEAT_CLOCK_SHIFT": str(self.file)}
        self.set(0)

    def set(self, seconds):
        """In place: the nodes have the file mapped."""
        with open(self.file, "r+b" if self.file.exists() else "wb") as f:
            f.write(struct.pack("=q", seconds))

    @staticmethod
    def ahead(node):
        """By so many seconds, as the node's newest line says."""
        told = re.findall(r"^(\S+)Z \w+ ", node.log, re.M)[-1]
        wall = datetime.fromisoformat(told).replace(tzinfo=timezone.utc)
        return wall.timestamp() - time.time()


def test_clock_jump(network, copying, tmp_path):
    """Fault: a clock that is set (NTP, a person, a resumed machine) ends timers early or never, and
    tokens that it made old end the stream. It jumps an hour ahead, beyond the life of every token,
    and an hour back; the viewer sees nothing of it."""
    clock = Clock(tmp_path)
    orchestrator = network.orchestrator(build=RELEASE, env=clock.env)
    gateway = network.gateway(orchestrator, build=RELEASE, env=clock.env)
    show = Show(network, gateway, copying)
    for shift in (3600, 0, -3600):
        clock.set(shift)
        show.more(3)
        for node in (gateway, orchestrator):
            assert abs(clock.ahead(node) - shift) < 60, "the clock did not jump"
    assert gateway.stream()["state"] == "live" and gateway.stream()["reconnects"] == 0
    show.check("clock set by an hour, thrice", 2500)
