"""/metrics: the network's names with their types, bounds and label sets."""
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

from leatnet import SLOW, wait_for

VECTORS = Path(__file__).parents[1] / "vectors/operations/metrics.txt"
SECRET = "the secret of test_metrics"
KINDS = {"C": "counter", "G": "gauge", "H": "histogram"}


def known():
    rows = [line.split() for line in VECTORS.read_text().splitlines() if not line.startswith("#")]
    return {f"livepeer_{name}": (KINDS[kind], answer) for name, kind, answer in rows}


def served(node):
    return dict(re.findall(r"^# TYPE (livepeer_\w+) (\w+)$", node.metrics(), re.M))


def push(gateway, name, number, media):
    url = f"http://{gateway.status()['http_addr']}/live/{name}/{number}.ts"
    urllib.request.urlopen(urllib.request.Request(url, media, method="PUT"),
                           timeout=30 * SLOW).read()


def bounds(node, name):
    found = re.findall(rf'^{name}_bucket\{{.*le="([^"]+)"', node.metrics(), re.M)
    assert found[-1] == "+Inf"
    return [float(b) for b in found[:-1]]


def test_names_types_and_values(network, segments):
    """Fault: a dashboard of the reference shows holes."""
    orchestrator = network.bare_orchestrator(SECRET)
    worker = network.transcoder(orchestrator, SECRET)
    wait_for(lambda: orchestrator.status()["workers"], 20 * SLOW, "the worker")
    gateway = network.gateway(orchestrator)
    push(gateway, "movie", 0, segments[0])
    push(gateway, "movie", 1, segments[1])
    list_of, everywhere = known(), {}
    for node in (gateway, orchestrator, worker):
        for name, kind in served(node).items():
            assert list_of[name] == (kind, "works"), name
            everywhere[name] = kind
        assert node.metric("livepeer_versions") == 1
        assert 'livepeerversion="0.9.1' in node.metrics()
        for line in node.metrics().splitlines():
            assert line.startswith("#") or 'node_type="' in line, line
    assert set(everywhere) == {n for n, (_, answer) in list_of.items() if answer == "works"}

    assert gateway.metric("livepeer_success_rate") == 1
    for name in ["segment_source_emerged_unprocessed_total", "segment_transcoded_unprocessed_total",
                 "segment_transcoded_all_appeared_total", "segment_transcoded_total",
                 "http_client_segment_transcoded_realtime_ratio_count"]:
        assert gateway.metric(f"livepeer_{name}") == 2, name
    steps = ["3x", "2x", "1x", "half", "slow"]
    assert sum(gateway.metric(f"livepeer_http_client_segment_transcoded_realtime_{s}")
               for s in steps) == 2
    assert re.search(r'^livepeer_segment_transcoded_total\{.*profiles="[^",]+,[^"]+"',
                     gateway.metrics(), re.M)
    assert gateway.metric("livepeer_upload_time_seconds_sum") < 10, "seconds, not milliseconds"


def test_bounds(network, segments):
    gateway = network.gateway(network.orchestrator())
    push(gateway, "movie", 0, segments[0])
    halves = [n / 2 for n in range(11)]
    assert bounds(gateway, "livepeer_transcode_score") == halves + [10, 15, 20, 40]
    assert bounds(gateway, "livepeer_source_segment_duration_seconds") == halves + [10, 15, 20]
    assert bounds(gateway, "livepeer_transcode_overall_latency_seconds") == [
        0, .5, .75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10]
    assert bounds(gateway, "livepeer_transcode_time_seconds") == [
        0, .25, .5, .75, 1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10]
    for name in ["upload_time_seconds", "download_time_seconds"]:
        ours = bounds(gateway, f"livepeer_{name}")
        assert ours == sorted(set(ours)) and ours[-1] == 10, "the reference's are out of order"


def test_a_lost_segment_counts(network, segments):
    gateway = network.gateway(flags=["-orchAddr", "127.0.0.1:9"])
    try:
        push(gateway, "movie", 0, segments[0])
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 503
    assert gateway.metric("livepeer_success_rate") == 0
    assert gateway.metric("livepeer_segment_transcoded_total") == 0


def test_a_pusher_that_leaves_counts(network, segments):
    """The orchestrator takes the connection and says nothing, so that the push waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = network.gateway(flags=["-orchAddr", f"127.0.0.1:{silent.getsockname()[1]}"])
        host, port = gateway.status()["http_addr"].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as pusher:
            pusher.sendall(b"PUT /live/movie/0.ts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                           % len(segments[0]) + segments[0])
            wait_for(lambda: [s for s in gateway.status()["streams"] if s["in_flight"]], 20 * SLOW,
                     "the segment to be on its way")
        wait_for(lambda: gateway.metric("livepeer_http_client_timeout_1") == 1, 20 * SLOW,
                 "the pusher to be missed")
        assert gateway.metric("livepeer_http_client_timeout_2") == 0
