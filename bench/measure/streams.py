"""Readers of evq-gateway's live stream: what they cost, and when they hear of an event."""
import os
import resource
import select
import socket
import statistics
import time

from cpu import process_seconds
from database import value
from gateway import gateway
from settings import IDLE, PAYLOAD, READERS, SAMPLES, Wrong

PAGE = os.sysconf("SC_PAGE_SIZE")


class Readers:
    """So many connections to /api/stream, each of which has had its first bytes, while it is open."""

    def __init__(self, port, number):
        self.port, self.number = port, number
        self.sockets = {}
        self.poll = select.epoll()

    def __enter__(self):
        request = f"GET /api/stream HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n".encode()
        for _ in range(self.number):
            reader = socket.create_connection(("127.0.0.1", self.port))
            reader.sendall(request)
            self.sockets[reader.fileno()] = reader
            self.poll.register(reader, select.EPOLLIN)
        self.hear(b"retry: ")
        return self

    def __exit__(self, *_):
        for reader in self.sockets.values():
            reader.close()
        self.poll.close()

    def hear(self, text):
        """The times when the first and the last reader had been told this."""
        tails = {}
        missing = set(self.sockets)
        times = []
        end = time.monotonic() + 30
        while missing:
            ready = self.poll.poll(1)
            if time.monotonic() > end:
                raise Wrong(f"{len(missing)} of {self.number} readers of the live stream did not hear {text.decode()}")
            for descriptor, _ in ready:
                came = self.sockets[descriptor].recv(65536)
                if not came:
                    raise Wrong("the live stream ended")
                seen = tails.get(descriptor, b"") + came
                tails[descriptor] = seen[-len(text):]
                if descriptor in missing and text in seen:
                    missing.remove(descriptor)
                    times.append(time.perf_counter())
        return times[0], times[-1]


def memory(pid):
    """Resident, in MB."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE / 1e6


def cost(contestant, _):
    """Memory without and with readers, CPU while nothing happens, milliseconds until the first and the last hears."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    contestant.create()
    with gateway("--max-connections", str(READERS + 100)) as (address, pid):
        before = memory(pid)
        with Readers(int(address.rpartition(":")[2]), READERS) as readers:
            during = memory(pid)
            used, began = process_seconds(pid), time.monotonic()
            time.sleep(IDLE)
            idle = (process_seconds(pid) - used) / (time.monotonic() - began)
            first, last = [], []
            for _ in range(min(SAMPLES, 100)):
                event_id = value("SELECT evq_publish('BENCH', 'BENCH', 'case', %s)", PAYLOAD)
                acknowledged = time.perf_counter()
                heard = readers.hear(event_id.encode())
                first.append(1000 * (heard[0] - acknowledged))
                last.append(1000 * (heard[1] - acknowledged))
    return [before, during, 1000 * (during - before) / READERS, 100 * idle,
            statistics.median(first), statistics.median(last), max(last)]
