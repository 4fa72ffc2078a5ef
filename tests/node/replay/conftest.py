import subprocess
from collections import namedtuple

import pytest

from leatnet import Network

Media = namedtuple("Media", "ts mp4 renditions")
FRAMES = 60


def _ffmpeg(*args):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *map(str, args)], check=True)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """One segment as the recordings had: 2 s at 30 frames a second with a tone; and what a
    worker would make of it for the two profiles of most recordings."""
    folder = tmp_path_factory.mktemp("media")
    ts, mp4 = folder / "source.ts", folder / "source.mp4"
    outs = [folder / "240.ts", folder / "360.ts"]
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=2", "-f", "lavfi", "-i",
            "sine=frequency=440:duration=2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt",
            "yuv420p", "-bf", "0", "-g", FRAMES, "-c:a", "aac", ts)
    _ffmpeg("-i", ts, "-c", "copy", "-bsf:a", "aac_adtstoasc", mp4)
    _ffmpeg("-copyts", "-i", ts, "-muxdelay", 0, "-muxpreload", 0, "-c", "copy", outs[0],
            "-muxdelay", 0, "-muxpreload", 0, "-map", "0:v", "-c", "copy", outs[1])
    return Media(ts.read_bytes(), mp4.read_bytes(), [o.read_bytes() for o in outs])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Nodes that several tests of a module talk to."""
    net = Network(tmp_path_factory.mktemp("shared"))
    yield net
    net.close()
