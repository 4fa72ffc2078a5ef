"""What a person types first: `leat up`, `leat help`, `leat status`, the completion key."""
import json
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

from leatnet import RELEASE, SANITIZED, SLOW, free_port, wait_for

SECRET = "the secret of test_command"
ROLES = ["up", "gateway", "orchestrator", "transcoder"]
COMMANDS = ["publish", "status", "doctor", "completion", "manual"]


def run(*argv, seconds=15):
    return subprocess.run([SANITIZED / "leat", *map(str, argv)], capture_output=True, text=True,
                          timeout=seconds * SLOW)


# --- leat up ---

PORTS = [1935, 5935, 7935, 7936, 7937, 8935, 8936, 8937, 9935]


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def shift():
    """-portShift that moves all ports of `leat up` to where nobody listens."""
    return wait_for(lambda: next((n for n in (free_port() - PORTS[0] for _ in range(50))
                                  if 0 < n <= 50000 and all(is_free(p + n) for p in PORTS)), 0),
                    10, "nine free ports at the right distances")


class Up:
    """`leat up` as a newcomer sees it: its lines until one that ends the wait."""

    def __init__(self, folder, shift, *flags):
        self.lines = []
        self.process = subprocess.Popen(
            [RELEASE / "leat", "up", "-portShift", str(shift), "-dataDir", str(folder), *flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)

    def read_until(self, pattern, seconds=20):
        end = time.monotonic() + seconds * SLOW
        while not (self.lines and re.search(pattern, self.lines[-1])):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            line = self.process.stdout.readline() if ready else b""
            assert line, f"no line {pattern!r} in:\n" + "\n".join(self.lines)
            self.lines.append(line.decode().rstrip())
        return self.lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=20 * SLOW)
        finally:
            self.process.kill()


def test_a_normal_start_teaches_and_does_not_alarm(tmp_path, shift):
    """Fault: lines of trouble while all is well: the gateway calls orchestrators that are not up
    yet. A newcomer looks for a mistake of his own; where to watch has scrolled away."""
    with Up(tmp_path, shift, "-testStream") as up:
        lines = up.read_until("^stop +Ctrl-C")
        text = "\n".join(lines)
        assert len(lines) <= 20, text
        assert not re.search(r"\b(peer|bug|refused|Capped|error|cannot|failed)\b", text), text
        assert re.search(rf"^watch +http://127.0.0.1:{9935 + shift}/", text, re.M)
        assert re.search(rf"^publish +rtmp://127.0.0.1:{1935 + shift}/live/NAME", text, re.M)
        assert re.search(rf"^try +pkill .*serviceAddr 127.0.0.1:{8935 + shift}'", text, re.M)
        assert text.index("gateway  ") < text.index("stream=test on air")
        for letter in "ABC":
            joined = text.index(f"orchestrator-{letter} worker=local-1 joined")
            assert joined < text.index("gateway  "), text
    assert up.process.returncode == 0


@pytest.mark.parametrize("port, who", [(8936, "orchestrator-B"), (1935, "gateway"),
                                       (7937, "orchestrator-C")])
def test_up_with_a_port_taken(tmp_path, shift, port, who):
    """Fault: the child that needs the port is started again for ever."""
    with socket.create_server(("127.0.0.1", port + shift)):
        done = run("up", "-portShift", shift, "-dataDir", tmp_path)
    assert done.returncode == 2, done.stdout
    assert f"port {port + shift} ({who})" in done.stderr
    assert "Stop it" in done.stderr and "-portShift" in done.stderr
    assert list(tmp_path.iterdir()) == [], "nobody was started"


def test_up_names_all_taken_ports(tmp_path, shift):
    with Up(tmp_path / "a", shift) as first:
        first.read_until("^stop +Ctrl-C")
        done = run("up", "-portShift", shift, "-dataDir", tmp_path / "b")
        assert done.returncode == 2
        for port in PORTS:
            assert f"{port + shift} (" in done.stderr, done.stderr
        assert "-portShift" in done.stderr, "the remedy was cut off"


def test_up_leaves_out_who_cannot_start(tmp_path, shift):
    """Fault: a child whose configuration is wrong is started again for ever, or takes the others
    with it."""
    (tmp_path / "orchestrator-B").write_text("a file where a folder should be")
    with Up(tmp_path, shift) as up:
        text = "\n".join(up.read_until("^stop +Ctrl-C"))
        assert text.count("orchestrator-B leat orchestrator: -dataDir") == 3, text
        assert "orchestrator-B cannot start" in text and "the others go on without it" in text
        assert "gateway  " in text
    assert up.process.returncode == 0


def test_up_ends_without_a_gateway(tmp_path, shift):
    (tmp_path / "gateway").write_text("a file where a folder should be")
    done = run("up", "-portShift", shift, "-dataDir", tmp_path, seconds=30)
    assert done.returncode == 2
    assert done.stdout.count("leat gateway: -dataDir") == 3 and "gateway cannot start" in done.stdout


# --- leat help ---

@pytest.mark.parametrize("topic", ROLES + COMMANDS)
def test_help_about(topic):
    about, flag = run("help", topic), run(topic, "--help")
    assert about.returncode == flag.returncode == 0
    assert about.stdout == flag.stdout and f"leat {topic}" in about.stdout
    assert not about.stderr and not flag.stderr


def test_help_about_nothing():
    done = run("help", "gatway")
    assert done.returncode == 2 and not done.stdout and '"gatway"' in done.stderr
    for topic in ROLES + COMMANDS:
        assert f"\n  {topic} " in done.stderr


def test_the_manual_page_has_all():
    text = run("manual").stdout
    for name in ROLES + COMMANDS:
        assert f"\n.B {name}\n" in text
    assert "\\fB\\-serviceAddr" in text and "Of: orchestrator\n" in text
    if shutil.which("man"):
        shown = subprocess.run(["man", "--warnings", "-l", "-"], input=text, capture_output=True,
                               text=True)
        assert not shown.stderr and "-serviceAddr" in shown.stdout


# --- completion ---

def complete(*words):
    script = run("completion").stdout
    done = subprocess.run(
        ["bash", "-c", script + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _leat; '
         'printf "%s\\n" "${COMPREPLY[@]}"', "leat", *words],
        capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_completion_offers_what_fits():
    """Fault: every flag of every role is offered, and most are then refused."""
    assert complete("leat", "") == {*ROLES, *COMMANDS, "help", "version"}
    assert complete("leat", "help", "") == {*ROLES, *COMMANDS}
    gateway, orchestrator = complete("leat", "gateway", "-"), complete("leat", "orchestrator", "-")
    assert {"-rtmpAddr", "-orchAddr", "-v"} <= gateway and "-serviceAddr" not in gateway
    assert {"-serviceAddr", "-v"} <= orchestrator and "-rtmpAddr" not in orchestrator
    assert "-testStream" in complete("leat", "up", "-")
    assert complete("leat", "status", "-") == {"-json"}
    assert complete("leat", "gateway", "-orchA") == {"-orchAddr"}
    assert {"-rtmpAddr", "-serviceAddr"} <= complete("leat", "-")


@pytest.mark.parametrize("role", ROLES)
def test_what_is_completed_is_explained_and_taken(role):
    explained = set(re.findall(r"^  (-\w+)", run("help", role).stdout, re.M))
    assert complete("leat", role, "-") == explained


# --- leat status ---

@pytest.fixture(scope="module")
def nodes(shared_network, segments):
    orchestrator = shared_network.bare_orchestrator(SECRET)
    transcoder = shared_network.transcoder(orchestrator, SECRET)
    orchestrator.wait_ready()
    gateway = shared_network.gateway(orchestrator, ladder="P144p30fps16x9")
    assert gateway.push("shown", 0, segments[0])[0] == 200
    return {"gateway": gateway, "orchestrator": orchestrator, "transcoder": transcoder}


@pytest.mark.parametrize("role, words", [
    ("gateway", ["1 stream, 1 orchestrator known", "shown: live by push", "quality", "made by",
                 "the publisher", "P144p30fps16x9", "256x144", "ready"]),
    ("orchestrator", ["1 of 10 sessions", "announces https://127.0.0.1:", "listens on", "worker",
                      "1 of 10", "stream", "shown"]),
    ("transcoder", ["works for 127.0.0.1:", "1 of 10", "1 done, 0 failed", "leat-codec"])])
def test_status_is_for_people(nodes, role, words):
    """Fault: raw JSON where a person asked; figures with 16 decimals."""
    done = run("status", nodes[role].admin)
    assert done.returncode == 0 and done.stdout.startswith(f"{role} "), done
    for word in words:
        assert word in done.stdout, done.stdout
    assert not re.search(r"[{}]|\d\.\d{3}", re.sub(r"[0-9.]+-leat\.[0-9.]+|127\S+", "", done.stdout))
    assert not re.search(r" $", done.stdout, re.M)
    as_json = run("status", "-json", nodes[role].admin).stdout
    assert json.loads(as_json)["role"] == role
    assert not re.search(r"\d\.\d{7}", as_json)


def test_status_of_a_wrong_address():
    done = run("status", "a:b")
    assert done.returncode == 2 and '"a:b" is no address' in done.stderr
    assert run("status", "-jsn").returncode == 2


# --- nodes without flags ---

def test_a_gateway_alone_says_what_to_do(shared_network):
    """Fault: without -orchAddr it stays silent, and somebody waits for qualities."""
    gateway = shared_network.gateway()
    gateway.wait_log("no orchestrator is known.*-orchAddr HOST:PORT")
    gateway.publish("alone")
    gateway.wait_segments(1, "alone")
    assert list(gateway.master("alone")) == ["source"]
