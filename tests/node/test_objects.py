"""Objects into S3, against a server that checks every signature, and into a folder."""
import os
import pathlib
import socket
import subprocess

import pytest

from s3_server import S3, SECRET

BODY = os.urandom(3 << 20)


def tool():
    build = os.environ.get("LEAT_BUILD_SANITIZED", pathlib.Path(__file__).parents[2] / "build")
    return pathlib.Path(build) / "store" / "object_tool"


@pytest.fixture
def s3():
    server = S3()
    yield server
    server.close()


@pytest.fixture
def put(tmp_path):
    source = tmp_path / "body"
    source.write_bytes(BODY)
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}

    def do(store, name="id/node/source/7.ts", try_ms=20000):
        done = subprocess.run([tool(), store, name, source, str(try_ms)], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean)
        assert SECRET not in done.stdout and "se%2F" not in done.stdout
        return done.returncode == 0, done.stdout.strip()
    return do


def test_s3_gets_what_was_put(s3, put):
    assert put(s3.url("bucket/pre%20fix"), "my id+1/node/P720p/7.ts") == (True, "ok")
    body, headers = s3.objects["pre fix/my id+1/node/P720p/7.ts"]
    assert body == BODY
    assert headers["x-amz-meta-duration"] == "2000" and headers["content-type"] == "video/mp2t"
    assert "Expect" not in headers


@pytest.mark.parametrize("script", [[503], [500, 429], [502, 503]])
def test_trouble_that_passes_costs_tries_only(s3, put, script):
    s3.script = list(script)
    assert put(s3.url()) == (True, "ok")
    assert s3.requests == len(script) + 1 and len(s3.objects) == 1


def test_trouble_that_stays_is_told(s3, put):
    s3.script = [503] * 9
    ok, said = put(s3.url())
    assert not ok and said.startswith("after 3 tries: ") and "503 SlowDown" in said
    assert f"http://{s3.address}/bucket/id/node/source/7.ts" in said
    assert s3.requests == 3


def test_a_wrong_secret_is_told_at_once(s3, put):
    ok, said = put(s3.url(secret="wrong"))
    assert not ok and "403 SignatureDoesNotMatch" in said and "key and secret" in said
    assert s3.requests == 1 and not s3.objects


@pytest.mark.parametrize("status, says", [(301, "another region"), (307, "another region"),
                                          (400, "region and bucket"), (413, "smaller"),
                                          (418, "S3 server")])
def test_refusals_say_what_to_do(s3, put, status, says):
    s3.script = [status]
    ok, said = put(s3.url())
    assert not ok and f"status {status} Scripted" in said and says in said
    assert s3.requests == 1


def test_a_bucket_that_is_not_there(s3, put):
    ok, said = put(s3.url("other"))
    assert not ok and "404 NoSuchBucket: make the bucket" in said


def test_a_server_that_hangs_is_given_up_and_asked_again(s3, put):
    s3.script = ["hang"]
    assert put(s3.url(), try_ms=1500) == (True, "ok")
    assert s3.requests == 2


def test_nobody_listens(put):
    with socket.socket() as taken:      # bound, never listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        ok, said = put(f"s3+http://k:s@127.0.0.1:{taken.getsockname()[1]}/bucket")
    assert not ok and said.startswith("after 3 tries: ") and "is the store up" in said


def test_folder_gets_what_was_put(put, tmp_path):
    assert put(tmp_path / "rec", "id/node/source/7.ts") == (True, "ok")
    assert [p.name for p in (tmp_path / "rec").rglob("*") if p.is_file()] == ["7.ts"]
    assert (tmp_path / "rec/id/node/source/7.ts").read_bytes() == BODY
    assert put(f"file://{tmp_path}/rec", "id/node/source/7.ts") == (True, "ok")


def test_folder_that_is_a_file(put, tmp_path):
    ok, said = put(tmp_path / "body" / "rec")
    assert not ok and said.startswith("after 3 tries: ") and "Not a directory" in said


@pytest.mark.parametrize("name", ["../up.ts", "/root.ts", "a//b"])
def test_names_stay_inside(put, tmp_path, name):
    ok, said = put(tmp_path / "rec", name)
    assert not ok and "name is not possible" in said and not (tmp_path / "rec").exists()
