"""-authWebhookUrl: a real HTTP server says which streams may begin and as what; RTMP publishers
and pushes, the header beside it, and webhooks that are slow, dead or talk nonsense."""
import http.server
import json
import socket
import threading
import time

import pytest

from leatnet import LADDER, fetch, wait_for
from peers import WorkerPeer

SMALL = {"name": "small", "width": 160, "height": 90, "bitrate": 100000, "fps": 15}


class Hook:
    """answers: part of a URL -> (status, body as JSON or bytes), or a function that gives it."""

    def __init__(self):
        self.asked, self.answers, self.release = [], {}, threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.asked.append((body, self.headers["content-type"], self.command))
                answer = next((a for part, a in hook.answers.items() if part in body["url"]),
                              (200, b""))
                status, text = answer() if callable(answer) else answer
                text = text if isinstance(text, bytes) else json.dumps(text).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                try:
                    self.wfile.write(text)
                except OSError:
                    pass                              # the node hangs up on a huge answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/auth"

    def urls(self, part):
        return [body["url"] for body, _, _ in self.asked if part in body["url"]]

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def hook():
    h = Hook()
    yield h
    h.close()


@pytest.fixture(scope="module")
def gateway(shared_network, hook):
    orchestrator = shared_network.orchestrator("-maxSessions", "40")
    return shared_network.gateway(orchestrator,
                                  flags=["-maxSessions", "60", "-authWebhookUrl", hook.url])


@pytest.fixture(scope="module")
def copying(clips):
    return ["-i", str(clips["long"]), "-c", "copy"]


def names(gateway, stream):
    return {r["name"] for r in gateway.stream(stream)["renditions"]} - {"source"}


def refused(gateway, publisher, pattern):
    publisher.process.wait(timeout=20)
    return gateway.wait_log(pattern)


def test_what_the_webhook_is_told(gateway, hook, copying, segments):
    gateway.publish("told/key?a=b&c=%20d", copying)
    gateway.wait_segments(1, "told")
    assert hook.urls("/told") == [f"rtmp://{gateway.rtmp}/live/told/key?a=b&c=%20d"]
    for n in range(2):
        assert gateway.push("told-push", n, segments[n])[0] == 200
    assert hook.urls("told-push") == [f"http://{gateway.http}/live/told-push/0.ts"], "once a stream"
    body, kind, method = hook.asked[0]
    assert (list(body), kind, method) == (["url"], "application/json", "POST")


def test_an_empty_answer_allows_with_the_gateways_renditions(gateway, hook, segments):
    assert gateway.push("plain", 0, segments[0])[0] == 200
    assert names(gateway, "plain") == set(LADDER.split(","))


def test_rtmp_by_the_webhooks_word(gateway, hook, copying):
    hook.answers["/secret-a"] = 200, {"manifestID": "show", "streamKey": "k1", "streamID": "x",
                                      "presets": ["P144p30fps16x9", "Nonsense"],
                                      "profiles": [SMALL], "verificationFreq": 2}
    first = gateway.publish("secret-a", copying)
    gateway.wait_segments(1, "show", "small")
    assert names(gateway, "show") == {"P144p30fps16x9", "small"}
    troubles = [t["text"] for t in gateway.stream("show")["troubles"]]
    assert any('unknown presets are skipped: "Nonsense"' in t for t in troubles), troubles
    assert any("verificationFreq 2" in t for t in troubles), troubles
    assert "secret-a" not in {s["name"] for s in gateway.status()["streams"]}
    gateway.publish("secret-a", copying)          # the same key: takes over
    gateway.wait_log("stream=show another publisher with the same key takes over")
    hook.answers["/secret-b"] = 200, {"manifestID": "show", "streamKey": "other"}
    refused(gateway, gateway.publish("secret-b", copying), "stream=show a second publisher from")
    assert gateway.stream("show")["state"] == "live"
    first.stop()


def test_an_empty_list_of_profiles_means_no_transcoding(gateway, hook, segments):
    hook.answers["/bare"] = 200, {"manifestID": "bare-id", "profiles": []}
    status, _, body = gateway.push("bare", 0, segments[0], Accept="multipart/mixed")
    assert (status, body) == (200, b"")
    assert names(gateway, "bare-id") == set()


@pytest.mark.parametrize("name,answer,says", [
    ("no", (403, b"key expired"), "refused it: status=403 error=key expired"),
    ("broken", (500, b"trace with secrets"), "answered status 500, 200 is expected"),
    ("odd", (204, b""), "answered status 204, 200 is expected"),
    ("nameless", (200, {"presets": []}), "empty manifest id not allowed"),
    ("text", (200, b"hello"), "answer: no JSON: line 1"),
    ("list", (200, [1]), "answer: expected an object, got an array"),
    ("deep", (200, b"[" * 100000), "answer: JSON is nested deeper than 32 levels"),
    ("store", (200, {"manifestID": "s", "objectStore": "s3://k:s@r/b"}),
     'field "objectStore": this version of leat stores no streams'),
    ("record", (200, {"manifestID": "s", "recordObjectStore": "s3://k:s@r/b"}),
     'field "recordObjectStore": this version of leat stores no streams'),
    ("size", (200, {"manifestID": "s", "profiles": [{**SMALL, "width": 99999}]}),
     'field "profiles": profile 0: field "width": expected -16384 to 16384, got 99999'),
])
def test_refusals(gateway, hook, copying, segments, name, answer, says):
    hook.answers[f"/bad-{name}"] = answer
    status, _, body = gateway.push(f"bad-{name}", 0, segments[0])
    assert status == 403
    assert body.decode().startswith(f"Could not create stream ID: url=/live/bad-{name}/0.ts: ")
    assert says in body.decode() and "secrets" not in body.decode()
    publisher = gateway.publish(f"bad-{name}", copying)
    wait_for(lambda: len(hook.urls(f"/bad-{name}")) == 2, 20, "the webhook to be asked again")
    assert publisher.process.wait(timeout=20) != 0
    assert not {f"bad-{name}", "s"} & {s["name"] for s in gateway.status()["streams"]}


def test_a_huge_answer_is_refused(gateway, hook, segments):
    hook.answers["/huge"] = 200, b" " * (300 * 1024)
    status, _, body = gateway.push("huge", 0, segments[0])
    assert status == 403 and b"the auth webhook could not be asked" in body
    assert hook.url.encode() not in body, "strangers need not know where it is"


def test_the_header_beside_the_webhook(gateway, hook, segments):
    def push(name, header):
        return gateway.push(name, 0, segments[0],
                            Livepeer_Transcode_Configuration=json.dumps(header))

    hook.answers["/both"] = 200, {"manifestID": "by-hook", "presets": ["P240p30fps16x9"],
                                  "profiles": [SMALL]}
    status, _, body = push("both-1", {"manifestID": "by-header"})
    assert status == 500 and b"header Livepeer-Transcode-Configuration (0) are not those" in body
    assert push("both-2", {"manifestID": "by-header", "profiles": [SMALL]})[0] == 200
    assert names(gateway, "by-header") == {"small"}, "the header replaces the whole object"
    assert push("both-3", {"profiles": [SMALL]})[0] == 200
    assert names(gateway, "both-3") == {"small"}, "no manifestID in the header: the URL decides"
    status, _, body = push("both-4", {"manifestID": "by-header", "profiles": [SMALL]})
    assert status == 500 and b"in use by another URL's stream" in body


def test_a_new_url_of_one_name_ends_the_old_stream(gateway, hook, segments):
    hook.answers["/take-"] = 200, {"manifestID": "taken"}
    assert gateway.push("take-1", 0, segments[0])[0] == 200
    assert gateway.push("take-1", 1, segments[1])[0] == 200
    assert len(hook.urls("/take-1")) == 1, "the URL's name is remembered"
    assert gateway.push("take-2", 0, segments[2])[0] == 200
    gateway.wait_log("stream=taken ended after 2 segments")
    assert gateway.stream("taken")["segments"] == 1
    assert gateway.push("taken", 5, segments[3])[0] == 200
    assert len(hook.urls("/live/taken/")) == 1, "its inner name is no way around the webhook"


def test_a_slow_webhook_delays_its_own_stream_only(gateway, hook, copying, segments):
    def slow():
        assert hook.release.wait(9)
        return 200, {"manifestID": "late"}

    hook.answers["/slow"] = slow
    got = []
    pusher = threading.Thread(
        target=lambda: got.append(gateway.push("slow-push", 0, segments[0])[0]))
    pusher.start()
    wait_for(lambda: hook.urls("/slow-push"), 10, "the webhook to be asked")
    leaving = gateway.publish("slow-gone", copying)
    wait_for(lambda: hook.urls("/slow-gone"), 10, "the webhook to be asked")
    leaving.cut()                                     # its call is dropped with it
    begun = time.monotonic()
    assert gateway.push("quick", 0, segments[0])[0] == 200
    assert fetch(gateway.url("/healthz")) == b""
    assert time.monotonic() - begun < 8 and not got
    hook.release.set()
    pusher.join(timeout=20)
    assert got == [200] and gateway.stream("late")["segments"] == 1


def test_a_dead_webhook(shared_network, copying, segments):
    """Fault: nobody answers, and the publisher waits for ever, or gets on air unasked."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        gateway = shared_network.gateway(flags=["-authWebhookUrl", f"http://127.0.0.1:{port}/"])
        begun = time.monotonic()
        status, _, body = gateway.push("mute", 0, segments[0])
        assert status == 403 and b"the auth webhook did not answer within 10 s" in body
        assert time.monotonic() - begun >= 9
    status, _, body = gateway.push("closed", 0, segments[0])
    assert status == 403 and b"the auth webhook could not be asked" in body
    publisher = gateway.publish("closed-rtmp", copying)
    assert publisher.process.wait(timeout=20) != 0
    gateway.wait_log("stream=closed-rtmp may not begin: the auth webhook could not be asked: http")
    assert gateway.status()["streams"] == []


def push_into_the_stop(gateway, body):
    try:
        gateway.push("stopping-push", 0, body)
    except OSError:
        pass                                          # the connection may just be closed


def test_stopping_while_a_webhook_is_asked(shared_network, hook, copying, segments):
    hook.release.clear()
    hook.answers["/stopping"] = lambda: (hook.release.wait(9), (200, b""))[1]
    gateway = shared_network.gateway(flags=["-authWebhookUrl", hook.url])
    pusher = threading.Thread(target=push_into_the_stop, args=(gateway, segments[0]), daemon=True)
    gateway.publish("stopping-rtmp", copying)
    pusher.start()
    wait_for(lambda: len(hook.urls("/stopping")) == 2, 10, "both to be asked about")
    gateway.stop()
    hook.release.set()
    assert gateway.process.returncode == 0


def test_what_only_the_header_may_ask_for(shared_network, hook, segments):
    """forceSessionReinit reaches the worker with the segment it came with; a webhook's does not."""
    orchestrator = shared_network.bare_orchestrator("reinit-secret")
    worker = WorkerPeer(orchestrator.service, "reinit-secret")
    orchestrator.wait_log("joined with capacity")
    hook.answers["/reinit"] = 200, {"manifestID": "reinit", "forceSessionReinit": True}
    gateway = shared_network.gateway(orchestrator, flags=["-authWebhookUrl", hook.url])
    try:
        for n, header in enumerate([{}, {"forceSessionReinit": True}, {"timeoutMultiplier": 2}]):
            pusher = threading.Thread(target=gateway.push, args=("reinit", n, segments[n]), kwargs={
                "Livepeer_Transcode_Configuration": json.dumps(header)} if header else {})
            pusher.start()
            notify = worker.notify()
            assert notify.seg_data.seq == n
            assert notify.seg_data.force_session_reinit == ("forceSessionReinit" in header)
            worker.post(notify.task_id, [("video/mp2t", 100, segments[n])] * 2)
            pusher.join(timeout=30)
    finally:
        worker.close()


def test_renditions_as_json_text(shared_network, segments):
    gateway = shared_network.gateway(ladder=json.dumps([SMALL]))
    assert gateway.push("json", 0, segments[0])[0] == 503, "no orchestrator is known"
    assert names(gateway, "json") == {"small"}


def test_the_headers_timeout_multiplier(shared_network, segments):
    """A frozen orchestrator is given up after 2 s without a word; three times as long if asked."""
    orchestrator = shared_network.orchestrator()
    gateway = shared_network.gateway(orchestrator, flags=["-maxAttempts", "1"])
    header = {"Livepeer_Transcode_Configuration": json.dumps({"timeoutMultiplier": 3})}
    assert gateway.push("patient", 0, segments[0], **header)[0] == 200
    orchestrator.freeze()
    begun = time.monotonic()
    assert gateway.push("patient", 1, segments[1])[0] != 200, "it holds for the whole stream"
    assert time.monotonic() - begun >= 5
