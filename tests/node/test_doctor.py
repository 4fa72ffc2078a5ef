"""`leat doctor`: what would keep a node from working is found, with the mend."""
import http.server
import os
import socket
import subprocess
import threading
from email.utils import formatdate

import pytest

from leatnet import SANITIZED, SLOW, free_port

SECRET = "the secret of test_doctor"


def doctor(*argv, env=None):
    return subprocess.run([SANITIZED / "leat", "doctor", *map(str, argv)], capture_output=True,
                          text=True, timeout=40 * SLOW, env={**os.environ, **(env or {})})


def spare():
    return f"127.0.0.1:{free_port()}"


def gateway_flags(folder, *flags):
    return ["gateway", "-rtmpAddr", spare(), "-httpAddr", spare(), "-cliAddr", spare(), "-dataDir",
            folder / "gateway", *flags]


def worker_flags(folder, orchestrator):
    return ["transcoder", "-cliAddr", spare(), "-dataDir", folder / "w", "-orchAddr", orchestrator,
            "-orchSecret", SECRET]


@pytest.fixture
def web():
    """A web server: /list answers with orchestrators, all else with nothing; its clock is settable."""
    class Handler(http.server.BaseHTTPRequestHandler):
        at = None

        def do_GET(self):
            body = b'[{"address":"https://a.example:8935"}]' if self.path == "/list" else b""
            self.send_response_only(200)
            self.send_header("Date", formatdate(Handler.at, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.handler, server.name = Handler, f"127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def test_all_is_well(network, tmp_path):
    orchestrator = network.orchestrator()
    done = doctor(*gateway_flags(tmp_path, "-orchAddr", orchestrator.service))
    assert done.returncode == 0 and "WRONG" not in done.stdout, done.stdout + done.stderr
    assert f"orchestrator https://{orchestrator.service} answers" in done.stdout
    assert not (tmp_path / "gateway").exists(), "it changes nothing"
    done = doctor(*worker_flags(tmp_path, orchestrator.service))
    assert done.returncode == 0 and "the codec works" in done.stdout, done.stdout


def test_a_running_node_has_its_own_ports(network):
    gateway = network.gateway(network.orchestrator())
    status = gateway.status()
    done = doctor("gateway", "-cliAddr", gateway.admin, "-rtmpAddr", status["rtmp_addr"], "-httpAddr",
                  status["http_addr"], "-dataDir", gateway.data, *gateway.flags)
    assert done.returncode == 0 and "a node runs already" in done.stdout, done.stdout


def wrong(done, fault, mend):
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    at = next(i for i, l in enumerate(lines) if l.startswith("WRONG") and fault in l)
    assert lines[at + 1].startswith("       mend: ") and mend in lines[at + 1], done.stdout


@pytest.mark.parametrize("flag", ["-rtmpAddr", "-httpAddr", "-cliAddr"])
def test_a_port_is_taken(tmp_path, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addr = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = gateway_flags(tmp_path)
        argv[argv.index(flag) + 1] = addr
        wrong(doctor(*argv), f"{flag} {addr} cannot be opened", f"another {flag}")


def test_the_service_port_is_taken(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        done = doctor("orchestrator", "-transcoder", "-cliAddr", spare(), "-dataDir", tmp_path,
                      "-serviceAddr", f"127.0.0.1:{port}")
    wrong(done, f"-serviceAddr :{port} cannot be opened", "another -serviceAddr")
    assert "on this machine only" in done.stdout and "the codec works" in done.stdout


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "gateway").write_text("")
    wrong(doctor(*gateway_flags(tmp_path)), "is no folder", "-dataDir")


def test_orchestrators(tmp_path):
    dead = spare()
    wrong(doctor(*gateway_flags(tmp_path, "-orchAddr", dead)),
          f"orchestrator https://{dead} does not answer", "firewall")
    wrong(doctor(*gateway_flags(tmp_path)), "no orchestrator is known", "-orchWebhookUrl")


def test_the_secret_is_a_path_that_cannot_be_read(tmp_path):
    argv = worker_flags(tmp_path, spare())
    argv[-1] = tmp_path / "secret"
    wrong(doctor(*argv), "secret cannot be read", "the path itself would be the secret")


def test_the_codec_is_missing(tmp_path):
    """Fault: the node starts, takes work and fails with each segment."""
    alone = tmp_path / "bin/leat"
    alone.parent.mkdir()
    os.link(SANITIZED / "leat", alone) if os.stat(SANITIZED).st_dev == os.stat(tmp_path).st_dev \
        else alone.write_bytes((SANITIZED / "leat").read_bytes())
    alone.chmod(0o755)
    done = subprocess.run([alone, *map(str, ["doctor", *worker_flags(tmp_path, spare())])],
                          capture_output=True, text=True, timeout=40 * SLOW)
    wrong(done, "the codec does not", "leat-codec")


def test_the_webhook(tmp_path, web):
    done = doctor(*gateway_flags(tmp_path, "-orchWebhookUrl", f"http://{web.name}/list"))
    assert done.returncode == 0 and "answers with 1 orchestrators" in done.stdout, done.stdout
    wrong(doctor(*gateway_flags(tmp_path, "-orchWebhookUrl", f"http://{web.name}/empty")),
          "/empty: status 200", "answers GET with")
    wrong(doctor(*gateway_flags(tmp_path, "-orchWebhookUrl", f"http://{spare()}/list")),
          "status 0", "-orchWebhookUrl")


def test_the_clock(tmp_path, web):
    flags = ["-orchAddr", f"http://{web.name}"]
    done = doctor(*gateway_flags(tmp_path, *flags))
    assert "the clock agrees" in done.stdout and done.returncode == 0, done.stdout
    web.handler.at = 1000000000
    wrong(doctor(*gateway_flags(tmp_path, *flags)), "before that of", "timedatectl")


def test_flags_and_roles(tmp_path):
    wrong(doctor("gateway", "-ethUrl", "x"), "-ethUrl is refused", "leat help")
    done = doctor("transcoder")
    assert done.returncode == 1 and "WRONG  a transcoder needs -orchAddr" in done.stdout
    for argv in [[], ["up"], ["nobody"]]:
        done = doctor(*argv)
        assert done.returncode == 2 and done.stderr.startswith("leat doctor ROLE")
