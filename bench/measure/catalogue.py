"""Metrics by name."""
import functools
from typing import Callable, NamedTuple

import metrics
from contestants import Evq, EvqOnNode, GraphileWorker, Notify, PgBoss, Pgq, Textbook
from limit import Copy, Limit
from settings import BACKLOG, BACKLOG1, CLIENTS, ROUNDS, WORKERS

LIMIT = Limit("limit")
COPY = Copy("limit, COPY")
PEERS = [Textbook(), Pgq(), GraphileWorker(), PgBoss()]
EVQ = Evq("evq")
EVQ_WORKERS = [
    Evq("evq push"),
    Evq("evq push, fused", turn="turn_fused"),
    Evq("evq pull", delivery="pull"),
    Evq("evq pull, fused", turn="turn_fused", delivery="pull"),
]


class Metric(NamedTuple):
    title: str
    unit: str
    measure: Callable           # see metrics.py
    variants: dict              # rows: {label: what measure is told}
    contestants: list           # columns; the first one is the base of the ratios
    rounds: int = ROUNDS


def several(unit, *numbers):
    return {f"{number:,} {unit}{'s' * (number > 1)}": number for number in numbers}


def life(batch, events, *workers):
    return Metric(f"A backlog of {events:,} events drained, {batch:,} a turn", "events/s",
                  lambda contestant, workers: metrics.drain(contestant, events, batch, workers),
                  several("worker", *workers), [*PEERS, *EVQ_WORKERS])


METRICS = {
    "publish1": Metric("One event a transaction", "events/s", functools.partial(metrics.publish, batch=1),
                       several("client", *CLIENTS), [LIMIT, *PEERS, EVQ]),
    "publishN": Metric("1,000 events a transaction", "events/s", functools.partial(metrics.publish, batch=1000),
                       several("client", 1, 8), [LIMIT, COPY, *PEERS, EVQ]),
    "life1": life(1, BACKLOG1, WORKERS, 32),
    "life10": life(10, BACKLOG, WORKERS),
    "life100": life(100, BACKLOG, WORKERS),
    "life1000": life(1000, BACKLOG, WORKERS),
    "mixed": Metric("8 publishers and 8 workers at once, from the first publish to the last finish", "events/s", metrics.mixed,
                    {f"{n} a transaction": n for n in (1, 10, 100)}, [*PEERS, *EVQ_WORKERS]),
    "latency": Metric("From a publish to whoever waits for it, idle", "ms", metrics.latency,
                      dict.fromkeys(("acknowledged, p50", "acknowledged, p99", "called, p50", "called, p99")),
                      [Notify(), *PEERS[1:], EVQ, EvqOnNode("evq, Node worker")]),
    "wal": Metric("WAL of an event's whole life", "bytes", metrics.wal,
                  {"1 a transaction": 1, "100 a transaction": 100}, [*PEERS, *EVQ_WORKERS]),
    "idle": Metric("The dispatcher with nothing to do, in a minute", "", metrics.idle,
                   dict.fromkeys(("CPU, ms", "WAL, bytes")), [EVQ]),
}
