"""An orchestrator between a gateway and workers that a test plays by hand: what it says on the
wire, against recordings of the reference (tests/vectors/offchain)."""
import base64
import http.client
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error

import pytest

from leatnet import ROOT, SANITIZED, fetch, free_port
from peers import (GRPC, H2, LADDER, VECTORS, GatewayPeer, Reset, WorkerPeer, get, headers_of,
                   keccak, pb, wait_until)

SECRET = "matrix-secret"
MEDIA = b"\x47" + bytes(range(256)) * 40
UPLOAD = 8.0    # seconds that a segment of 2 s may take to come


@pytest.fixture
def orchestrator(network):
    """One that takes remote workers; the test plays them."""
    return network.bare_orchestrator(SECRET)


@pytest.fixture
def worker(orchestrator):
    w = WorkerPeer(orchestrator.service, SECRET)
    wait_until(lambda: len(orchestrator.status()["workers"]) == 1, text="the worker to be here")
    yield w
    w.close()


@pytest.fixture
def gateway(orchestrator):
    g = GatewayPeer(orchestrator.service)
    yield g
    g.close()


def another_worker(orchestrator, **more):
    n = len(orchestrator.status()["workers"])
    w = WorkerPeer(orchestrator.service, SECRET, **more)
    wait_until(lambda: len(orchestrator.status()["workers"]) == n + 1, text="another worker")
    return w


# --- quotes ---

GOODBYE = 9 + 8 + len("client transport shutdown")  # the recorded client's last frame


def test_recorded_gateway_gets_its_quote(orchestrator, worker):
    """Its connection's bytes as they are: grpc-go's preface, request, PING, and good-bye."""
    recorded = (ROOT / "tests/vectors/h2/get-orchestrator.h2.c2s.bin").read_bytes()
    peer = H2(orchestrator.service, silent=True)
    stream = peer.expect(1)
    peer.socket.sendall(recorded[:-GOODBYE])
    body = stream.read()
    peer.socket.sendall(recorded[-GOODBYE:])
    wait_until(lambda: peer.closed, text="the connection to be closed")
    want = dict(headers_of("get-orchestrator.response-headers.txt"))
    assert stream.headers[":status"] == want[":status"]
    assert stream.headers["content-type"] == want["content-type"]
    assert stream.trailers["grpc-status"] == want["grpc-status"] == "0"
    assert pb.OrchestratorInfo.FromString(body[5:]).auth_token.session_id


def test_recorded_worker_registers(orchestrator):
    recorded = (ROOT / "tests/vectors/h2/register-transcoder.h2.c2s.bin").read_bytes()
    peer = H2(orchestrator.service, silent=True)
    stream = peer.expect(1)
    peer.socket.sendall(recorded)
    workers = wait_until(lambda: orchestrator.status()["workers"], text="the worker to be here")
    assert (workers[0]["capacity"], workers[0]["version"]) == (10, "0.9.1")
    gateway = GatewayPeer(orchestrator.service)
    gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA)
    assert pb.NotifySegment.FromString(stream.message()).seg_data.manifest_id == b"movie"
    want = dict(headers_of("register-transcoder.notify-headers.txt"))
    assert stream.headers[":status"] == want[":status"]
    assert stream.headers["content-type"] == want["content-type"]
    gateway.close()
    peer.close()
    wait_until(lambda: not orchestrator.status()["workers"], text="the worker to be gone")


def test_quote_has_the_recorded_form(orchestrator, worker, gateway):
    recorded = json.loads((VECTORS / "get-orchestrator.response.json").read_text())
    status, _, info = gateway.info()
    assert status == 0
    assert info.transcoder == f"https://{orchestrator.service}"
    assert info.address == bytes(20) == base64.b64decode(recorded["address"])
    assert not info.ticket_params and not info.price_info and not info.nodes
    assert len(info.auth_token.token) == len(base64.b64decode(recorded["auth_token"]["token"]))
    assert len(info.auth_token.session_id) == 8 and int(info.auth_token.session_id, 16) >= 0
    assert abs(info.auth_token.expiration - time.time() - 1800) < 30
    caps = info.capabilities
    assert caps.constraints.min_version == caps.version, "as recorded"
    capacities = {c.key: c.value for c in caps.capacities}
    assert capacities[0] == recorded["capabilities"]["capacities"]["0"], "own set and worker's"
    assert capacities[17] == recorded["capabilities"]["capacities"]["17"], "only the worker's"
    worker.close()
    wait_until(lambda: not orchestrator.status()["workers"])


def test_each_quote_names_a_session_of_its_own(worker, gateway):
    assert gateway.token().session_id != gateway.token().session_id


def test_poll_without_capabilities_is_answered(worker, gateway):
    status, _, info = gateway.info(capabilities=False)
    assert status == 0 and info.auth_token.token


def test_ping_off_chain_answers_an_empty_message(orchestrator, gateway):
    request = (VECTORS / "ping.request.pb").read_bytes()
    assert gateway.http.grpc("/net.Orchestrator/Ping", request) == (0, "", b"")


def test_unknown_method_is_unimplemented(gateway):
    assert gateway.http.grpc("/net.Orchestrator/Dance", b"")[0] == 12


def test_garbage_instead_of_messages_is_refused(orchestrator, gateway):
    for path in ("/net.Orchestrator/GetOrchestrator", "/net.Orchestrator/EndTranscodingSession",
                 "/net.Transcoder/RegisterTranscoder"):
        status, text, _ = gateway.http.grpc(path, b"\xff" * 50)
        assert status != 0 and text
    assert gateway.http.grpc("/net.Orchestrator/Ping", b"")[0] == 0, "it still works"


def test_self_check_reaches_the_service_address(orchestrator):
    """peers.md has it end the process; here a good address is never complained of."""
    time.sleep(2.6)
    assert "cannot reach" not in orchestrator.log


def test_wrong_service_address_is_said_at_readyz(network):
    o = network.orchestrator("-serviceAddr", "127.0.0.1:1", "-httpAddr",
                             f"127.0.0.1:{free_port()}", ready=False)
    o.wait_log("gateways cannot reach this node at https://127.0.0.1:1")
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(f"http://{o.admin}/readyz")
    assert b"-serviceAddr" in error.value.read()


# --- the session limit ---

def test_capped_as_recorded(network):
    o = network.bare_orchestrator(SECRET, "-maxSessions", "1")
    w, g = another_worker(o), GatewayPeer(o.service)
    token, second = g.token(), g.token()
    stream = g.post(g.seg_data(token, MEDIA), MEDIA)
    w.answer(w.notify())
    assert pb.TranscodeResult.FromString(stream.read()).data.segments
    recorded = dict(headers_of("get-orchestrator-capped.response-headers.txt"))
    assert g.info()[:2] == (int(recorded["grpc-status"]), recorded["grpc-message"])
    refused = g.post(g.seg_data(second, MEDIA, manifest="other"), MEDIA)
    assert refused.status() == 403 and refused.read() == b"OrchestratorCapped\n"
    assert "-maxSessions" in o.status()["refusals"][-1]["text"], "the remedy is told"
    assert g.end_session(token)[0] == 0
    assert g.info()[0] == 0, "the place is free again"


def test_workers_capacity_limits_sessions_too(network):
    o = network.bare_orchestrator(SECRET)
    g = GatewayPeer(o.service)
    assert g.info()[:2] == (2, "Invalid orchestrator request: OrchestratorCapped")
    assert "no worker is here" in o.status()["refusals"][-1]["text"]
    another_worker(o, capacity=2)
    assert o.status()["max_sessions"] == 2 and g.info()[0] == 0


def test_auto_is_the_sum_of_capacities(network):
    o = network.bare_orchestrator(SECRET, "-maxSessions", "auto")
    a = another_worker(o, capacity=3)
    another_worker(o, capacity=4)
    assert o.status()["max_sessions"] == 7
    a.close()
    wait_until(lambda: o.status()["max_sessions"] == 4)


def test_refused_segments_take_no_place(orchestrator, worker, gateway):
    seg = gateway.seg_data(gateway.token(), MEDIA)
    assert gateway.post(seg, MEDIA + b"more").status() == 403
    wait_until(lambda: not orchestrator.status()["sessions"], text="no session to be left")
    assert orchestrator.status()["held_bytes"] == 0


def test_a_busy_session_is_not_replaced_by_a_namesake(orchestrator, worker, gateway):
    """Two gateways behind one address may both have a stream `movie`."""
    first, second = gateway.token(), gateway.token()
    for token in (first, second, first, second):
        stream = gateway.post(gateway.seg_data(token, MEDIA), MEDIA)
        worker.answer(worker.notify())
        assert not pb.TranscodeResult.FromString(stream.read()).error
    assert len(orchestrator.status()["sessions"]) == 2


# --- refusals, as recorded ---

REFUSALS = json.loads((VECTORS / "http-refusals.json").read_text())
OF_REMOTE = 6  # the last six: an orchestrator that takes remote workers


def request_of(case):
    name = case["case"]
    if name.startswith("transcodeResults") or case in REFUSALS[-OF_REMOTE:]:
        return "POST", "/transcodeResults", b"x"
    return {"unknown path": ("GET", "/nothing", None), "healthz": ("GET", "/healthz", None),
            "missing rendition": ("GET", "/stream/abcdefgh/P240p30fps16x9/0.ts", None)}.get(
                name, ("POST", "/segment", b"x"))


def check_refusal(o, case, tls=True):
    host, port = o.service.rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    c = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
    method, path, body = request_of(case)
    c.request(method, path, body, case["request_headers"])
    answer = c.getresponse()
    text = answer.read().decode()
    assert (answer.status, text) == (case["status"], case["body"])
    ours = {k.lower(): v for k, v in answer.getheaders()}
    for name, value in case["headers"].items():
        if name != "Date":
            assert ours.get(name.lower()) == value, name
    if "Content-Type" not in case["headers"]:
        assert "content-type" not in ours


@pytest.mark.parametrize("case", REFUSALS[:-OF_REMOTE], ids=lambda c: c["case"])
def test_recorded_refusal(network, case):
    check_refusal(network.orchestrator(), case)


@pytest.mark.parametrize("case", REFUSALS[-OF_REMOTE:], ids=lambda c: c["case"])
def test_recorded_refusal_of_results(orchestrator, case):
    check_refusal(orchestrator, case)


@pytest.mark.parametrize("payment,text", [
    ("CgA=", None), (base64.b64encode(b"\x12\x14" + bytes(20)).decode(), None),
    ("CgAA", "protobuf unmarshal error: proto: cannot parse invalid wire-format data"),
    ("Cg", "base64 decode error: illegal base64 data at input byte 0"),
    ("CgAAAAA", "base64 decode error: illegal base64 data at input byte 4"),
    ("Cg!A", "base64 decode error: illegal base64 data at input byte 2")])
def test_payment_header(worker, gateway, payment, text):
    seg = gateway.seg_data(gateway.token(), MEDIA)
    stream = gateway.post(seg, MEDIA, livepeer_payment=payment)
    if text:
        assert (stream.status(), stream.read().decode()) == (402, text + "\n")
    else:
        assert stream.status() == 200


def change(name, seg):
    if name == "profile format":
        seg.full_profiles[0].format = 7
    elif name == "encoder profile":
        seg.full_profiles[0].profile = 9
    elif name == "codec":
        seg.full_profiles[0].encoder = 5
    elif name in ("duration", "duration and token"):
        seg.duration = -1 if name == "duration" else 300001
    elif name == "capabilities":
        seg.capabilities.bitstring[0] |= 1 << 40
    elif name == "capabilities and token":
        seg.capabilities.bitstring.append(1)
    if name in ("token", "duration and token", "capabilities and token"):
        seg.auth_token.token = seg.auth_token.token[::-1]
    if name == "session id":
        seg.auth_token.session_id = "00000000"
    if name == "expiration":
        seg.auth_token.expiration += 1
    return seg


@pytest.mark.parametrize("name,text", [
    ("profile format", "unrecognized profile output format"),
    ("encoder profile", "unrecognized encoder profile"),
    ("codec", "unrecognized video codec"),
    ("duration", "invalid duration"),
    ("duration and token", "invalid duration"),
    ("capabilities", "incompatible capabilities"),
    ("capabilities and token", "incompatible capabilities"),
    ("token", "invalid auth token"),
    ("session id", "invalid auth token"),
    ("expiration", "invalid auth token")])
def test_credentials_are_checked_in_order(worker, gateway, name, text):
    seg = change(name, gateway.seg_data(gateway.token(), MEDIA))
    stream = gateway.post(seg, MEDIA)
    assert (stream.status(), stream.read().decode()) == (403, text + "\n")


def test_missing_token(worker, gateway):
    stream = gateway.post(gateway.seg_data(None, MEDIA), MEDIA)
    assert (stream.status(), stream.read()) == (403, b"missing auth token\n")


def test_other_bytes_than_the_credentials_name(worker, gateway):
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA[:-1])
    assert (stream.status(), stream.read()) == (403, b"Forbidden\n")


# --- a segment's way ---

def test_upload_is_acknowledged_before_the_work(worker, gateway):
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA)
    recorded = dict(headers_of("segment.response-headers.txt"))
    headers = stream.wait_headers()
    assert set(headers) == set(recorded) and headers[":status"] == recorded[":status"]
    notify = worker.notify()
    time.sleep(0.1)
    assert not stream.ended and not stream.body, "no result yet"
    worker.answer(notify)
    result = pb.TranscodeResult.FromString(stream.read())
    assert len(result.data.segments) == 2


def test_any_method_is_taken(orchestrator, worker, gateway):
    seg = gateway.seg_data(gateway.token(), MEDIA)
    header = base64.b64encode(seg.SerializeToString()).decode()
    stream = gateway.http.request("PUT", "/segment", [("livepeer-segment", header)], MEDIA)
    assert stream.status() == 200


def test_result_has_the_recorded_form(orchestrator, worker, gateway):
    token = gateway.token()
    stream = gateway.post(gateway.seg_data(token, MEDIA, seq=7), MEDIA)
    worker.answer(worker.notify(), b"r")
    result = pb.TranscodeResult.FromString(stream.read())
    assert result.seq == 7 and not result.error and not result.data.sig
    assert [s.url for s in result.data.segments] == [
        f"https://{orchestrator.service}/stream/{token.session_id}/{p[0]}/7.ts" for p in LADDER]
    assert [s.pixels for s in result.data.segments] == [100, 101]
    assert result.info.auth_token == token, "the token that came is echoed"
    assert result.info.address == bytes(20) and result.info.capabilities.bitstring
    for i, s in enumerate(result.data.segments):
        status, headers, body = get(s.url)
        assert (status, body) == (200, b"r" * (1000 + i))
        recorded = (VECTORS / "get-rendition.response-head.txt").read_text().lower()
        for name in ("access-control-allow-origin", "access-control-expose-headers",
                     "cache-control"):
            assert f"{name}: {headers[name].lower()}" in recorded
        assert headers["content-type"] == "video/mp2t"


def test_notification_as_recorded(orchestrator, worker, gateway):
    """The recorded segments of the reference's gateway become the recorded notifications."""
    for segment, number in (("segment", 0), ("segment-slice", 2)):
        token = gateway.token()
        seg = pb.SegData.FromString((VECTORS / f"{segment}.segdata.pb").read_bytes())
        seg.auth_token.CopyFrom(token)
        seg.hash = keccak(MEDIA)
        stream = gateway.post(seg, MEDIA)
        got = worker.notify()
        want = pb.NotifySegment.FromString(
            (VECTORS / f"register-transcoder.notify-{number}.pb").read_bytes())
        assert got.url == (f"https://{orchestrator.service}/stream/{token.session_id}/"
                           f"{want.seg_data.seq}.tempfile")
        want.url, want.task_id = got.url, got.task_id
        want.seg_data.auth_token.CopyFrom(token)
        for message in got, want:  # a map has no order on the wire
            message.seg_data.capabilities.capacities.sort(key=lambda c: c.key)
        assert got == want
        worker.answer(got)
        stream.read()


@pytest.mark.parametrize("name", ["full", "mp4", "rtmp"])
def test_other_forms_as_recorded(orchestrator, worker, gateway, name):
    token = gateway.token()
    seg = pb.SegData.FromString((VECTORS / f"segment-{name}.segdata.pb").read_bytes())
    seg.auth_token.CopyFrom(token)
    seg.hash = keccak(MEDIA)
    gateway.post(seg, MEDIA)
    got = worker.notify()
    want = pb.NotifySegment.FromString((VECTORS / f"notify-{name}.pb").read_bytes())
    for field in ("full_profiles", "full_profiles2", "full_profiles3"):
        assert getattr(got.seg_data, field) == getattr(seg, field)
    assert got.seg_data.capabilities.bitstring == want.seg_data.capabilities.bitstring
    assert got.orch_id == want.orch_id and got.profiles == want.profiles


def test_first_task_id_is_zero_and_left_out(worker, gateway):
    gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA)
    assert worker.notify().task_id == 0


def test_source_is_there_while_the_task_runs(worker, gateway):
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA)
    notify = worker.notify()
    status, headers, body = worker.source(notify)
    assert (status, body) == (200, MEDIA)
    assert headers["cache-control"] == "max-age=5"
    worker.answer(notify)
    stream.read()
    assert worker.source(notify)[0] == 404


def test_mp4_renditions_keep_their_name_and_type(orchestrator, worker, gateway):
    seg = gateway.seg_data(gateway.token(), MEDIA, ladder=[])
    seg.full_profiles2.add(name="hoch format?", width=90, height=160, bitrate=9000, format=1)
    seg.capabilities.bitstring[0] |= 4
    stream = gateway.post(seg, MEDIA)
    notify = worker.notify()
    worker.post(notify.task_id, [("video/mp4", 5, b"m" * 99)])
    result = pb.TranscodeResult.FromString(stream.read())
    url = result.data.segments[0].url
    assert url.endswith("/hoch%20format%3F/0.mp4")
    status, headers, body = get(url)
    assert (status, body, headers["content-type"]) == (200, b"m" * 99, "video/mp4")
    assert dict(r.split(": ", 1) for r in (VECTORS / "get-rendition-mp4.response-head.txt")
                .read_text().splitlines()[1:] if r)["Content-Type"] == headers["content-type"]


def test_twelve_results_are_kept(worker, gateway):
    token, urls = gateway.token(), []
    for seq in range(13):
        stream = gateway.post(gateway.seg_data(token, MEDIA, seq), MEDIA)
        worker.answer(worker.notify())
        urls.append(pb.TranscodeResult.FromString(stream.read()).data.segments[0].url)
    assert [get(u)[0] for u in urls] == [404] + 12 * [200]


def test_perceptual_hashes_are_passed_on(worker, gateway):
    seg = gateway.seg_data(gateway.token(), MEDIA, calc_perceptual_hash=True)
    stream = gateway.post(seg, MEDIA)
    notify = worker.notify()
    assert notify.seg_data.calc_perceptual_hash
    worker.post(notify.task_id, [("video/mp2t", 5, b"a" * 50),
                                 ("application/octet-stream", None, b"hash a"),
                                 ("video/mp2t", 6, b"b" * 50),
                                 ("application/octet-stream", None, b"hash b")])
    rows = pb.TranscodeResult.FromString(stream.read()).data.segments
    assert [get(r.perceptual_hash_url)[2] for r in rows] == [b"hash a", b"hash b"]
    assert rows[0].perceptual_hash_url == rows[0].url + ".phash"


def test_segments_of_a_session_run_one_after_another(worker, gateway):
    token = gateway.token()
    streams = [gateway.post(gateway.seg_data(token, MEDIA, seq), MEDIA) for seq in range(5)]
    assert all(s.status() == 200 for s in streams)
    sixth = gateway.post(gateway.seg_data(token, MEDIA, 5), MEDIA)
    assert pb.TranscodeResult.FromString(sixth.read()).error == "OrchestratorBusy"
    for seq, stream in enumerate(streams):
        notify = worker.notify()
        assert notify.seg_data.seq == seq
        worker.answer(notify)
        assert pb.TranscodeResult.FromString(stream.read()).seq == seq


def test_end_of_session(orchestrator, worker, gateway):
    token = gateway.token()
    stream = gateway.post(gateway.seg_data(token, MEDIA), MEDIA)
    worker.answer(worker.notify())
    url = pb.TranscodeResult.FromString(stream.read()).data.segments[0].url
    assert gateway.end_session(token) == (0, "", b"")
    want = pb.NotifySegment.FromString((VECTORS / "notify-teardown.pb").read_bytes())
    want.seg_data.auth_token.session_id = token.session_id
    got = worker.notify()
    assert got.url == "" and got.seg_data.auth_token == want.seg_data.auth_token
    assert get(url)[0] == 404
    assert not orchestrator.status()["sessions"]


def test_end_of_a_session_with_a_wrong_token(worker, gateway):
    token = gateway.token()
    token.token = bytes(32)
    assert gateway.end_session(token)[:2] == (2, "Invalid auth token")


# --- a URI instead of media ---

class Address(str):
    go_on = None


@pytest.fixture
def store():
    """An HTTP store with one object, and what it was asked."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path in ("/seg.ts", "/slow.ts")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(MEDIA) if found else 0))
            self.end_headers()
            half = len(MEDIA) // 2 if found else 0
            self.wfile.write(MEDIA[:half])
            if self.path == "/slow.ts":
                go_on.wait(3)
            self.wfile.write(MEDIA[half:] if found else b"")

        def log_message(self, *_):
            pass

    go_on = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = Address(f"http://127.0.0.1:{server.server_port}")
    address.go_on = go_on
    yield address
    server.shutdown()


def test_uri_bodies_are_fetched(worker, gateway, store):
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), f"{store}/seg.ts".encode(),
                          content_type="application/vnd+livepeer.uri")
    notify = worker.notify()
    assert worker.source(notify)[2] == MEDIA
    worker.answer(notify)
    assert not pb.TranscodeResult.FromString(stream.read()).error


@pytest.mark.parametrize("body,answer", [
    (b"/missing.ts", (400, b"BadRequest\n")), (b"no url at all", (400, b"BadRequest\n"))])
def test_uri_bodies_that_cannot_be_fetched(worker, gateway, store, body, answer):
    body = store.encode() + body if body.startswith(b"/") else body
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), body,
                          content_type="application/vnd+livepeer.uri")
    assert (stream.status(), stream.read()) == answer


def test_uri_bodies_are_counted_as_they_come(orchestrator, worker, gateway, store):
    """Fault: bodies that are being fetched fill the memory uncounted, each up to its own limit."""
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), f"{store}/slow.ts".encode(),
                          content_type="application/vnd+livepeer.uri")
    wait_until(lambda: len(MEDIA) // 2 <= orchestrator.status()["held_bytes"] < len(MEDIA),
               text="the first half to be counted")
    store.go_on.set()
    worker.answer(worker.notify())
    assert not pb.TranscodeResult.FromString(stream.read()).error


def test_uri_of_other_bytes(worker, gateway, store):
    stream = gateway.post(gateway.seg_data(gateway.token(), b"other"), f"{store}/seg.ts".encode(),
                          content_type="application/vnd+livepeer.uri")
    assert (stream.status(), stream.read()) == (403, b"Forbidden\n")


# --- strangers ---

def test_uploads_that_stall_or_vanish_hold_nothing(orchestrator, worker, gateway):
    token = gateway.token()
    stalled = [gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA[:100],
                            connection=gateway.fresh(), content_length=str(len(MEDIA)))
               for _ in range(3)]
    for s in stalled[:2]:
        s.connection.close()
    stream = gateway.post(gateway.seg_data(token, MEDIA), MEDIA)
    worker.answer(worker.notify())
    assert not pb.TranscodeResult.FromString(stream.read()).error
    stalled[2].connection.close()
    wait_until(lambda: orchestrator.status()["held_bytes"] == 0, text="held bytes to go")
    wait_until(lambda: len(orchestrator.status()["sessions"]) == 1)


def test_upload_that_trickles_is_ended(orchestrator, worker, gateway):
    """Fault: a byte now and then holds a place and memory for hours."""
    other = gateway.fresh()
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA[:1000], other, end=False)
    begun, answer = time.monotonic(), None
    while answer is None and time.monotonic() - begun < UPLOAD + 5:
        stream.send(b"x")
        try:
            answer = stream.status(0.1)
        except TimeoutError:
            pass
    assert answer == 408 and stream.read() == b"Request Timeout\n"
    assert UPLOAD - 0.5 < time.monotonic() - begun < UPLOAD + 2
    with pytest.raises(Reset):
        stream._take(5)
    wait_until(lambda: orchestrator.status()["held_bytes"] == 0)
    assert "the body did not come within 8000 ms" in orchestrator.status()["refusals"][0]["text"]
    assert not orchestrator.status()["sessions"], "it has no place either"


def close_connection(connection, streams):
    connection.close()


def reset_streams(connection, streams):
    for s in reversed(streams):
        s.reset()


@pytest.mark.parametrize("leave", [close_connection, reset_streams])
def test_gateway_that_leaves_frees_queue_and_worker(orchestrator, worker, gateway, leave):
    token = gateway.token()
    other = gateway.fresh()
    streams = [gateway.post(gateway.seg_data(token, MEDIA, 0), MEDIA, connection=other)]
    first = worker.notify()
    streams.append(gateway.post(gateway.seg_data(token, MEDIA, 1), MEDIA, connection=other))
    wait_until(lambda: orchestrator.status()["sessions"][0]["waiting"] == 2)
    leave(other, streams)
    stop = worker.notify()
    assert stop.url == "" and stop.seg_data.auth_token.session_id == token.session_id
    wait_until(lambda: orchestrator.status()["sessions"][0]["waiting"] == 0)
    assert orchestrator.status()["held_bytes"] == 0
    assert worker.source(first)[0] == 404, "it need not be fetched any more"
    assert worker.answer(first) == (200, b"OK"), "nobody wants it, which is no error"
    stream = gateway.post(gateway.seg_data(token, MEDIA, 2), MEDIA)
    notify = worker.notify()
    assert notify.seg_data.seq == 2, "the one that waited was never given to it"
    worker.answer(notify)
    assert not pb.TranscodeResult.FromString(stream.read()).error


def test_gateway_that_gives_up_a_waiting_segment_stops_nothing_else(orchestrator, worker, gateway):
    token = gateway.token()
    running, waiting = [gateway.post(gateway.seg_data(token, MEDIA, seq), MEDIA)
                        for seq in range(2)]
    notify = worker.notify()
    wait_until(lambda: orchestrator.status()["sessions"][0]["waiting"] == 2)
    waiting.reset()
    wait_until(lambda: orchestrator.status()["sessions"][0]["waiting"] == 1)
    worker.answer(notify)
    assert not pb.TranscodeResult.FromString(running.read()).error
    gateway.end_session(token)
    assert worker.notify().url == "", "told of the session's end, and of nothing before"


def test_a_hundred_quotes_at_once(worker, gateway):
    message = pb.OrchestratorRequest(address=bytes(20)).SerializeToString()
    body = struct.pack(">BI", 0, len(message)) + message
    streams = [gateway.http.request("POST", "/net.Orchestrator/GetOrchestrator", GRPC, body)
               for _ in range(100)]
    ids = {pb.OrchestratorInfo.FromString(s.read()[5:]).auth_token.session_id for s in streams}
    assert len(ids) == 100


def test_clear_text_service(network):
    port = free_port()
    o = network.orchestrator("-serviceAddr", f"http://127.0.0.1:{port}")
    addr = f"127.0.0.1:{port}"
    g = GatewayPeer(addr, tls=False)
    status, _, info = g.info()
    assert (status, info.transcoder) == (0, f"http://{addr}")
    assert get(f"http://{addr}/healthz")[0] == 200
    assert o.running()


def test_metrics_under_the_references_names(orchestrator, worker, gateway):
    stream = gateway.post(gateway.seg_data(gateway.token(), MEDIA), MEDIA)
    worker.answer(worker.notify())
    stream.read()
    assert orchestrator.metric("livepeer_transcoders_number") == 1
    assert orchestrator.metric("livepeer_transcoders_capacity") == 10
    assert orchestrator.metric("livepeer_transcoders_load") == 1
    assert orchestrator.metric("livepeer_current_sessions_total") == 1
    assert orchestrator.metric("livepeer_max_sessions_total") == 10
    assert orchestrator.metric("livepeer_segment_source_emerged_unprocessed_total") == 1
    assert orchestrator.metric("livepeer_segment_transcoded_total") == 1
    assert orchestrator.metric("livepeer_transcode_time_seconds_count") == 1
    assert orchestrator.metric("livepeer_mil_pixels_processed") == pytest.approx(201e-6)


def test_certificate_is_made_anew_at_each_start(orchestrator):
    def serial():
        host, port = orchestrator.service.rsplit(":", 1)
        return ssl.get_server_certificate((host, int(port)))
    first = serial()
    assert (orchestrator.data / "cert.pem").read_text() == first
    orchestrator.process.terminate()
    orchestrator.process.wait()
    orchestrator.start()
    orchestrator.wait_alive()
    assert serial() != first


def test_second_orchestrator_on_the_port_says_so(orchestrator, network, tmp_path):
    run = subprocess.run([SANITIZED / "leat", "orchestrator", "-transcoder", "-serviceAddr",
                          orchestrator.service, "-cliAddr", "127.0.0.1:0", "-dataDir",
                          tmp_path / "second"], capture_output=True, timeout=20)
    assert run.returncode != 0
    assert b"taken by another program" in run.stderr and b"-serviceAddr" in run.stderr
