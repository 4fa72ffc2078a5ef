import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "node"))

from leatnet import Network  # noqa: E402


@pytest.fixture
def network(tmp_path):
    net = Network(tmp_path)
    yield net
    net.close()
