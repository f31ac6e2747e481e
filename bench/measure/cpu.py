"""Who used the CPU."""
import os
import time

from settings import DATA

TICK = os.sysconf("SC_CLK_TCK")
gone = 0.0          # what servers used that run no more


def note_restart():
    global gone
    gone += server_seconds()


def server_seconds():
    with open(os.path.join(DATA, "postmaster.pid"), encoding="ascii") as file:
        postmaster = int(file.readline())
    ticks = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(pid) == postmaster:
            ticks += sum(map(int, fields[11:15]))       # its own and that of its children who ended
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / TICK


def process_seconds(pid):
    """Of one process, to the nanosecond."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


def cpu_seconds():
    """Of the whole machine, and of this benchmark with its server."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    return sum(fields[:3] + fields[5:8]) / TICK, sum(os.times()[:4]) + gone + server_seconds()


class Watch:
    """The share of the CPU that others used while it was open."""

    def __enter__(self):
        self.busy, self.own = cpu_seconds()
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        busy, own = cpu_seconds()
        seconds = time.monotonic() - self.start
        self.others = max(0.0, ((busy - self.busy) - (own - self.own)) / (seconds * os.cpu_count()))
