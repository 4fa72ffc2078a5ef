"""What a stranger can throw at a port, and what an operator can get wrong: nothing crashes, and
every refusal names the flag, the value and the remedy."""
import base64
import json
import os
import random
import re
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import peers
from leatnet import LADDER, RELEASE, SANITIZED, SLOW, Node, fetch, free_port, no_check, wait_for

SECRET = "the secret of test_ports"
SMALL = LADDER.split(",")[0]


@pytest.fixture(scope="module")
def nodes(shared_network):
    orchestrator = shared_network.bare_orchestrator(SECRET)
    transcoder = shared_network.transcoder(orchestrator, SECRET)
    orchestrator.wait_ready()
    gateway = shared_network.gateway(orchestrator)
    return gateway, orchestrator, transcoder


def ports_of(nodes):
    gateway, orchestrator, transcoder = nodes
    return {"gateway http": (gateway.http, False), "gateway rtmp": (gateway.rtmp, False),
            "gateway admin": (gateway.admin, False),
            "orchestrator service": (orchestrator.service, True),
            "orchestrator admin": (orchestrator.admin, False),
            "transcoder admin": (transcoder.admin, False)}


HELLO_TLS = bytes.fromhex("160301") + b"\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500
H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def hostile_inputs():
    seeded = random.Random(7)
    whole = [
        HELLO_TLS,
        HELLO_TLS[:40],
        H2 + b"\0\0\0\4\0\0\0\0\0" + b"\xff\xff\xff\1\5\x7f\xff\xff\xff" + b"\xee" * 900,
        H2 + b"\0\0\4\1\4\0\0\0\1" + b"\xff\xff\xff\xff",
        H2 + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\3\0\0\0\0\1\0\0\0\x08" * 500,
        H2[:11],
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: y\r\n" * 50000 + b"\r\n",
        b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
        b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /segment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"PUT /live/a/0.ts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"GET /stream/%ff%fe/%00/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 5000, b"\xff" * 5000,
        b"\3" + b"\0" * 1536 + b"\xff" * 4000,
        b"\3" + b"\1" * 3072 + b"\2\0\0\0\xff\xff\xff\1\0\0\0\0" + b"\0" * 4000,
        b"\6" + bytes(range(256)) * 12,
    ]
    noise = [bytes(seeded.randrange(256) for _ in range(seeded.randrange(1, 3000)))
             for _ in range(25)]
    cut = [w[:seeded.randrange(1, min(len(w), 400))] for w in whole for _ in range(2)]
    return whole + noise + cut


def throw(addr, tls, data):
    host, port = addr.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as s:
            if tls:
                s = no_check().wrap_socket(s)
            s.settimeout(0.3)
            s.sendall(data)
            s.shutdown(socket.SHUT_WR) if not tls else None
            while s.recv(65536):
                pass
    except (OSError, ssl.SSLError):
        pass  # cut off in mid-sentence: its right


def test_garbage_on_every_port(nodes):
    """Fault: one packet of nonsense ends a node, or makes it deaf. Plain and, where the port speaks
    TLS, inside TLS too. Afterwards each port does its work; a viewer sees nothing."""
    gateway, orchestrator, transcoder = nodes
    jobs = [(addr, inside, data) for addr, tls in ports_of(nodes).values()
            for inside in {False, tls} for data in hostile_inputs()]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda job: throw(*job), jobs))
    for node in nodes:
        assert node.running(), node.log[-2000:]
        assert fetch(f"http://{node.admin}/healthz") == b""
        node.status()


MOST = 300_000_000  # bytes of one segment, pushed or sent to an orchestrator
PIECE = b"100000\r\n" + b"G" * 0x100000 + b"\r\n"


def heard(s):
    """What is there now."""
    s.setblocking(False)
    try:
        return s.recv(65536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""
    finally:
        s.settimeout(20)


def pour(s, head):
    """A chunked body that never ends. What was sent until the other side had enough, its answer."""
    s.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
    sent, answer = 0, b""
    while sent < 2 * MOST and not answer:
        s.sendall(PIECE)
        sent += len(PIECE)
        answer = heard(s)
    try:
        while more := s.recv(65536):
            answer += more
    except OSError:
        pass  # it closed with bytes of ours unread
    return sent, answer


def memory_mb(node):
    """(at its peak, now)"""
    text = Path(f"/proc/{node.pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmHWM", "VmRSS")]


def check_memory(node):
    peak, _ = memory_mb(node)
    assert peak < 1.2 * MOST / 2**20 + 50, f"{peak:.0f} MiB"
    wait_for(lambda: memory_mb(node)[1] < 60, 10, "the body to be freed")


def test_an_endless_push_is_cut_at_the_limit(shared_network):
    """Fault: a chunked body that never ends fills the gateway's memory. It is refused at 300 MB."""
    gateway = shared_network.gateway(build=RELEASE)
    host, port = gateway.http.split(":")
    with socket.create_connection((host, int(port))) as s:
        sent, answer = pour(s, b"PUT /live/endless/0.ts HTTP/1.1\r\nHost: x\r\n")
    assert MOST <= sent < 1.2 * MOST, sent
    assert b" 500 " in answer.split(b"\r\n")[0], answer
    assert b"Error reading http request body: " in answer and b"larger than 300000000 bytes" in answer, answer
    check_memory(gateway)
    assert gateway.status()["pushed_bytes"] == 0 and not gateway.status()["streams"]


def test_an_endless_segment_is_cut_at_the_limit(shared_network):
    """Fault: the same at an orchestrator, from a gateway with good credentials."""
    orchestrator = shared_network.orchestrator(build=RELEASE)
    gateway = peers.GatewayPeer(orchestrator.service)
    credentials = base64.b64encode(gateway.seg_data(gateway.token(), b"").SerializeToString())
    host, port = orchestrator.service.split(":")
    with no_check().wrap_socket(socket.create_connection((host, int(port)))) as s:
        sent, answer = pour(s, b"POST /segment HTTP/1.1\r\nHost: x\r\nLivepeer-Payment: \r\n"
                            b"Content-Type: video/MP2T\r\nLivepeer-Segment: " + credentials +
                            b"\r\n")
    gateway.close()
    assert MOST <= sent < 1.2 * MOST, (sent, answer)
    assert b" 500 " in answer.split(b"\r\n")[0], answer
    assert "larger than 300000000 bytes" in str(orchestrator.status()["refusals"]), orchestrator.status()
    check_memory(orchestrator)
    assert orchestrator.status()["held_bytes"] == 0


def test_the_network_works_after_that(nodes, clips, segments):
    gateway = nodes[0]
    gateway.publish("after", ["-i", str(clips["four"]), "-c", "copy"])
    gateway.wait_segments(2, "after", SMALL)
    assert gateway.push("after-too", 0, segments[0])[0] == 200
    assert gateway.status()["streams"][0]["troubles"] == []


def test_descriptors_come_back(nodes):
    """Fault: a connection that was cut in mid-handshake keeps its descriptor."""

    def count(node):
        return len(os.listdir(f"/proc/{node.pid}/fd"))

    for node in nodes[:2]:
        wait_for(lambda n=node: count(n) < 40, 15 * SLOW, f"{node.role} to close what was cut")


def run(*argv, env=None, seconds=15):
    return subprocess.run([SANITIZED / "leat", *map(str, argv)], capture_output=True, text=True,
                          timeout=seconds * SLOW, env={**os.environ, **(env or {})})


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as s:
        yield f"127.0.0.1:{s.getsockname()[1]}"


def spare():
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("role, flag", [
    ("gateway", "-httpAddr"), ("gateway", "-rtmpAddr"), ("gateway", "-cliAddr"),
    ("orchestrator", "-serviceAddr"), ("orchestrator", "-cliAddr"), ("transcoder", "-cliAddr")])
def test_port_in_use(role, flag, taken, tmp_path):
    """Fault: the node starts half, or ends with a number instead of a sentence."""
    flags = {"gateway": {"-httpAddr": spare(), "-rtmpAddr": spare(), "-cliAddr": spare()},
             "orchestrator": {"-serviceAddr": spare(), "-cliAddr": spare(), "-orchSecret": "s"},
             "transcoder": {"-cliAddr": spare(), "-orchSecret": "s", "-orchAddr": spare()}}[role]
    flags[flag] = taken
    done = run(role, "-dataDir", tmp_path, *[x for pair in flags.items() for x in pair])
    assert done.returncode == 2, done.stderr
    sentence = next(l for l in done.stderr.splitlines() if l.startswith(f"leat {role}: "))
    assert flag in sentence and "is taken by another program; stop it" in sentence
    assert taken.split(":")[1] in sentence and "choose another" in sentence


def test_wrong_secret_ends_the_transcoder(nodes, shared_network):
    """Fault: a worker with a wrong -orchSecret stays as a process without work."""
    orchestrator = nodes[1]
    wrong = shared_network.add(Node(shared_network.folder, "transcoder",
                                    ["-orchAddr", orchestrator.service, "-orchSecret", "not it"]))
    assert wrong.process.wait(20 * SLOW) == 1
    wrong.reader.join(5)
    assert re.search(r"peer transcoder cannot go on: .*secret", wrong.log), wrong.log
    assert "not it" not in wrong.log and SECRET not in orchestrator.log, "a secret was printed"


WRONG = [
    # flags, what the sentence must hold
    (["gateway", "-htpAddr", "x"], ["-htpAddr does not exist", "did you mean -httpAddr?"]),
    (["gateway", "-maxSessions", "many"], ['-maxSessions: "many"', "above 0"]),
    (["gateway", "-maxSessions", "0"], ['-maxSessions: "0"']),
    (["gateway", "-maxAttempts", "1000"], ['-maxAttempts: "1000"', "from -1 to 100"]),
    (["gateway", "-reconnectGrace", "soon"], ['-reconnectGrace: "soon"', "500ms, 5s or 1m30s"]),
    (["gateway", "-httpIngest=maybe"], ['-httpIngest: "maybe" is neither true nor false']),
    (["gateway", "-orchSecret", "x"], ["-orchSecret is not for this role"]),
    (["gateway", "-httpAddr"], ["-httpAddr needs a value: HOST:PORT"]),
    (["gateway", "-httpAddr", "999.1.1.1:80"], ['-httpAddr: "999.1.1.1:80"', "no IPv4 address"]),
    (["gateway", "-rtmpAddr", "99999"], ['-rtmpAddr: "99999"', "expected HOST:PORT"]),
    (["gateway", "-cliAddr", "a:b"], ['-cliAddr: "a:b"', 'port "b"', "from 0 to 65535"]),
    (["gateway", "-orchAddr", "http://["], ['-orchAddr: "http://["', "expected HOST:PORT"]),
    (["gateway", "-orchAddr", "a:1,,b:1"], ['-orchAddr: "a:1,,b:1" has an empty part']),
    (["gateway", "-orchAddr", "a:0"], ['-orchAddr: "a:0"', "port 0"]),
    (["gateway", "-orchWebhookUrl", "a:80"], ['-orchWebhookUrl: "a:80"', "an http or https URL"]),
    (["gateway", "-authWebhookUrl", "a:80"], ['-authWebhookUrl: "a:80"', "an http or https URL"]),
    (["gateway", "-transcodingOptions", '[{"width": -1}]'],
     ["-transcodingOptions", 'profile 0: field "width": expected no negative number, got -1']),
    (["gateway", "true"], ['"true" is no flag']),
    (["gateway", "-network", "arbitrum-one-mainnet"], ["-network arbitrum-one-mainnet", "off-chain"]),
    (["gateway", "-config", "/nowhere/leat.conf"], ["Error parsing config", "/nowhere/leat.conf"]),
    (["gateway", "-transcodingOptions", "/nowhere.json"], ["-transcodingOptions"]),
    (["gateway", "-dataDir", "/proc/nowhere"], ["-dataDir", "/proc/nowhere"]),
    (["orchestrator"], ["needs workers", "-transcoder", "leat transcoder -orchAddr"]),
    (["orchestrator", "-transcoder", "-maxSessions", "auto"], ["-maxSessions auto"]),
    (["orchestrator", "-transcoder", "-nodes", "http://a"], ['-nodes: "http://a"', "expected an https URL"]),
    (["orchestrator", "-transcoder", "-serviceAddr", "ftp://a:1"], ["-serviceAddr"]),
    (["orchestrator", "-transcoder", "-httpAddr", "https://a:1/b"], ["-httpAddr", "it has a path"]),
    (["transcoder"], ["needs -orchAddr HOST:PORT", "leat orchestrator -orchSecret"]),
    (["transcoder", "-orchAddr", "a:x", "-orchSecret", "s"], ['-orchAddr: "a:x"', 'port "x"']),
    (["transcoder", "-orchAddr", "127.0.0.1:1"], ["-orchSecret"]),
    (["transcoder", "-orchAddr", "127.0.0.1:1", "-orchSecret", "s", "-maxSessions", "-2"],
     ['-maxSessions: "-2"']),
    (["-v", "3"], ["no role is chosen", "-gateway, -orchestrator or -transcoder"]),
    (["gatway"], ['there is no command "gatway"']),
    (["publish"], ["leat publish"]),
]


@pytest.mark.parametrize("argv, words", WRONG, ids=[" ".join(a)[:40] for a, _ in WRONG])
def test_wrong_flags_are_named(argv, words, tmp_path):
    """Fault: exit status 0 after a failed start; an error that names neither flag nor value."""
    defaults = {"gateway": ["-httpAddr", spare(), "-rtmpAddr", spare(), "-cliAddr", spare()],
                "orchestrator": ["-serviceAddr", spare(), "-cliAddr", spare()],
                "transcoder": ["-cliAddr", spare()]}.get(argv[0], [])
    given = set(argv)
    for i in range(0, len(defaults), 2):
        if defaults[i] not in given:
            argv = [argv[0], *defaults[i:i + 2], *argv[1:]]
    if argv[0] in ("gateway", "orchestrator", "transcoder") and "-dataDir" not in given:
        argv = [argv[0], "-dataDir", str(tmp_path), *argv[1:]]
    done = run(*argv)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == [], "all flags are read before a file is made"


def test_environment_and_file(tmp_path):
    """LP_ variables and the config file count, weaker than the command line, and errors in them
    say where they stand."""
    done = run("gateway", env={"LP_MAXSESSIONS": "many", "LP_DATADIR": str(tmp_path)})
    assert done.returncode == 2 and '-maxSessions: "many"' in done.stderr
    (tmp_path / "leat.conf").write_text("# a comment\nmaxSessions 5\nreconnectGrace forever\n")
    done = run("gateway", "-config", tmp_path / "leat.conf")
    assert done.returncode == 2
    assert f"{tmp_path}/leat.conf line 3" in done.stderr and '"forever"' in done.stderr


@pytest.mark.parametrize("argv", [["help"], ["-h"], ["gateway", "-help"], ["orchestrator", "--help"],
                                  ["transcoder", "-h"], ["up", "-h"], ["version"], ["-version"],
                                  ["completion"], ["manual"], ["status", "-help"]])
def test_what_is_asked_for_is_no_error(argv):
    done = run(*argv)
    assert done.returncode == 0 and done.stdout and not done.stderr


@pytest.mark.parametrize("argv, needs", [
    (["gateway", "-ethUrl", "http://127.0.0.1:8545"], ["-ethUrl is refused", "chain"]),
    (["-gateway", "-aiServiceRegistry"], ["-aiServiceRegistry is refused", "AI"]),
    (["-orchestrator", "-transcoder", "-nvidia", "all"], ["-nvidia is refused", "CPU"]),
    (["-remoteSigner"], ["-remoteSigner is refused", "signer"]),
])
def test_what_the_reference_has_and_leat_has_not(argv, needs):
    done = run(*argv)
    assert done.returncode == 2 and not done.stdout
    assert all(text in done.stderr for text in needs), done.stderr


def test_version_and_description_for_scripts():
    done = run("-gateway", "-version", "-maxAttempts", "4")
    assert re.search(r"^  maxAttempts +4$", done.stdout, re.M)
    assert re.search(r"^Livepeer Node Version: \d+\.\d+\.\d+", done.stdout, re.M)
    about = json.loads(run("-j").stdout)
    assert about["optional"]["maxAttempts"] == {
        "name": "maxAttempts", "option": "-maxAttempts", "type": "int", "default": "3",
        "help": about["optional"]["maxAttempts"]["help"]}
    assert "ethUrl" not in about["optional"] and "reconnectGrace" in about["optional"]


def test_status_command(nodes):
    done = run("status", nodes[0].admin)
    assert done.returncode == 0 and done.stdout.startswith("gateway ")
    done = run("status", "127.0.0.1:1")
    assert done.returncode == 1 and "no node answers at 127.0.0.1:1" in done.stderr
    assert "-cliAddr" in done.stderr


def test_started_as_the_reference_is(shared_network, tmp_path):
    """`leat -gateway …` and `-broadcaster`, as scripts for the reference have it."""
    admin = spare()
    process = subprocess.Popen(
        [SANITIZED / "leat", "-broadcaster", "-httpAddr", spare(), "-rtmpAddr", spare(), "-cliAddr",
         admin, "-datadir", tmp_path, "-serviceAddr", "a.example:1", "-gatewayHost", "gw.example"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: fetch(f"http://{admin}/healthz") == b"", 10 * SLOW, "a gateway")
    finally:
        process.terminate()
        log = process.communicate(timeout=20)[1]
    assert process.returncode == 0, log
    assert "for other roles and do nothing here: -serviceAddr" in log
    assert "publish to rtmp://gw.example:" in log
