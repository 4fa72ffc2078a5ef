"""The processes of leat-codec: what children may do, and when they live and die."""
import os
import signal
import struct
import subprocess
import time

import pytest

from codec_util import (BUDGET, P240, P360, READY, Template, is_sanitized, message, one_segment,
                        pattern, picture, picture_bytes, program, streams)


@pytest.fixture(scope="module")
def second():
    """A second of video."""
    return one_segment(*pattern(seconds="1"))


@pytest.fixture
def template():
    with Template() as t:
        yield t


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def place_of_stack(pid):
    with open(f"/proc/{pid}/maps") as f:
        return next(line for line in f if line.endswith("[stack]\n"))


def is_alive(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until_dead(pid, seconds=20):
    end = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < end, f"{pid} still lives"
        time.sleep(0.01)


def test_child_is_confined(template, second):
    session = template.open("a/stream")
    assert session.transcode(second, [P240]).rc == "OK"
    s = status(session.pid)
    assert (s["Seccomp"], s["NoNewPrivs"], s["Threads"]) == ("2", "1", "1")
    assert s["Name"] == "codec a/stream"
    open_fds = set(os.listdir(f"/proc/{session.pid}/fd"))
    assert open_fds - ({"2"} if is_sanitized() else set()) == {"3"}
    limits = open(f"/proc/{session.pid}/limits").read()
    assert "Max core file size        0                    0 " in limits
    if not is_sanitized():
        assert "Max address space         unlimited" not in limits


def test_child_does_not_know_the_environment():
    os.environ["LEAT_TEST_SECRET"] = "hush-hush-hush"
    try:
        with Template() as template:
            session = template.open()
            environment = open(f"/proc/{session.pid}/environ", "rb").read()
            if not is_sanitized():  # those need their options
                assert b"hush" not in environment
                assert b"hush" not in open(f"/proc/{template.process.pid}/environ", "rb").read()
    finally:
        del os.environ["LEAT_TEST_SECRET"]


def test_children_live_through_the_crash_of_another(template, second):
    survivor, victim = template.open(), template.open()
    assert survivor.transcode(second, [P240]).rc == "OK"
    before = os.readlink(f"/proc/{template.process.pid}/exe"), template.process.pid
    stack = place_of_stack(template.process.pid)
    victim_pid = victim.pid
    os.kill(victim_pid, signal.SIGKILL)
    assert template.wait_death(victim_pid) == signal.SIGKILL
    template.wait(READY)
    assert template.readies == 2
    assert (os.readlink(f"/proc/{template.process.pid}/exe"), template.process.pid) == before
    assert place_of_stack(template.process.pid) != stack    # a layout nobody has seen
    assert survivor.transcode(second, [P240]).rc == "OK"
    fresh = template.open()
    assert fresh.transcode(second, [P240, P360]).rc == "OK"
    survivor.close()        # its death is noticed by the new image too
    assert template.wait_death(survivor.pid) == 0


def test_a_normal_end_restarts_nothing(template, second):
    session = template.open()
    assert session.transcode(second, [P240]).rc == "OK"
    session.close()
    assert template.wait_death(session.pid) == 0
    assert template.open().transcode(second, [P240]).rc == "OK"
    assert template.readies == 1


def test_children_end_with_the_client_even_in_the_middle_of_a_job():
    long = one_segment(*pattern(seconds="60"), seconds=100)
    template = Template()
    idle, busy = template.open(), template.open()
    busy.send(long, [P240, P360])
    template.process.kill()     # as when the client is killed: PR_SET_PDEATHSIG ends it
    template.process.wait()
    for s in (idle, busy):
        wait_until_dead(s.pid)


def test_template_ends_when_its_socket_does():
    template = Template()
    session = template.open()
    template.control.close()
    assert template.process.wait(20) == 0
    wait_until_dead(session.pid)


def test_processor_time_is_bounded(template):

    session = template.open()
    template.control.send(message(BUDGET, struct.pack(">iI", session.pid, 1)))
    long = one_segment(*pattern("1280x720", seconds="60"), seconds=100,
                       video=("-preset", "ultrafast"))
    session.send(long, [P360] * 10)
    assert template.wait_death(session.pid) & 0x7f == signal.SIGXCPU


def test_nonsense_ends_the_child_with_a_status(template, second):
    session = template.open()
    session.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert os.WEXITSTATUS(template.wait_death(session.pid)) == 2
    assert template.open().transcode(second, [P240]).rc == "OK"


@pytest.mark.skipif(is_sanitized(), reason="sanitized builds have no memory limit")
def test_memory_is_bounded(template, second):
    session = template.open(memory=40 << 20)
    large = one_segment(*pattern("3840x2160", seconds="0.2"), video=("-preset", "ultrafast"))
    r = session.transcode(large, [P240])
    assert (r.rc, r.text) == ("LIMIT", "codec out of memory")
    assert os.WEXITSTATUS(template.wait_death(session.pid)) == 3
    assert template.open().transcode(second, [P240]).rc == "OK"


def test_sessions_do_not_wait_for_each_other(template, second):
    sessions = [template.open() for _ in range(4)]
    for s in sessions:
        s.send(second, [P240])
    os.kill(sessions[0].pid, signal.SIGSTOP)
    for s in sessions[1:]:
        assert s.result().rc == "OK"
    os.kill(sessions[0].pid, signal.SIGCONT)
    assert sessions[0].result().rc == "OK"


# ---- the program by hand ----

def run(*args):
    return subprocess.run([program(), *args], capture_output=True, text=True)


def test_help_teaches():
    r = run("--help")
    assert r.returncode == 0
    for word in ("picture", "template", "-size", "-bitrate", "-duration", "ffplay"):
        assert word in r.stdout


@pytest.mark.parametrize("args,said", [
    ([], "no command"),
    (["frobnicate"], 'unknown command "frobnicate"'),
    (["picture", "-size", "13x7"], '-size "13x7": expected an even width'),
    (["picture", "-fps", "0"], '-fps "0": expected frames a second'),
    (["picture", "-bitrate", "3q"], '-bitrate "3q": expected bits'),
    (["picture", "-gop"], '-gop "": expected seconds'),
    (["picture", "-colour", "red"], 'unknown option "-colour"'),
])
def test_bad_words_are_named(args, said):
    r = run(*args)
    assert r.returncode == 2 and said in r.stderr and not r.stdout


def test_picture_is_live_and_ends(tmp_path):
    start = time.monotonic()
    media = picture_bytes(picture("-duration", "2", "--size", "320x180", "-fps", "25", "-gop", "1",
                                  "-bitrate", "500k"))
    took = time.monotonic() - start
    assert 1.9 < took       # in real time; how much later depends on the machine
    video, sound = streams(media)
    assert (video["codec_name"], video["width"], video["nb_read_frames"]) == ("h264", 320, "50")
    assert sound["codec_name"] == "aac" and int(sound["nb_read_frames"]) > 90


def test_picture_ends_quietly_when_nobody_reads():
    p = picture("-size", "320x180")
    p.stdout.read(1000)
    p.stdout.close()
    assert p.wait(20) == 0
