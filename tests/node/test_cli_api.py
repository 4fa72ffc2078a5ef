"""The reference's API on -cliAddr: what its command line tool and operators' scripts ask."""
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from leatnet import SLOW, wait_for

SECRET = "the secret of test_cli_api"


def ask(node, path, form=None, **query):
    """(status, text); form: sent as a form body instead of in the query."""
    url = f"http://{node.admin}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(url, body, timeout=10 * SLOW) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def ask_json(node, path):
    status, text = ask(node, path)
    assert status == 200, text
    return json.loads(text)


@pytest.fixture(scope="module")
def nodes(shared_network):
    local = shared_network.orchestrator()
    remote = shared_network.bare_orchestrator(SECRET)
    worker = shared_network.transcoder(remote, SECRET, "-maxSessions", "7")
    gateway = shared_network.gateway(local)
    return {"gateway": gateway, "local": local, "remote": remote, "worker": worker}


KEYS = {"Manifests", "InternalManifests", "StreamInfo", "OrchestratorPool", "OrchestratorPoolInfos",
        "Version", "GolangRuntimeVersion", "GOArch", "GOOS", "RegisteredTranscodersNumber",
        "RegisteredTranscoders", "LocalTranscoding", "BroadcasterPrices"}


def test_status_of_every_role(nodes):
    """Fault: LocalTranscoding is true on every node that has no remote workers, gateways too."""
    for name, local in [("gateway", False), ("local", True), ("remote", False), ("worker", True)]:
        status = ask_json(nodes[name], "/status")
        assert set(status) == KEYS
        assert status["LocalTranscoding"] is local, name
    assert ask_json(nodes["gateway"], "/status")["OrchestratorPool"] == [
        f"https://{nodes['local'].service}"]


def test_registered_transcoders_are_the_remote_ones(nodes):
    def registered():
        status = ask_json(nodes["remote"], "/status")
        return status["RegisteredTranscodersNumber"] and status
    status = wait_for(registered, 20 * SLOW, "the worker")
    assert [t["Capacity"] for t in status["RegisteredTranscoders"]] == [7]
    assert status["RegisteredTranscoders"][0]["Address"]
    assert ask_json(nodes["local"], "/status")["RegisteredTranscoders"] == []


def test_a_stream_is_told(nodes, segments):
    gateway = nodes["gateway"]
    assert ask(gateway, "/manifestID") == (200, "") and ask(gateway, "/streamID") == (200, "")
    http = gateway.status()["http_addr"]
    request = urllib.request.Request(f"http://{http}/live/movie/0.ts", segments[0], method="PUT")
    urllib.request.urlopen(request, timeout=30 * SLOW).read()
    assert ask(gateway, "/manifestID") == (200, "movie")
    assert ask(gateway, "/streamID") == (200, "movie/source")
    status = ask_json(gateway, "/status")
    info = status["StreamInfo"]["movie"]
    assert info["SourceBytes"] == len(segments[0]) and info["TranscodedBytes"] > 1000
    uris = [v["URI"] for v in status["Manifests"]["movie"]["Variants"]]
    assert uris[0] == "movie/source.m3u8" and len(uris) > 1


def test_broadcast_config(nodes):
    gateway = nodes["gateway"]
    presets = ask_json(gateway, "/getAvailableTranscodingOptions")
    assert len(presets) == 13 and "P720p60fps16x9" in presets and "P144p30fps16x9" in presets
    for set_it in [{"transcodingOptions": "P144p30fps16x9,P720p60fps16x9"},
                   {"form": {"transcodingOptions": "P240p25fps16x9", "maxPricePerUnit": "0",
                             "pixelsPerUnit": "1"}}]:
        assert ask(gateway, "/setBroadcastConfig", **set_it) == (200, "")
        want = set_it.get("transcodingOptions") or set_it["form"]["transcodingOptions"]
        assert ask_json(gateway, "/getBroadcastConfig") == {"MaxPrice": None,
                                                            "TranscodingOptions": want}


@pytest.mark.parametrize("query, text", [
    ({}, "missing form params"),
    ({"transcodingOptions": "P1p"}, "No transcoding profiles found"),
    ({"maxPricePerUnit": "5"}, "missing form param: pixelsPerUnit"),
    ({"maxPricePerUnit": "5", "pixelsPerUnit": "1"}, "0 means any price"),
    ({"transcodingOptions": "%zz"}, "No transcoding profiles found"),
])
def test_broadcast_config_refusals(nodes, query, text):
    before = ask_json(nodes["gateway"], "/getBroadcastConfig")
    status, said = ask(nodes["gateway"], "/setBroadcastConfig", **query)
    assert status == 400 and text in said
    assert ask_json(nodes["gateway"], "/getBroadcastConfig") == before


def test_a_new_ladder_holds_for_the_next_stream(nodes, segments):
    gateway = nodes["gateway"]
    assert ask(gateway, "/setBroadcastConfig", transcodingOptions="P144p30fps16x9") == (200, "")
    http = gateway.status()["http_addr"]
    request = urllib.request.Request(f"http://{http}/live/later/0.ts", segments[0], method="PUT")
    urllib.request.urlopen(request, timeout=30 * SLOW).read()
    variants = ask_json(gateway, "/status")["Manifests"]["later"]["Variants"]
    assert [v["Name"] for v in variants] == ["source", "P144p30fps16x9"]


def test_max_sessions(nodes):
    local = nodes["local"]
    assert ask(local, "/setMaxSessions", maxSessions="3") == (200, "")
    assert local.status()["max_sessions"] == 3 and local.metric("livepeer_max_sessions_total") == 3
    for bad in ["0", "-1", "many", "auto"]:
        status, said = ask(local, "/setMaxSessions", maxSessions=bad)
        assert status == 400 and "maxSessions" in said, bad
    assert local.status()["max_sessions"] == 3
    assert ask(local, "/setMaxSessions") == (400, "missing form param: maxSessions")
    assert ask(nodes["remote"], "/setMaxSessions", maxSessions="auto") == (200, "")
    assert nodes["remote"].status()["max_sessions"] == 7
    assert ask(nodes["gateway"], "/setMaxSessions", form={"maxSessions": "21"}) == (200, "")
    assert nodes["gateway"].metric("livepeer_max_sessions_total") == 21
    assert ask(nodes["worker"], "/setMaxSessions", maxSessions="2")[0] == 400


def test_log_level(nodes):
    remote = nodes["remote"]
    assert ask(remote, "/getLogLevel") == (200, "6")
    assert ask(remote, "/setLogLevel", loglevel="3") == (200, "")
    assert ask(remote, "/getLogLevel") == (200, "3")
    assert ask(remote, "/setLogLevel") == (400, "missing form param: loglevel")
    assert ask(remote, "/setLogLevel", loglevel="7")[0] == 400
    assert ask(remote, "/getLogLevel") == (200, "3")


def test_what_needs_a_chain(nodes):
    for path in ["/orchestratorInfo", "/bond", "/currentRound", "/reward", "/ethBalance", "/vote",
                 "/fundDeposit", "/senderInfo", "/setMaxGasPrice", "/registeredOrchestrators"]:
        for node in nodes.values():
            assert ask(node, path) == (500, "missing ETH client"), path


def test_small_answers(nodes):
    for name, node in nodes.items():
        assert ask_json(node, "/localStreams") == []
        assert ask(node, "/EthChainID") == (200, "0") and ask(node, "/currentBlock") == (200, "")
        assert ask(node, "/IsRedeemer") == (200, "false")
        is_one = "true" if name in ("local", "remote") else "false"
        assert ask(node, "/IsOrchestrator") == (200, is_one)
    assert ask(nodes["gateway"], "/setMaxSessions", form={"maxSessions": "9" * 70000})[0] == 413
