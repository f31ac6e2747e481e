"""What bench/run hands over."""
import os
import sys

DATA = sys.argv[1]              # the server's data folder
NODE = os.environ["NODE_PEERS"]     # the folder of the peers that run on Node
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def number(name, default):
    return int(os.environ.get(name) or default)


METRIC = os.environ.get("METRIC", "").split()
ROUNDS = number("ROUNDS", 3)
DURATION = number("DURATION", 4)
CLIENTS = [int(word) for word in (os.environ.get("CLIENTS") or "1 8 32").split()]
BACKLOG1 = number("BACKLOG1", 10_000)
BACKLOG = number("BACKLOG", 100_000)
IDLE = number("IDLE", 20)
READERS = number("READERS", 1000)
SAMPLES = number("SAMPLES", 300)
HELD = number("HELD", 60)
WAITING = [int(word) for word in (os.environ.get("WAITING") or "10000 5000000").split()]
HISTORY = number("HISTORY", 10_000_000)
SCHEDULED = number("SCHEDULED", 5_000_000)
SIZE = number("SIZE", 500_000)
CALL = number("CALL", 1_200_000)
LONG_ROUNDS = number("LONG_ROUNDS", 1)
RESULTS = os.environ.get("RESULTS") or os.path.join(HERE, "RESULTS.md")

WORKERS = 8
LOUD = 0.12         # a run is marked as disturbed where others used more of the CPU
PAYLOAD = '{"order": 1001, "customer": "c-20417", "note": "%s", "total": 129.95}'
PAYLOAD %= "x" * (120 - len(PAYLOAD % ""))
assert len(PAYLOAD) == 120


class Wrong(Exception):
    """A run that did not do what it claims to have done."""
