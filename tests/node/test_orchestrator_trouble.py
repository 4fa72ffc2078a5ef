"""An orchestrator whose workers die, fall silent, err or leave, and what its gateway sees of it:
how long a segment took, and that none was lost."""
import os
import random
import signal
import time

import pytest

from leatnet import SLOW
from peers import GatewayPeer, WorkerPeer, pb, wait_until

SECRET = "matrix-secret"
MEDIA = b"\x47" + bytes(range(256)) * 40
OVERDUE = 6.0       # seconds: three times the length of a 2 s segment, before any was measured
DEADLINE = 8.0


def worker_of(o, **more):
    n = len(o.status()["workers"])
    w = WorkerPeer(o.service, SECRET, **more)
    o.played.append(w)
    wait_until(lambda: len(o.status()["workers"]) == n + 1, text="a worker to be here")
    return w


class Scene:
    def __init__(self, network, *flags):
        self.o = network.bare_orchestrator(SECRET, *flags)
        self.o.played = []
        self.gateway = None
        self.seq = -1

    def begin(self):
        self.gateway = GatewayPeer(self.o.service)
        self.token = self.gateway.token()

    def send(self, token=None):
        self.seq += 1
        self.sent = time.monotonic()
        token = token or self.token
        return self.gateway.post(self.gateway.seg_data(token, MEDIA, self.seq), MEDIA)

    def result(self, stream, timeout=30):
        result = pb.TranscodeResult.FromString(stream.read(timeout))
        self.took = time.monotonic() - self.sent
        return result

    def run_one(self, worker):
        """One segment that goes well, so that the usual time is known."""
        stream = self.send()
        worker.answer(worker.notify())
        assert not self.result(stream).error

    def gap(self, fault, limit):
        """Told by the test's output, held against a limit."""
        print(f"{fault}: the segment took {self.took * 1000:.0f} ms")
        assert self.took < limit * SLOW


@pytest.fixture
def scene(network):
    s = Scene(network)
    yield s
    for peer in [s.gateway, *s.o.played]:
        if peer:
            peer.close()


def test_worker_that_dies_loses_nothing(scene):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    first.notify()
    first.close()
    moved = second.notify()
    assert moved.seg_data.seq == 0
    assert second.source(moved)[2] == MEDIA
    second.answer(moved)
    assert len(scene.result(stream).data.segments) == 2
    scene.gap("worker died in mid-segment", 1)
    scene.run_one(second)


def test_silent_worker_loses_nothing(scene):
    """It stays connected and says nothing, as a stopped process does."""
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    scene.run_one(first)
    stream = scene.send()
    stuck = first.notify()
    second.answer(second.notify(), b"2")
    assert len(scene.result(stream).data.segments) == 2
    scene.gap("worker silent in mid-segment", 2)
    scene.run_one(second)
    states = {w["name"][-2:]: w["state"] for w in scene.o.status()["workers"]}
    assert states == {"-1": "silent", "-2": "ready"}
    assert first.answer(stuck) == (200, b"OK"), "too late, but no error"
    assert all(w["state"] == "ready" for w in scene.o.status()["workers"])


def test_all_sessions_of_a_silent_worker_move_at_once(scene):
    first = worker_of(scene.o)
    scene.begin()
    scene.run_one(first)
    streams = [scene.send(scene.gateway.token()) for _ in range(4)]
    for _ in streams:
        first.notify()
    second = worker_of(scene.o)
    for _ in streams:
        second.answer(second.notify())
    assert all(not scene.result(s).error for s in streams)
    scene.gap("worker with four streams silent", 2)


def test_silence_before_anything_was_measured(scene):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    first.notify()
    second.answer(second.notify(OVERDUE + 2))
    assert not scene.result(stream).error
    assert OVERDUE - 0.5 < scene.took < DEADLINE


def test_first_result_wins(scene):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    scene.run_one(first)
    stream = scene.send()
    slow = first.notify()
    spare = second.notify()
    assert spare.task_id != slow.task_id
    first.answer(slow, b"1")
    result = scene.result(stream)
    assert not result.error
    assert second.answer(spare, b"2") == (200, b"OK")
    ended = second.notify()
    assert ended.url == "" and ended.seg_data.auth_token.session_id == scene.token.session_id
    stream = scene.send()
    assert first.notify().seg_data.seq == 2, "the stream stays with the one that was first"


def test_silent_worker_is_cut_off_at_the_deadline(scene):
    worker = worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    worker.notify()
    result = scene.result(stream)
    assert result.error == "Remote transcoder took too long"
    assert DEADLINE - 0.1 < scene.took < DEADLINE + 1.5 * SLOW
    wait_until(lambda: not scene.o.status()["workers"], text="the worker to be cut off")


def test_slow_worker_that_answers_others_stays(scene):
    worker = worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    worker.notify()
    other = scene.send(scene.gateway.token())
    worker.answer(worker.notify())
    assert not scene.result(other).error
    assert pb.TranscodeResult.FromString(stream.read()).error
    assert len(scene.o.status()["workers"]) == 1


def test_segment_waits_for_a_worker_to_return(scene):
    worker = worker_of(scene.o)
    scene.begin()
    scene.run_one(worker)
    stream = scene.send()
    worker.notify()
    worker.close()
    wait_until(lambda: not scene.o.status()["workers"])
    time.sleep(1)
    again = worker_of(scene.o)
    again.answer(again.notify())
    assert not scene.result(stream).error
    scene.gap("the only worker gone for a second", 3)


def test_segment_begun_while_no_worker_is_here(scene):
    worker = worker_of(scene.o)
    scene.begin()
    scene.run_one(worker)
    worker.close()
    wait_until(lambda: not scene.o.status()["workers"])
    stream = scene.send()
    assert stream.status() == 200
    again = worker_of(scene.o)
    again.answer(again.notify())
    assert not scene.result(stream).error


def test_no_worker_ever(scene):
    worker = worker_of(scene.o)
    scene.begin()
    scene.run_one(worker)
    worker.close()
    stream = scene.send()
    assert scene.result(stream).error == "no transcoders available"
    assert scene.took < DEADLINE + 1
    assert "leat transcoder" in scene.o.log, "the remedy is told"


def test_worker_that_left_may_still_answer(scene):
    """A worker that is asked to stop leaves first, then posts what it has."""
    worker = worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    notify = worker.notify()
    worker.stream.reset()
    wait_until(lambda: not scene.o.status()["workers"])
    assert worker.answer(notify) == (200, b"OK")
    assert not scene.result(stream).error


@pytest.mark.parametrize("text", ["TranscoderInvalidVideo", "No keyframes in input"])
def test_the_inputs_fault_is_told_at_once(scene, text):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    first.fail(first.notify().task_id, text)
    assert scene.result(stream).error == text
    with pytest.raises(TimeoutError):
        second.notify(0.3)


def test_a_workers_fault_is_tried_elsewhere_once(scene):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    first.fail(first.notify().task_id, "the codec died of signal 11")
    second.answer(second.notify())
    assert not scene.result(stream).error
    stream = scene.send()
    second.fail(second.notify().task_id, "the codec died of signal 11")
    first.fail(first.notify().task_id, "out of memory")
    assert scene.result(stream).error == "out of memory"


@pytest.mark.parametrize("parts,text", [
    ([("video/mp2t", 5, b"x" * 99)], "MismatchedSegments"),
    ([("video/mp2t", 5, b"x" * 99), ("video/mp2t", 5, b"x" * 24)], "ZeroSegments")])
def test_results_that_are_none(scene, parts, text):
    worker = worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    assert worker.post(worker.notify().task_id, parts) == (200, b"OK")
    assert scene.result(stream).error == text


@pytest.mark.parametrize("type_,body,status", [
    ("multipart/mixed", b"x", 500), ("multipart/mixed; boundary=b", b"no boundary here", 500),
    ("multipart/mixed; boundary=b", b"--b\r\nPixels: many\r\n\r\nx\r\n--b--\r\n", 500),
    ("multipart/mixed; boundary=b", b"--b\r\nPixels: 5\r\n\r\nno end", 500)])
def test_broken_results_are_refused_and_the_segment_goes_to_another(scene, type_, body, status):
    first, second = worker_of(scene.o), worker_of(scene.o)
    scene.begin()
    stream = scene.send()
    assert first.post_raw(first.notify().task_id, type_, body)[0] == status
    second.answer(second.notify())
    assert not scene.result(stream).error
    assert len(scene.o.status()["workers"]) == 2


def test_sessions_are_spread_over_workers_and_stay(scene):
    small, large = worker_of(scene.o, capacity=1), worker_of(scene.o, capacity=3)
    scene.begin()
    tokens = [scene.gateway.token() for _ in range(4)]
    where = []
    for _ in range(2):
        for token in tokens:
            stream = scene.send(token)
            for w in (small, large):
                try:
                    notify = w.notify(0.3)
                except TimeoutError:
                    continue
                where.append((token.session_id, w is small))
                w.answer(notify)
                break
            assert not scene.result(stream).error
    assert where[:4] == where[4:], "each stays where it was"
    assert sum(is_small for _, is_small in where[:4]) == 1


def test_worker_without_the_needed_capability_is_passed_over(scene):
    poor = worker_of(scene.o, bits=0b11 | 1 << 12)      # lacks segment slicing
    scene.begin()
    stream = scene.send()
    assert scene.result(stream).error == "no transcoders can provide requested capabilities"
    assert scene.took < 1 * SLOW
    rich = worker_of(scene.o)
    scene.run_one(rich)
    with pytest.raises(TimeoutError):
        poor.notify(0.2)


@pytest.mark.parametrize("secret,capacity,text", [
    ("wrong", 10, "invalid secret"), ("", 10, "invalid secret"), (SECRET, 0, "zero capacity"),
    (SECRET, -3, "zero capacity")])
def test_registrations_that_are_refused(scene, secret, capacity, text):
    w = WorkerPeer(scene.o.service, secret, capacity=capacity)
    w.stream.read()
    trailers = w.stream.trailers or w.stream.headers
    assert (trailers["grpc-status"], trailers["grpc-message"]) == ("2", text)
    assert not scene.o.status()["workers"]


def test_node_without_secret_takes_no_remote_worker(network):
    o = network.orchestrator()
    w = WorkerPeer(o.service, "")
    w.stream.read()
    assert (w.stream.trailers or w.stream.headers)["grpc-message"] == "invalid secret"


def test_workers_socket_is_for_workers_only(network):
    o = network.orchestrator("-orchSecret", SECRET)
    path = o.data / "worker.sock"
    if not path.exists():
        pytest.skip("the test's folder has too long a name for a socket")
    assert path.stat().st_mode & 0o077 == 0
    addr = f"unix:{path}"
    w = WorkerPeer(addr, SECRET)
    w.stream.read()
    assert (w.stream.trailers or w.stream.headers)["grpc-message"] == "invalid secret"
    assert w.http.grpc("/net.Orchestrator/GetOrchestrator", b"")[0] == 12
    assert w.http.request("POST", "/segment", [], b"x").status() == 404
    assert w.post(0, [])[0] == 401


# --- the local worker: leat transcoder as a child ---

def child_named(o, word):
    for pid in o.children():
        try:
            argv = open(f"/proc/{pid}/cmdline").read().split("\0")
        except OSError:
            continue
        if word in argv:
            return pid
    return None


@pytest.fixture
def local(network):
    return network.orchestrator()


def send_local(o, gateway, token, media, seq):
    begun = time.monotonic()
    result = gateway.send(token, media, seq)
    return result, time.monotonic() - begun


def test_secret_of_the_local_worker_is_not_shown(local):
    pid = child_named(local, "transcoder")
    assert b"LP_ORCHSECRET=" in open(f"/proc/{pid}/environ", "rb").read()
    assert "orchSecret" not in open(f"/proc/{pid}/cmdline").read()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_local_worker_killed_or_stopped_in_mid_segment(local, segments, signum):
    gateway = GatewayPeer(local.service)
    token = gateway.token()
    assert not send_local(local, gateway, token, segments[0], 0)[0].error
    pid = child_named(local, "transcoder")
    stream = gateway.post(gateway.seg_data(token, segments[1], 1), segments[1])
    begun = time.monotonic()
    assert stream.status() == 200
    os.kill(pid, signum)
    result = pb.TranscodeResult.FromString(stream.read())
    took = time.monotonic() - begun
    print(f"local worker hit by {signum.name}: the segment took {took * 1000:.0f} ms")
    assert not result.error and len(result.data.segments) == 2
    assert took < 4 * SLOW
    assert child_named(local, "transcoder") not in (pid, None)
    assert not send_local(local, gateway, token, segments[2], 2)[0].error
    gateway.close()


def test_local_worker_that_keeps_dying_is_told(local):
    os.kill(child_named(local, "transcoder"), signal.SIGKILL)
    local.wait_log("the local worker ended with signal 9; it starts again in")
    local.wait_ready()


def test_garbage_segments(local, segments):
    gateway = GatewayPeer(local.service)
    token = gateway.token()
    noise = random.Random(1)
    for seq, media in enumerate([bytes(noise.randrange(256) for _ in range(2000)),
                                 b"not a film, a letter\n" * 100, b"\x47",
                                 segments[0][:3000], segments[0][5000:9000]]):
        result, _ = send_local(local, gateway, token, media, seq)
        assert result.error or result.data.segments
        if seq < 3:
            assert result.error == "TranscoderInvalidVideo", "as recorded"
    result, _ = send_local(local, gateway, token, segments[1], 9)
    assert not result.error
    gateway.close()


def test_segment_without_profiles(local, segments):
    gateway = GatewayPeer(local.service)
    token = gateway.token()
    assert gateway.send(token, segments[0], 0, ladder=[]).error == "TranscoderUnrecognizedProfile"
    assert not gateway.send(token, segments[1], 1).error, "its worker is not taken for dead"
    gateway.close()


def test_empty_segment(local):
    gateway = GatewayPeer(local.service)
    result, _ = send_local(local, gateway, gateway.token(), b"", 0)
    assert result.error
    gateway.close()


def test_frozen_worker_is_noticed_without_work(network, segments):
    o = network.bare_orchestrator(SECRET)
    frozen = network.transcoder(o, SECRET)
    wait_until(lambda: len(o.status()["workers"]) == 1)
    network.transcoder(o, SECRET)
    wait_until(lambda: len(o.status()["workers"]) == 2)
    frozen.freeze()
    begun = time.monotonic()
    wait_until(lambda: [w["state"] for w in o.status()["workers"]] == ["silent", "ready"],
               text="the frozen worker to be told silent")
    print(f"a frozen worker is noticed after {time.monotonic() - begun:.1f} s")
    assert time.monotonic() - begun < 3 * SLOW
    gateway = GatewayPeer(o.service)
    assert not gateway.send(gateway.token(), segments[0], 0).error
    gateway.close()
    assert o.status()["workers"][1]["done"] == 1, "the other one is asked"
    frozen.thaw()
    wait_until(lambda: [w["state"] for w in o.status()["workers"]] == ["ready", "ready"])


def test_local_worker_stopped_without_work_is_replaced(local):
    pid = child_named(local, "transcoder")
    os.kill(pid, signal.SIGSTOP)
    local.wait_log("was stopped by somebody: it is ended and started again", 5)
    wait_until(lambda: child_named(local, "transcoder") not in (pid, None))
    local.wait_ready()


def codec_child(worker):
    """The process that transcodes for the worker's only stream: a child of leat-codec's template."""
    for pid in worker.children():
        parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        if parent != worker.pid and b"leat-codec" in open(f"/proc/{pid}/cmdline", "rb").read():
            return pid
    return None


def test_segment_that_nobody_wants_any_more_ends_in_the_codec_too(network, segments):
    """The gateway gives up in mid-segment. The codec hangs (stopped), so only its end by hand
    makes room again before the deadline."""
    o = network.bare_orchestrator(SECRET)
    worker = network.transcoder(o, SECRET)
    o.wait_ready()
    gateway = GatewayPeer(o.service)
    token = gateway.token()
    assert not gateway.send(token, segments[0], 0).error
    child = codec_child(worker)
    os.kill(child, signal.SIGSTOP)
    unwanted = gateway.post(gateway.seg_data(token, segments[1], 1), segments[1])
    wait_until(lambda: worker.status()["running"] == 1)
    begun = time.monotonic()
    unwanted.reset()
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), text="the codec to end")
    wait_until(lambda: worker.status()["running"] == 0, text="the worker to be idle")
    assert time.monotonic() - begun < DEADLINE / 2
    result = gateway.send(token, segments[2], 2)
    assert not result.error and len(result.data.segments) == 2
    assert [w["state"] for w in o.status()["workers"]] == ["ready"]
    gateway.close()


# --- stopping ---

def test_drain_refuses_new_sessions_and_finishes_what_runs(scene):
    worker = worker_of(scene.o)
    scene.begin()
    other = scene.gateway.token()
    stream = scene.send()
    notify = worker.notify()
    scene.o.signal(signal.SIGTERM)
    scene.o.wait_log("draining")
    status, text, _ = scene.gateway.info()
    assert status == 2 and "draining" in text
    refused = scene.gateway.post(scene.gateway.seg_data(other, MEDIA, manifest="new"), MEDIA)
    assert refused.status() == 403 and b"draining" in refused.read()
    worker.answer(notify)
    result = scene.result(stream)
    assert not result.error
    scene.run_one(worker)       # the running stream goes on
    scene.gateway.end_session(scene.token)
    scene.o.process.wait(timeout=10)
    assert scene.o.process.returncode == 0


def test_drain_of_an_idle_node_is_quick(network):
    o = network.orchestrator()
    begun = time.monotonic()
    o.signal(signal.SIGTERM)
    o.process.wait(timeout=10)
    assert time.monotonic() - begun < 2 * SLOW and o.process.returncode == 0
