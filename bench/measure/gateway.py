"""evq behind evq-gateway: publishing over HTTP, by wrk."""
import contextlib
import os
import re
import socket
import subprocess
import time
import urllib.request

from evq import Evq
from settings import CLIENTS, DURATION, HERE, PAYLOAD, Wrong

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gateway(*options):
    """Its address and pid, while it runs; it finishes what it was asked before it ends."""
    address = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(["evq-gateway", "--port", address.rpartition(":")[2], "--max-connections-per-client", "0",
                                "--log-level", "error", *options, "bench"])
    try:
        end = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(address + "/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise Wrong("the gateway does not answer") from None
                time.sleep(0.05)
        yield address, process.pid
    finally:
        process.terminate()
        if process.wait(30) != 0:
            raise Wrong("the gateway did not end well")


class EvqOverSql(Evq):
    """By pgbench, with the statement of a script in contestants/evq."""

    def __init__(self, name, statement):
        super().__init__(name)
        self.statement = statement

    def script(self, name, batch):
        return super().script(self.statement if name == "publish1" else name, batch)

    def publish_figures(self, clients):
        """Requests a second; median and 99th percentile in ms, which pgbench does not tell."""
        return self.publish_rate(clients, 1), None, None


class EvqOverHttp(Evq):
    def publish_figures(self, clients):
        with gateway() as (address, _):
            out = subprocess.run(["wrk", "-t", "1", "-c", str(clients), "-d", f"{DURATION}s", "--latency", "-s",
                                  os.path.join(HERE, "contestants/evq/publish1.lua"), address + "/api/events", "--", PAYLOAD],
                                 check=True, capture_output=True, text=True).stdout
        done = re.search(r"(\d+) requests in", out)
        rate = re.search(r"Requests/sec:\s*(\S+)", out)
        times = [re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)$", out, re.M) for share in (50, 99)]
        if "Non-2xx" in out or "Socket errors" in out or not (done and rate and all(times)):
            raise Wrong(f"wrk:\n{out}")
        # Requests under way when wrk ended were published without being counted.
        found, counted = self.published(), int(done[1])
        if not counted <= found <= counted + clients:
            raise Wrong(f"{self.name}: {counted} events were acknowledged and {found} are there")
        return (float(rate[1]), *(float(found[1]) * MILLISECONDS[found[2]] for found in times))


def publish(contestant, _):
    """For each number of clients: requests a second, median and 99th percentile of their time."""
    figures = []
    for clients in CLIENTS:
        contestant.create()
        figures.extend(contestant.publish_figures(clients))
    return figures
