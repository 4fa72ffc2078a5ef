"""What the benchmarks measure with: CPU and memory of process trees, from /proc."""
import os
import statistics
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    direct = [int(p) for p in text.split()]
    return direct + [p for d in direct for p in children(d)]


def cpu(pid, with_reaped=True):
    """User and system seconds of one process, of children it has reaped too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    own = int(fields[11]) + int(fields[12])
    reaped = int(fields[13]) + int(fields[14]) if with_reaped else 0
    return (own + reaped) / TICK


def tree_cpu(pid):
    return cpu(pid) + sum(cpu(p) for p in children(pid))


def pss(pid):
    """Proportional set size in KiB."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(l.split()[1]) for l in text.splitlines() if l.startswith("Pss:")), 0)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


median = statistics.median
