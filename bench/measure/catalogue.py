"""Metrics by name."""
import functools
from typing import Callable, NamedTuple

import gateway
import metrics
import streams
from evq import Evq, EvqBatches, EvqOnNode
from gateway import EvqOverHttp, EvqOverSql
from libraries import GraphileWorker, PgBoss
from limit import Copy, Limit
from pgq import Pgq
from plain import Notify, Textbook
from settings import (BACKLOG, BACKLOG1, CALL, CLIENTS, HELD, HISTORY, IDLE, LONG_ROUNDS, READERS, ROUNDS, SCHEDULED, SIZE, WAITING,
                      WORKERS)

LIMIT = Limit("limit")
COPY = Copy("limit, COPY")
TEXTBOOK, PGQ, GRAPHILE_WORKER, PG_BOSS = PEERS = [Textbook(), Pgq(), GraphileWorker(), PgBoss()]
EVQ = Evq("evq")
PUSH = Evq("evq push")
PULL_FUSED = Evq("evq pull, fused", turn="turn_fused", delivery="pull")
BRIEF = Evq("evq pull, fused, retention 0", turn="turn_fused", delivery="pull", retention="0")
EVQ_WORKERS = [PUSH, Evq("evq push, fused", turn="turn_fused"), PULL_FUSED, BRIEF]
TOKENS = [Evq("evq pull, fused, token", turn="turn_token", delivery="pull"),
          Evq("evq pull, fused, token, retention 0", turn="turn_token", delivery="pull", retention="0")]

BATCHES = [EvqBatches("evq batches, fused", turn="turn_fused", delivery="pull"), EvqBatches("evq batches, token", turn="turn_token", delivery="pull")]


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
                  several("worker", *workers), [*PEERS, *EVQ_WORKERS, *([*TOKENS, *BATCHES] if batch >= 10 else [])])


METRICS = {
    "publish1": Metric("One event a transaction", "events/s", functools.partial(metrics.publish, batch=1),
                       several("client", *CLIENTS), [LIMIT, *PEERS, EVQ]),
    "publishN": Metric("1,000 events a transaction", "events/s", functools.partial(metrics.publish, batch=1000),
                       several("client", 1, 8), [LIMIT, COPY, *PEERS, EVQ]),
    "life1": life(1, BACKLOG1, WORKERS, 32),
    "life10": life(10, BACKLOG // 2, WORKERS),
    "life100": life(100, BACKLOG, WORKERS),
    "life1000": life(1000, BACKLOG, WORKERS),
    **{f"life{batch}_singly": Metric(f"The same, where no two events were published by one call, {batch:,} a turn", "events/s",
                                     functools.partial(metrics.drain_singles, batch=batch), {f"{WORKERS} workers": events},
                                     [TEXTBOOK, PGQ, PULL_FUSED, TOKENS[0], *BATCHES])
       for batch, events in ((10, BACKLOG // 2), (100, BACKLOG), (1000, BACKLOG))},
    "failing": Metric(f"A backlog of {BACKLOG:,} events drained, 100 a turn, of which one in ten fails once and is retried at once", "events/s",
                      functools.partial(metrics.drain_failing, batch=100), {f"{WORKERS} workers": BACKLOG},
                      [PGQ, PULL_FUSED, TOKENS[0], *BATCHES]),
    "mixed": Metric("8 publishers and 8 workers at once, from the first publish to the last finish", "events/s", metrics.mixed,
                    {f"{n} a transaction": n for n in (1, 10, 100)}, [*PEERS, *EVQ_WORKERS, *TOKENS, *BATCHES]),
    "variety": Metric("mixed, with events of several types in several flows", "events/s", metrics.variety,
                      {f"{several('flow', flows).popitem()[0]}, {several('type', types).popitem()[0]}, {batch} a transaction{within}": (flows, types, batch, bool(within))
                       for flows, types in ((1, 1), (16, 100)) for batch, within in ((1, ""), (10, ""), (100, ""), (100, ", of all types"))
                       if types > 1 or not within},
                      [PUSH, PULL_FUSED, TOKENS[0], *BATCHES], LONG_ROUNDS),
    "latency": Metric("From a publish to whoever waits for it, idle", "ms", metrics.latency,
                      dict.fromkeys(("acknowledged, p50", "acknowledged, p99", "called, p50", "called, p99")),
                      [Notify(), PGQ, GRAPHILE_WORKER, PG_BOSS, EVQ, EvqOnNode("evq, Node worker")]),
    "gateway": Metric("One event a request, through evq-gateway", "", gateway.publish,
                      dict.fromkeys(f"{clients}, {what}" for clients in several("client", *CLIENTS)
                                    for what in ("events/s", "p50, ms", "p99, ms")),
                      [EvqOverSql("SQL, the route's function", "publish1_http"), EvqOverSql("SQL, evq_publish()", "publish1"),
                       EvqOverHttp("HTTP")]),
    "gateway_streams": Metric(f"{READERS:,} readers of evq-gateway's live stream", "", streams.cost,
                              dict.fromkeys(("gateway's memory without them, MB", "with them, MB", "a reader, kB",
                                             f"CPU in {IDLE} s without events, % of a core",
                                             "first hears of an event, p50, ms", "last hears of it, p50, ms",
                                             "last hears of it, longest, ms")), [EVQ]),
    "wal": Metric("WAL of an event's whole life", "bytes", metrics.wal,
                  {"1 a transaction": 1, "100 a transaction": 100}, [*PEERS, *EVQ_WORKERS, *BATCHES], LONG_ROUNDS),
    "idle": Metric("The dispatcher with nothing to do, in a minute", "", metrics.idle,
                   dict.fromkeys(("CPU, ms", "WAL, bytes")), [EVQ]),
    "held": Metric(f"mixed by 1 for {HELD} s, while another session holds a snapshot", "", metrics.held,
                   dict.fromkeys(("first 5 s, events/s", "last 5 s, events/s", "last 5 s without the snapshot, events/s",
                                  "last / first", "with / without")),
                   [*PEERS, PUSH, PULL_FUSED], LONG_ROUNDS),
    "backlog": Metric(f"{BACKLOG:,} events drained, 100 a turn, while others wait", "events/s", metrics.backlog,
                      {f"{number:,} wait": number for number in WAITING}, [*PEERS, PUSH, PULL_FUSED], LONG_ROUNDS),
    "backlog_calls": Metric(f"Of {CALL:,} events {BACKLOG:,} drained, 100 a turn, by how they were published", "", metrics.backlog_calls,
                            dict.fromkeys(("published by calls of 1,000, events/s", "... and drained, events/s", "published by one call, events/s",
                                           "... and then drained, events/s", "one call / calls of 1,000")),
                            [TEXTBOOK, PULL_FUSED, TOKENS[0], *BATCHES], LONG_ROUNDS),
    "history": Metric(f"A backlog of {BACKLOG:,} events drained, 100 a turn, beside finished ones", "events/s", metrics.history,
                      {f"{number:,} finished": number for number in (0, HISTORY)}, [PG_BOSS, PUSH, PULL_FUSED], LONG_ROUNDS),
    "scheduled": Metric(f"{SCHEDULED:,} events due over the next three days", "", metrics.scheduled,
                        dict.fromkeys(("published, events/s", "due ones drained, 10 a turn, events/s",
                                       "restarted server to first dispatch, ms")), [GRAPHILE_WORKER, PG_BOSS, PUSH], LONG_ROUNDS),
    "size": Metric(f"On disk after {SIZE:,} events are done", "", metrics.size,
                   dict.fromkeys(("as it stands, bytes an event", "as it stands, MB", "after vacuum or rotation, bytes an event",
                                  "after vacuum or rotation, MB")), [*PEERS, PUSH, PULL_FUSED, BRIEF, *BATCHES], LONG_ROUNDS),
    "flows": Metric(f"{BACKLOG:,} events drained, 10 a turn, in so many flows", "events/s", metrics.flows,
                    several("flow", 1, 10, 100), [PUSH, PULL_FUSED], LONG_ROUNDS),
    "listeners": Metric("mixed by 1, while so many sessions listen", "events/s", metrics.listeners,
                        {f"{number} listen": number for number in (0, 200)}, [PUSH, PULL_FUSED], LONG_ROUNDS),
    "ordered": Metric(f"{BACKLOG1:,} events drained, 10 a turn, in an ordered flow", "events/s", metrics.ordered,
                      several("flow_id", 100, 100_000), [PUSH, PULL_FUSED], LONG_ROUNDS),
}
