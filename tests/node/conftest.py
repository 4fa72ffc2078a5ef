import subprocess
from pathlib import Path

import pytest

from clips import make_clips
from codec_util import Template
from leatnet import Network


@pytest.fixture
def network(tmp_path):
    net = Network(tmp_path)
    yield net
    net.close()


@pytest.fixture(scope="module")
def shared_network(tmp_path_factory):
    """One network for the tests of a file that do not harm it."""
    net = Network(tmp_path_factory.mktemp("network"))
    yield net
    net.close()


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """{name: FLV file}, encoded once: publishers only copy."""
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def segments(tmp_path_factory):
    """Eight consecutive 2 s MPEG-TS segments of a moving picture with a tone."""
    folder = tmp_path_factory.mktemp("media")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=16",
         "-f", "lavfi", "-i", "sine=frequency=440:duration=16", "-c:v", "libx264", "-preset",
         "ultrafast", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-c:a", "aac", "-f",
         "segment", "-segment_time", "2", "-segment_format", "mpegts", str(folder / "%d.ts")],
        check=True)
    return [Path(folder / f"{n}.ts").read_bytes() for n in range(8)]


@pytest.fixture(scope="module")
def template():
    """A running leat-codec."""
    with Template() as t:
        yield t


@pytest.fixture
def session(template):
    s = template.open()
    yield s
    s.close()
