"""What is measured: each metric is a function (contestant, what the variant stands for) -> figure.

Where one run gives the figures of all variants, they stand for nothing, and it returns a list.
"""
import contextlib
import time

import database
import server
from cpu import process_seconds
from database import connect, row, value, wal_position
from listeners import Listeners
from settings import BACKLOG, BACKLOG1, CALL, DURATION, HELD, HISTORY, IDLE, SCHEDULED, SIZE, WORKERS


def publish(contestant, clients, batch):
    contestant.create()
    return contestant.publish_rate(clients, batch)


def seconds_marked():
    return value("SELECT ((max(at) FILTER (WHERE what = 'end') - min(at) FILTER (WHERE what = 'begin')) / 1e6)::float8 FROM mark")


def all_published():
    """Workers may end when they find nothing more."""
    value("INSERT INTO mark (what) VALUES ('published')")


def work_off(contestant, events, batch, workers=WORKERS):
    """Workers take the backlog of so many events to its end; returns how many a second."""
    contestant.settle()
    all_published()
    contestant.work(batch, workers).result()
    contestant.check_finished(events)
    return events / seconds_marked()


def drain(contestant, events, batch, workers=WORKERS):
    contestant.create(workers)
    contestant.expect(batch)
    return work_off(contestant, contestant.preload(events, batch), batch, workers)


def drain_singles(contestant, events, batch):
    """The same, where no two events were published by one call."""
    contestant.create()
    contestant.expect(batch)
    return work_off(contestant, contestant.preload_singly(events, batch), batch)


def drain_failing(contestant, events, batch):
    """A backlog, of which one event in ten fails at its first attempt and is attempted again at once."""
    contestant.create()
    contestant.expect(batch)
    contestant.expect_failures()
    published = contestant.preload(events, batch)
    contestant.settle()
    all_published()
    with contestant.retries():
        contestant.work(batch, turn="_failing").result()
    contestant.check_finished(published)
    return published / seconds_marked()


def begin_with_some(contestant, batch):
    """Events that wait already: plans made for empty tables would serve the whole run badly."""
    events = contestant.preload(500, batch)
    contestant.settle()
    return events


def publish_and_work(contestant, batch):
    some = begin_with_some(contestant, batch)
    with contestant.busy():
        workers = contestant.work(batch, marked=False)
        publishers = contestant.publish(8, batch, ["-T", str(DURATION)], marked=True)
        events = some + publishers.result()[0] * batch
        all_published()
        workers.result()
    contestant.check_finished(events)
    return events / seconds_marked()


def mixed(contestant, batch):
    contestant.create()
    return publish_and_work(contestant, batch)


def variety(contestant, kind):
    """mixed, with events of several types in several flows: a transaction publishes of one type, or of all in turn."""
    flows, types, batch, within = kind
    contestant.create()
    contestant.spread(flows, types)
    if within:
        contestant.variables["mixes"] = 1
    return publish_and_work(contestant, batch)


def held(contestant, _):
    """By 1, with a snapshot held from the start and without: finished in a second of the first and of the last stretch."""
    first, last = stretches(contestant, snapshot=True)
    without = stretches(contestant, snapshot=False)[1]
    return [first, last, without, last / first, last / without]


def stretches(contestant, snapshot):
    contestant.create()
    some = begin_with_some(contestant, 1)
    window = min(5, HELD / 2)
    with contestant.busy(), open_snapshot() if snapshot else contextlib.nullcontext():
        workers = contestant.work(1, until="window", window=int(window * 1e6), windows=int(HELD / window))
        events = some + contestant.publish(8, 1, ["-T", str(HELD)]).result()[0]
        all_published()
        workers.result()
    contestant.check_worked(events)
    return row("""
        WITH point AS (SELECT DISTINCT client, at, done FROM mark WHERE client IS NOT NULL),
            stretch AS (
                SELECT row_number() OVER w AS n, count(*) OVER (PARTITION BY client) AS points,
                    (done - lag(done) OVER w) * 1e6::float8 / (at - lag(at) OVER w) AS rate
                FROM point WINDOW w AS (PARTITION BY client ORDER BY at))
        SELECT sum(rate) FILTER (WHERE n = 2), sum(rate) FILTER (WHERE n = points) FROM stretch""")


@contextlib.contextmanager
def open_snapshot():
    db = connect()
    db.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    try:
        yield
    finally:
        db.close()


def backlog(contestant, waiting):
    """The first events, by 100, while so many others wait behind them."""
    contestant.create()
    events = contestant.preload(waiting + BACKLOG, 100)
    contestant.settle()
    value("CHECKPOINT")         # or what was loaded would be written while the first of it is drained
    all_published()
    contestant.work(100, until="share", share=BACKLOG // WORKERS).result()
    return contestant.check_worked(events) / seconds_marked()


def backlog_call(contestant, size):
    """The first of CALL events, by 100, which calls of so many each have published; events published in a second, and drained."""
    contestant.create()
    began_at = time.perf_counter()
    contestant.preload_by_calls(CALL, size)
    published = CALL / (time.perf_counter() - began_at)
    contestant.settle()
    value("CHECKPOINT")
    all_published()
    contestant.work(100, until="share", share=BACKLOG // WORKERS).result()
    return [published, contestant.check_worked(CALL) / seconds_marked()]


def backlog_calls(contestant, _):
    by_thousand, by_one = backlog_call(contestant, 1000), backlog_call(contestant, CALL)
    return [*by_thousand, *by_one, by_one[1] / by_thousand[1]]


def history(contestant, finished):
    """A backlog drained by 100 beside so many events that were finished before; 0 = those are another database's, which fills the server's cache alike."""
    contestant.create()
    contestant.remember(HISTORY)
    if not finished:
        database.rename("bench", "beside")
        contestant.create()
    value("CHECKPOINT")         # or what was loaded would be written while the backlog is drained
    try:
        return work_off(contestant, contestant.preload(BACKLOG, 100), 100)
    finally:
        database.drop("beside")


def scheduled(contestant, _):
    """Events due in the next days: published, then due ones among them worked off, then the server's restart."""
    contestant.create()
    later, published = contestant.schedule(SCHEDULED)
    due = contestant.preload(BACKLOG1, 10)
    contestant.settle()
    all_published()
    contestant.work(10, until="window", window=int(DURATION * 1e6), windows=1).result()
    done = contestant.check_worked(later + due)
    return [published, done / seconds_marked(), contestant.first_dispatch()]


def size(contestant, _):
    """Bytes on disk of events and what became of them, an event and in all: as they are left, and after cleaning up."""
    def used():
        return value("SELECT pg_database_size(current_database())")
    contestant.create()
    before = used()
    events = contestant.preload(SIZE, 100)
    all_published()
    contestant.work(100).result()
    after = used()
    contestant.check_finished(events)
    contestant.tidy()
    return [(bytes - before) / divisor for bytes in (after, used()) for divisor in (events, 1e6)]


def flows(contestant, number):
    contestant.create()
    contestant.spread(number)
    return work_off(contestant, contestant.preload(BACKLOG, 10), 10)


def listeners(contestant, number):
    contestant.create()
    with Listeners(number):
        return publish_and_work(contestant, 1)


def ordered(contestant, flow_ids):
    contestant.create()
    return work_off(contestant, contestant.preload_ordered(BACKLOG1, flow_ids), 10)


def latency(contestant, _):
    contestant.create()
    found = contestant.latencies()
    contestant.check_left(0)
    return [sorted(found[since])[int(share * len(found[since]))]
            for since in ("acknowledged", "called") for share in (0.5, 0.99)]


def wal(contestant, batch):
    contestant.create()
    turns = 5000 if batch == 1 else 200
    before = wal_position()
    with contestant.busy():
        events = contestant.publish(1, batch, ["-t", str(turns)]).result()[0] * batch
        contestant.check_published(events)
        all_published()
        contestant.work(batch).result()
    after = wal_position()
    contestant.check_finished(events)
    return (after - before) / events


def wait_for_quiet():
    """A new database has its partitions made; half a minute is enough for that."""
    for _ in range(30):
        before = wal_position()
        time.sleep(1)
        if wal_position() == before:
            return


@contextlib.contextmanager
def without_autovacuum():
    """It analyzes the catalogs of a new database, which writes WAL."""
    value("ALTER SYSTEM SET autovacuum = off")
    value("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        value("ALTER SYSTEM RESET autovacuum")
        value("SELECT pg_reload_conf()")


def idle(contestant, _):
    contestant.create()
    pid = value("SELECT dispatcher_pid FROM evq_status()")
    with without_autovacuum():
        wait_for_quiet()
        before = 1000 * process_seconds(pid), wal_position()
        time.sleep(IDLE)
        after = 1000 * process_seconds(pid), wal_position()
    return [float(end - start) * 60 / IDLE for start, end in zip(before, after)]
