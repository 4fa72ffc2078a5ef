"""`meson install`: what a packager gets."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from leatnet import RELEASE, SLOW

ROLES = ["gateway", "orchestrator", "transcoder"]
PACKAGE = Path(__file__).parents[2] / "tools/package"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("install")
    done = subprocess.run(["meson", "install", "-C", RELEASE, "--destdir", folder, "--no-rebuild"],
                          capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    (prefix,) = folder.glob("usr/local") if (folder / "usr/local").exists() else folder.glob("usr")
    return prefix


def test_programs_pages_and_units_are_there(root):
    for name in ["bin/leat", "bin/leat-codec"]:
        assert (root / name).stat().st_mode & 0o111
    page = (root / "share/man/man1/leat.1").read_text()
    assert page.startswith(".TH LEAT 1") and "serviceAddr" in page
    completion = (root / "share/bash-completion/completions/leat").read_text()
    assert "complete -o default -F _leat leat" in completion
    shown = subprocess.run([root / "bin/leat", "version"], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.startswith("leat ")


@pytest.mark.parametrize("role", ROLES)
def test_unit(root, role):
    path = root / f"lib/systemd/system/leat-{role}.service"
    unit = path.read_text()
    assert f"leat {role} -dataDir" in unit and "@" not in unit
    program = re.search(r"^ExecStart=(\S+)", unit, re.M)[1]
    assert str(root).endswith(str(Path(program).parents[1])), "the unit starts what was installed"
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here to judge the rest")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True,
                          text=True)
    complaints = [l for l in done.stderr.splitlines()
                  if path.name in l and "is not executable" not in l]
    assert not complaints, done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=35", path],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_stopping_is_given_the_time_that_draining_takes():
    """Fault: systemd kills a node that still finishes what runs."""
    for role in ROLES:
        source = (PACKAGE.parents[1] / f"node/role_{role}.c").read_text()
        ms = re.search(r"DRAIN_MS = (\d+)( \* 1000)?", source)
        drain_s = int(ms[1]) if ms[2] else int(ms[1]) / 1000
        unit = (PACKAGE / f"leat-{role}.service.in").read_text()
        assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.M)[1]) >= drain_s + 10, role


def test_container_file_has_a_target_for_each_role():
    text = (PACKAGE / "Containerfile").read_text()
    for role in ROLES:
        assert re.search(rf'^FROM leat AS {role}\nHEALTHCHECK .*\nENTRYPOINT \["leat", "{role}"\]$',
                         text, re.M)
