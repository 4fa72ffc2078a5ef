"""More work than the worker can do. The worker is played by the test, so how slow it is does not
depend on this machine: it takes one segment at a time and hands its source back as every
rendition, `pace` seconds later."""
import threading
import time

import pytest

from leatnet import LADDER, SLOW
from peers import Reset, WorkerPeer, wait_until

SECRET = "a secret of these tests"
SEGMENT = 2.0                       # seconds
DEADLINE = 10.0                     # of a live rendition: the playlist's window, less one
IN_FLIGHT = 4                       # segments of a stream, at most
LOAD = 22.0                         # seconds of overload
SMALL, LARGE = LADDER.split(",")


class SlowWorker(threading.Thread):
    """Stops at the end of a session, as workers do."""

    def __init__(self, orchestrator):
        super().__init__(daemon=True)
        self.peer = WorkerPeer(orchestrator.service, SECRET)
        self.pace, self.done, self.wasted = 0, 0, 0
        self.todo, self.changed, self.closed = [], threading.Condition(), False
        threading.Thread(target=self.listen, daemon=True).start()
        self.start()

    def listen(self):
        try:
            while notify := self.peer.notify(3600):
                self.take(notify)
        except Reset:
            assert self.closed, "the orchestrator cut the worker off"

    def take(self, notify):
        with self.changed:
            session = notify.seg_data.auth_token.session_id
            if notify.url:
                self.todo.append(notify)
            else:
                self.todo = [n for n in self.todo if n.seg_data.auth_token.session_id != session]
            self.changed.notify()

    def work(self, notify):
        """False: nobody wants it any more."""
        status, _, source = self.peer.source(notify)
        begun = time.monotonic()
        while (left := begun + self.pace - time.monotonic()) > 0 and notify in self.todo:
            self.changed.wait(left)
        if status != 200 or notify not in self.todo:
            return False
        self.todo.remove(notify)
        self.peer.post(notify.task_id, [("video/mp2t", 1000, source)] * 2)
        return True

    def run(self):
        with self.changed:
            while not self.closed:
                if not self.todo:
                    self.changed.wait()
                elif self.work(self.todo[0]):
                    self.done += 1
                else:
                    self.wasted += 1

    def set_pace(self, pace):
        with self.changed:
            self.pace = pace
            self.changed.notify()

    def close(self):
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.peer.close()


class Watch(threading.Thread):
    """How far the renditions are behind, what is held for them, and why some are missing."""

    def __init__(self, gateway, orchestrator, names):
        super().__init__(daemon=True)
        self.gateway, self.orchestrator, self.names = gateway, orchestrator, names
        self.behind, self.held, self.in_flight = 0, 0, 0
        self.reasons = {name: {} for name in names}
        self.done = threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.1):
            self.held = max(self.held, self.orchestrator.status()["held_bytes"])
            for stream in self.gateway.status()["streams"]:
                last = {r["name"]: r["last_segment"] for r in stream["renditions"]}
                self.behind = max(self.behind, last["source"] - min(last.values()))
                self.in_flight = max(self.in_flight, stream["in_flight"])
                for trouble in reversed(stream["troubles"]):
                    self.reasons[stream["name"]][trouble["segment"]] = trouble["text"]

    def stop(self):
        self.done.set()
        self.join(timeout=15)


@pytest.mark.parametrize("streams,pace", [(2, 1.5), (1, 7.0)])
def test_overload_is_bounded_and_ends_with_the_load(network, clips, streams, pace):
    """Fault: segments are sent in their turn, each too late, so that none is ready in time
    although the worker works without a pause."""
    orchestrator = network.bare_orchestrator(SECRET)
    worker = SlowWorker(orchestrator)
    wait_until(lambda: orchestrator.status()["workers"], text="the worker to be here")
    gateway = network.gateway(orchestrator)
    names = [f"s{i}" for i in range(streams)]
    for name in names:
        gateway.publish(name, ["-i", str(clips["long"]), "-c", "copy"])
    for name in names:
        gateway.wait_segments(2, name, LARGE)
    sources, renditions = [{name: network.viewer(gateway, name=name, rendition=r)
                            for name in names} for r in ("source", SMALL)]
    watch = Watch(gateway, orchestrator, names)
    before = worker.done
    worker.set_pace(pace)
    time.sleep(LOAD)
    done = worker.done - before
    last = {name: gateway.playlist(name).segments[-1]["n"] for name in names}
    worker.set_pace(0)
    for name in names:
        gateway.wait_segments(last[name] + 6, name, LARGE)
    watch.stop()
    for v in [*sources.values(), *renditions.values()]:
        v.stop()
    worker.close()

    gaps = {name: v.gaps for name, v in renditions.items()}
    print(f"\n{streams} streams, {pace} s a segment: {done} done, {worker.wasted} in vain, at most "
          f"{watch.behind} behind and {watch.held} bytes at the orchestrator; lost {gaps}")
    assert done >= LOAD / pace / 2, "the worker works for what can be ready in time"
    assert worker.wasted <= 2
    assert watch.behind <= DEADLINE / SEGMENT + 1
    assert watch.in_flight <= IN_FLIGHT
    largest = max(len(media) for v in sources.values() for media in v.got.values())
    assert watch.held <= streams * IN_FLIGHT * largest
    for name in names:
        assert sources[name].longest_wait() < SEGMENT + 1.5 * SLOW and not sources[name].gaps
        assert gaps[name], "it is an overload"
        assert max(gaps[name]) <= last[name] + 2, "whole again within two segments"
        for n in gaps[name]:
            assert any(word in watch.reasons[name].get(n, "")
                       for word in ("skipped: ", "no rendition within", "timeout")), n
