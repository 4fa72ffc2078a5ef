"""HTTP push: statuses, texts and bytes as clients of the reference expect them (each row of the
table in the network's protocol), and refusals that say why."""
import http.client
import json
import re
import socket
import subprocess
import threading
import time

import pytest

from clips import pictures, streams_of
from leatnet import LADDER, fetch

NAMES = LADDER.split(",")


@pytest.fixture(scope="module")
def gateway(shared_network):
    orchestrator = shared_network.orchestrator("-maxSessions", "40")
    gateway = shared_network.gateway(orchestrator, flags=["-maxSessions", "40"])
    gateway.orchestrator = orchestrator
    return gateway


def raw(gateway, head, body=b"", wait=20):
    """Bytes out, all bytes back until the peer closes or goes quiet for a second."""
    host, port = gateway.http.split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as s:
        s.sendall(head.encode() + b"\r\n\r\n" + body)
        got = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
                if b"\r\n0\r\n\r\n" in got[-16:]:
                    return got
                s.settimeout(2)
        except TimeoutError:
            return got


def unchunk(data):
    out = b""
    while True:
        size, data = data.split(b"\r\n", 1)
        n = int(size, 16)
        if n == 0:
            return out
        out += data[:n]
        data = data[n + 2:]


def parts_of(headers, body):
    """[(header lines in order, media)]"""
    boundary = headers["content-type"].split("boundary=")[1].encode()
    parts = []
    for part in body.split(b"--" + boundary)[1:-1]:
        head, media = part[2:].split(b"\r\n\r\n", 1)
        parts.append((head.decode().split("\r\n"), media[:-2]))
    return parts


def test_the_answer_byte_for_byte(gateway, segments):
    """Fault: clients that read the reference's answer literally cannot read ours."""
    answer = raw(gateway, "PUT /live/bytes/7.ts HTTP/1.1\r\nHost: x\r\nAccept: multipart/mixed\r\n"
                 f"Content-Duration: 2000\r\nContent-Length: {len(segments[0])}", segments[0])
    head, body = answer.split(b"\r\n\r\n", 1)
    boundary = re.search(rb"(?i)content-type: multipart/mixed; boundary=([0-9a-f]{20})\r\n", head)[1]
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert re.search(rb"(?i)transfer-encoding: chunked", head)
    body = unchunk(body)
    expected = b""
    medias = [m for _, m in parts_of({"content-type": "x; boundary=" + boundary.decode()}, body)]
    assert len(medias) == 2
    for i, (name, media) in enumerate(zip(NAMES, medias)):
        expected += (("\r\n" if i else "") + f"--{boundary.decode()}\r\n"
                     f'Content-Disposition: attachment; filename="{name}_7.ts"\r\n'
                     f"Content-Length: {len(media)}\r\n"
                     f'Content-Type: video/mp2t; name="{name}_7.ts"\r\n'
                     f"Rendition-Name: {name}\r\n\r\n").encode() + media
    expected += f"\r\n--{boundary.decode()}--\r\n".encode()
    assert body == expected
    for media, height in zip(medias, (144, 240)):
        assert streams_of(media)["video"]["height"] == height
        assert len(pictures(media)) == 60


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_put_and_post_are_the_same(gateway, segments, method):
    status, headers, body = gateway.push(f"with-{method}", 0, segments[0], method=method,
                                         Accept="multipart/mixed")
    assert status == 200 and len(parts_of(headers, body)) == 2


@pytest.mark.parametrize("accept", [None, "*/*", "multipart/mixed, */*", "multipart/mixed;q=1"])
def test_only_the_exact_accept_gets_renditions(gateway, segments, accept):
    more = {"Accept": accept} if accept else {}
    status, _, body = gateway.push("accepts", 0, segments[0], **more)
    assert (status, body) == (200, b"")


def test_consecutive_pushes_play_without_a_seam(gateway, segments):
    """Fault: pushed streams have no size in the playlist, or a break at every segment."""
    for n in range(4):
        assert gateway.push("seam", 40 + n, segments[n])[0] == 200
    for name in ["source", *NAMES]:
        p = gateway.playlist("seam", name)
        assert [s["url"].rsplit("/", 1)[1] for s in p.segments] == [f"{40 + n}.ts" for n in range(4)]
        assert not any(s["gap"] or s["discontinuity"] for s in p.segments)
        assert p.sequence == 0, "numbers of the playlist are its own"
        frames = pictures(b"".join(fetch(s["url"]) for s in p.segments))
        assert len(frames) == 240
        assert all(b.pts - a.pts == 3000 for a, b in zip(frames, frames[1:]))
    master = gateway.master("seam")
    assert "RESOLUTION=320x180" in master["source"][0] and "CODECS=" in master["source"][0]
    assert gateway.stream("seam")["ingest"] == "push"


def fault(status, text, path="/live/faults/0.ts", method="PUT", body=b"x" * 188, **headers):
    return pytest.param(path, method, body, {k.replace("_", "-"): v for k, v in headers.items()},
                        status, text, id=f"{status}-{text[:24]}")


@pytest.mark.parametrize("path, method, body, headers, status, text", [
    fault(405, "http push request wrong method=GET", method="GET", body=None),
    fault(405, "http push request wrong method=DELETE", method="DELETE"),
    fault(405, "http push request wrong method=PATCH", method="PATCH"),
    fault(400, 'failed to parse transcode config header: "',
          Livepeer_Transcode_Configuration="{nonsense"),
    fault(400, 'failed to parse transcode config header: "',
          Livepeer_Transcode_Configuration='{"profiles":[{"name":"a","width":-5}]}'),
    fault(400, "ignoring file extension: /live/faults/index.m3u8", path="/live/faults/index.m3u8"),
    fault(400, "ignoring file extension: /live/faults/0", path="/live/faults/0"),
    fault(400, "Invalid slice config from=2000ms to=1000ms", Content_Slice_From="2000",
          Content_Slice_To="1000"),
    fault(400, "Bad URL url=/live/.ts", path="/live/.ts"),
    fault(400, "Bad URL url=/live/a%2F..%2Fb/0.ts", path="/live/a%2F..%2Fb/0.ts"),
    fault(400, "Bad URL url=", path="/live/" + "n" * 200 + "/0.ts"),
    fault(422, "http push error processing segment url=/live/faults/0.ts manifestID=faults "
          'err="the body is empty', body=b""),
    fault(422, "Error getting codec info url=/live/faults/0.ts",
          body=b"This is a text file, which somebody took for a segment.\n" * 9000),
    fault(422, "Error getting codec info url=/live/faults/0.ts", body=b"G" + b"\0" * 99),
])
def test_refusals(gateway, path, method, body, headers, status, text):
    """Fault: a bad request is answered 500, or not at all, or with a word that helps nobody."""
    connection = http.client.HTTPConnection(gateway.http, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    got = answer.read().decode()
    connection.close()
    assert (answer.status, got[:len(text)]) == (status, text)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8" and got.endswith("\n")
    assert all(s["name"] != "faults" for s in gateway.status()["streams"]), "a stream was made"


def test_a_refused_large_body_still_gets_its_answer(gateway):
    """Fault: the connection is reset while the client is still sending, and it never learns why."""
    status, _, text = gateway.push("large", 0, b"\0" * 20_000_000, ext="avi")
    assert status == 400 and text.startswith(b"ignoring file extension")


def ffmpeg_ts(*args):
    return subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *args, "-f", "mpegts", "-"],
                          capture_output=True, check=True).stdout


def test_another_codec_is_refused_by_name(gateway):
    body = ffmpeg_ts("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=30:duration=1", "-c:v",
                     "mpeg2video")
    status, _, text = gateway.push("mpeg2", 0, body)
    assert status == 422 and text.startswith(b"Unknown input stream codec=")


def without_video_packets(ts):
    """The same programme table, and the sound alone."""
    return b"".join(ts[i:i + 188] for i in range(0, len(ts), 188)
                    if (ts[i + 1] & 31) << 8 | ts[i + 2] != 0x100)


def test_a_segment_without_pictures_is_passed_on(gateway, segments):
    """Fault: sound with a declared but empty video (a muted camera) stops the stream. It is handed
    out as it came in every rendition."""
    empty = without_video_packets(segments[1])
    status, headers, body = gateway.push("zero", 1, empty, Accept="multipart/mixed")
    assert status == 200
    parts = parts_of(headers, body)
    assert [media for _, media in parts] == [empty, empty]
    for n, media in ((0, segments[0]), (2, segments[2])):
        assert gateway.push("zero-between", n, media)[0] == 200
        if n == 0:
            assert gateway.push("zero-between", 1, empty)[0] == 200
    for name in ["source", *NAMES]:
        p = gateway.playlist("zero-between", name)
        assert len(p.segments) == 3 and not any(s["gap"] for s in p.segments)
        assert len(pictures(fetch(p.segments[2]["url"]))) == 60


def test_audio_only_push(gateway):
    body = ffmpeg_ts("-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac")
    status, headers, got = gateway.push("sound", 0, body, Accept="multipart/mixed")
    assert status == 200 and [m for _, m in parts_of(headers, got)] == [body, body]


def test_profiles_by_header(gateway, segments):
    config = {"manifestID": "chosen", "profiles": [
        {"name": "small", "width": 160, "height": 90, "bitrate": 100000, "fps": 15, "fpsDen": 1,
         "profile": "H264Baseline", "gop": "1.0"}]}
    status, headers, body = gateway.push("asked", 0, segments[0], Accept="multipart/mixed",
                                         Livepeer_Transcode_Configuration=json.dumps(config))
    assert status == 200
    (head, media), = parts_of(headers, body)
    assert "Rendition-Name: small" in head
    video = streams_of(media)["video"]
    assert (video["width"], video["height"], video["profile"]) == (160, 90, "Constrained Baseline")
    assert len(pictures(media)) == 30
    assert gateway.playlist("chosen", "small").segments, "manifestID of the header decides"


def test_presets_by_header_and_an_empty_list(gateway, segments):
    status, headers, body = gateway.push(
        "preset", 0, segments[0], Accept="multipart/mixed",
        Livepeer_Transcode_Configuration='{"presets":["P144p30fps16x9"]}')
    assert status == 200 and len(parts_of(headers, body)) == 1
    status, _, body = gateway.push("none", 0, segments[0], Accept="multipart/mixed",
                                   Livepeer_Transcode_Configuration='{"profiles":[]}')
    assert (status, body) == (200, b"")
    assert list(gateway.master("none")) == ["source"]


def test_mp4_push(gateway, segments, tmp_path):
    """A push of MP4 is answered in MP4."""
    (tmp_path / "a.ts").write_bytes(segments[0])
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", tmp_path / "a.ts", "-c", "copy",
                    tmp_path / "a.mp4"], check=True)
    status, headers, body = gateway.push("mp4", 3, (tmp_path / "a.mp4").read_bytes(), ext="mp4",
                                         Accept="multipart/mixed")
    assert status == 200, body
    parts = parts_of(headers, body)
    assert [h[0] for h, _ in parts] == [f'Content-Disposition: attachment; filename="{n}_3.mp4"'
                                       for n in NAMES]
    for head, media in parts:
        assert head[2].startswith("Content-Type: video/mp4; name=")
        assert media[4:8] == b"ftyp"
        assert len(pictures(media)) == 60


@pytest.mark.parametrize("bounds,frames", [
    ({"Content_Slice_From": "500", "Content_Slice_To": "1500"}, 30),
    ({"Content_Slice_From": "500"}, 45),
    ({"Content_Slice_To": "1500"}, 45),
])
def test_a_clip_of_a_segment(gateway, segments, bounds, frames):
    status, headers, body = gateway.push(f"clip-{len(bounds)}-{next(iter(bounds))[14:]}", 0,
                                         segments[0], Accept="multipart/mixed", **bounds)
    assert status == 200, body
    parts = parts_of(headers, body)
    assert len(parts) == 2
    for _, media in parts:
        assert abs(len(pictures(media)) - frames) <= 1


def test_the_source_changes_in_mid_stream(gateway, segments):
    """Fault: a push in another size breaks its encoder session. The viewer sees a DISCONTINUITY."""
    other = ffmpeg_ts("-f", "lavfi", "-i", "testsrc2=size=480x270:rate=30:duration=2", "-c:v",
                      "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    assert gateway.push("changing", 0, segments[0])[0] == 200
    assert gateway.push("changing", 1, other)[0] == 200
    p = gateway.playlist("changing", NAMES[0])
    assert [s["discontinuity"] for s in p.segments] == [False, True]
    assert "RESOLUTION=480x270" in gateway.master("changing")["source"][0]


def test_rtmp_and_push_do_not_share_a_name(gateway, segments, clips):
    gateway.publish("both", ["-i", str(clips["long"]), "-c", "copy"])
    gateway.wait_segments(1, "both")
    status, _, text = gateway.push("both", 0, segments[0])
    assert status == 500 and b"Could not create stream ID: url=/live/both/0.ts" in text
    assert b"RTMP publisher" in text


def test_a_pushed_segment_beyond_the_target_is_told(shared_network, segments):
    """Fault: players stall at a segment that is longer than TARGETDURATION, and nobody knows why. The
    first one is named, once."""
    gw = shared_network.gateway(flags=["-maxAttempts", "-1"])
    long = segments[1] + segments[2]
    for number, body in enumerate([segments[0], long, segments[3] + segments[4]]):
        assert gw.push("uneven", number, body)[0] == 200
    told = [t for t in gw.stream("uneven")["troubles"] if "TARGETDURATION is 2 s" in t["text"]]
    assert [t["segment"] for t in told] == [1] and "segment of 40" in told[0]["text"], told
    assert gw.playlist("uneven").target == 2


def test_nobody_to_transcode_says_why(shared_network, segments):
    """Fault: `503 No sessions available` for five different causes."""
    closed = shared_network.gateway(flags=["-orchAddr", "127.0.0.1:1"])
    status, _, text = closed.push("s", 0, segments[0])
    assert status == 503
    assert text.startswith(b"No sessions available: https://127.0.0.1:1: ")
    assert b"refused" in text.lower()
    none = shared_network.gateway()
    status, _, text = none.push("s", 0, segments[0])
    assert status == 503 and b"give -orchAddr or -orchWebhookUrl" in text
    bare = shared_network.bare_orchestrator("some secret")
    idle = shared_network.gateway(bare)
    status, _, text = idle.push("s", 0, segments[0])
    assert status == 503 and text.startswith(b"No sessions available: https://127.0.0.1:")
    for gw in (closed, none, idle):
        gw.playlist("s", "source").segments[0]["url"]  # the source plays all the same


def test_garbage_that_looks_like_a_segment(gateway, segments):
    """Fault: damaged pictures come back as a success without pictures, or as a dead gateway. What
    the decoder can conceal is a picture; the rest is refused with a reason."""
    damaged = bytearray(segments[0])
    for at in range(188 * 8, len(damaged), 188):
        damaged[at + 30:at + 188] = b"\xff" * 158
    status, headers, text = gateway.push("damaged", 0, bytes(damaged), Accept="multipart/mixed")
    if status == 200:
        assert all(pictures(media) for _, media in parts_of(headers, text))
    else:
        assert status == 422 and (b'err="' in text or text.startswith(b"Error getting")), text
    assert gateway.push("healthy", 0, segments[0])[0] == 200


def test_an_endless_body_is_cut_at_the_limit(gateway):
    """Fault: a body without end fills the memory. Above 300 MB told, it is refused at once."""
    answer = raw(gateway, "PUT /live/endless/0.ts HTTP/1.1\r\nHost: x\r\n"
                 "Content-Length: 300000001", b"G" * 1000, wait=5)
    assert b" 500 " in answer.split(b"\r\n")[0], answer[:200]
    assert b"Error reading http request body: " in answer


def test_a_slow_body_is_cut_and_told_why(gateway):
    """Fault: a client that stops in mid-body holds its place for ever. 30 s without a byte is the
    end; meanwhile others are served (the other tests of this file run beside it)."""
    started, answer = gateway.slow_client
    gateway.slow_thread.join(60)
    took, text = answer[0]
    assert 25 < took < 45, f"{took:.0f} s, {text!r}"
    assert b" 408 " in text.split(b"\r\n")[0] or b" 500 " in text.split(b"\r\n")[0], text
    assert b"Error reading http request body: " in text


@pytest.fixture(scope="module", autouse=True)
def slow_client(gateway):
    """Begins to push when the file's tests begin, and stops in mid-body."""
    begun, answer = time.monotonic(), []

    def push():
        host, port = gateway.http.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as s:
            s.sendall(b"PUT /live/slow/0.ts HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nG")
            got = b""
            while more := s.recv(65536):
                got += more
            answer.append((time.monotonic() - begun, got))

    gateway.slow_client = begun, answer
    gateway.slow_thread = threading.Thread(target=push, daemon=True)
    gateway.slow_thread.start()
