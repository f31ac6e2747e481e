#!/usr/bin/python3
"""Measures evq beside its limits and peers; called by bench/run, which started the server.

A metric has variants (rows of its table) and contestants (columns).  Each figure comes from a database of its own,
made anew; the contestants take turns within a round.  What a run processed is counted afterwards: a difference ends
the benchmark.
"""
import datetime
import io
import os
import platform
import random
import re
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
POSTMASTER = int(sys.argv[1])
ROUNDS = int(os.environ.get("ROUNDS") or 3)
DURATION = int(os.environ.get("DURATION") or 5)
CLIENTS = [int(word) for word in (os.environ.get("CLIENTS") or "1 8 32").split()]
BACKLOG1 = int(os.environ.get("BACKLOG1") or 20000)
BACKLOG = int(os.environ.get("BACKLOG") or 100000)
IDLE = int(os.environ.get("IDLE") or 20)
SAMPLES = int(os.environ.get("SAMPLES") or 500)
RESULTS = os.environ.get("RESULTS") or os.path.join(HERE, "RESULTS.md")
WORKERS = 8
LOUD = 0.12         # a run is marked as disturbed where others used more of the CPU
PAYLOAD = '{"order": 1001, "customer": "c-20417", "note": "%s", "total": 129.95}'
PAYLOAD %= "x" * (120 - len(PAYLOAD % ""))
assert len(PAYLOAD) == 120


class Wrong(Exception):
    """A run that did not do what it claims to have done."""


# The database of a run

def connect(database="bench"):
    db = psycopg2.connect(dbname=database)
    db.autocommit = True
    return db


def value(statement, *arguments, database="bench"):
    db = connect(database)
    try:
        sql = db.cursor()
        sql.execute(statement, arguments or None)
        return sql.fetchone()[0] if sql.description else None
    finally:
        db.close()


def psql(file, **variables):
    command = ["psql", "-X", "-q", "-t", "-d", "bench", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-f", os.path.join(HERE, file)]
    for name, text in variables.items():
        command += ["-v", f"{name}={text}"]
    subprocess.run(command, check=True)


class Contestant:
    """name: its column; system: which schema_*.sql and publish*_*.sql; turn: which turn_*.sql."""

    def __init__(self, name, system, turn=None, delivery="push"):
        self.name, self.system, self.turn, self.delivery = name, system, turn or system, delivery

    def create(self):
        value("DROP DATABASE IF EXISTS bench WITH (FORCE)", database="postgres")
        value("CREATE DATABASE bench", database="postgres")
        psql("schema.sql")
        psql(f"schema_{self.system}.sql", delivery=self.delivery)
        if self.system == "evq":
            wait_until("SELECT running FROM evq_status()", "the dispatcher does not run")

    def published(self):
        return value({
            "evq": "SELECT (SELECT count(*) FROM evq.event) + (SELECT count(*) FROM evq.event_history)",
            "limit": "SELECT count(*) FROM limit_event JOIN limit_payload USING (event_id)",
            "textbook": "SELECT count(*) FROM job",
            "pgq": "SELECT count(*) FROM pgq.event_template",
        }[self.system])

    def check_published(self, expected):
        found = self.published()
        if found != expected:
            raise Wrong(f"{self.name}: {expected} events were published and {found} are there")

    def check_finished(self, expected):
        """All that were published are finished, each once."""
        if self.system == "evq":
            row = value("SELECT ARRAY[(SELECT count(*) FROM evq.event), count(*),"
                        " count(*) FILTER (WHERE state::text <> (SELECT state::text FROM evq.event_history LIMIT 1)),"
                        " (SELECT count(*) FROM evq.events WHERE state = 'succeeded'), (SELECT count(*) FROM evq.event_error)]"
                        " FROM evq.event_history")
            if row != [0, expected, 0, expected, 0]:
                raise Wrong(f"{self.name}: of {expected} events [live, finished, otherwise, succeeded, errors] are {row}")
        elif self.system == "textbook":
            if value("SELECT count(*) FROM job") != 0:
                raise Wrong(f"{self.name}: {self.published()} of {expected} events are left")
        elif self.system == "pgq":
            left = value("SELECT sum(pending_events) FROM pgq.get_consumer_info()")
            if left != 0:
                raise Wrong(f"{self.name}: {left} of {expected} events are left")


EVQ = Contestant("evq", "evq")
LIMIT = Contestant("limit", "limit")
COPY = Contestant("limit, COPY", "limit")
TEXTBOOK = Contestant("textbook", "textbook")
PGQ = Contestant("PgQ", "pgq")
EVQ_WORKERS = [
    Contestant("evq push", "evq", "evq"),
    Contestant("evq push, fused", "evq", "evq_fused"),
    Contestant("evq pull", "evq", "evq", "pull"),
    Contestant("evq pull, fused", "evq", "evq_fused", "pull"),
]


def wait_until(statement, complaint, seconds=30):
    end = time.monotonic() + seconds
    while not value(statement):
        if time.monotonic() > end:
            raise Wrong(complaint)
        time.sleep(0.05)


def settle(contestant):
    """After preloading: statistics, no vacuum left to do, the dispatcher at rest."""
    value("VACUUM ANALYZE")
    if contestant.system == "evq":
        turns = -1
        for _ in range(100):
            before, turns = turns, value("SELECT events_dispatched FROM evq_status()")
            if before == turns:
                break
            time.sleep(0.2)


# Who used the CPU

def cpu_seconds():
    """Of the whole machine, and of this benchmark with its server."""
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    busy = sum(fields[:3] + fields[5:8]) / tick
    own = sum(os.times()[:4])
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(pid) == POSTMASTER:
            own += sum(map(int, fields[11:15])) / tick
        elif int(fields[1]) == POSTMASTER:
            own += sum(map(int, fields[11:13])) / tick
    return busy, own


class Watch:
    """The share of the CPU that others used while it was open."""

    def __enter__(self):
        self.busy, self.own = cpu_seconds()
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        busy, own = cpu_seconds()
        self.seconds = time.monotonic() - self.start
        self.others = max(0.0, ((busy - self.busy) - (own - self.own)) / (self.seconds * os.cpu_count()))


# pgbench

def script(*files):
    text = "".join(open(os.path.join(HERE, file), encoding="utf-8").read() for file in files)
    handle = tempfile.NamedTemporaryFile("w", prefix="evq-bench.", suffix="." + "+".join(files))
    # pgbench knows no comments between its own commands.
    handle.write(re.sub(r"^--.*\n", "", text, flags=re.M))
    handle.flush()
    return handle


class Pgbench:
    """A pgbench under way.  With ends_itself its clients end by an error, by which they say that nothing is left."""

    def __init__(self, file, clients, batch, limit, ends_itself=False):
        self.ends_itself = ends_itself
        self.file = file
        variables = {"payload": PAYLOAD, "batch": batch, "begun": 0, "made": 0, "empty": 0, "n": 0, "ids": "{}", "permits": "{}", "last_at": 0}
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-f", file.name]
            + [f"-D{name}={text}" for name, text in variables.items()] + limit + ["bench"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        """Transactions done, and those in a second."""
        out, err = self.process.communicate()
        self.file.close()
        unexpected = [line for line in err.splitlines()
                      if re.search("error|fatal", line, re.I) and not re.search("division by zero|Run was aborted", line)]
        if self.ends_itself:
            wrong = unexpected or self.process.returncode != 2 or "Run was aborted" not in err
        else:
            wrong = self.process.returncode != 0 or unexpected
        done = re.search(r"transactions actually processed: (\d+)", out)
        failed = re.search(r"number of failed transactions: (\d+)", out)
        if wrong or not done or (failed and int(failed[1]) > 0):
            raise Wrong(f"pgbench {self.file.name}:\n{out[-2000:]}{err[-2000:]}")
        return int(done[1]), float(re.search(r"^tps = ([\d.]+)", out, re.M)[1])


def publish(contestant, kind, clients, batch, limit, marked=False):
    files = ["turn_begin.sql"] * marked + [f"{kind}_{contestant.system}.sql"]
    return Pgbench(script(*files), clients, batch, limit)


def work(contestant, batch, marked=True):
    """The workers, who end when there has been nothing to do for a second; marked: their first turn begins the run."""
    files = ["turn_begin.sql"] * marked + [f"turn_{contestant.turn}.sql", "turn_end.sql"]
    return Pgbench(script(*files), WORKERS, batch, ["-T", "600"], ends_itself=True)


def preload(contestant, events, batch):
    """Published by single events or by 1,000; a PgQ queue gets a tick every batch events."""
    if contestant.system == "pgq":
        db = connect()
        sql = db.cursor()
        ticks = max(1, events // WORKERS // batch)
        for _ in range(ticks):
            sql.execute("SELECT count(pgq.insert_event('q' || q, 'case', %s))"
                        " FROM generate_series(0, %s) AS q, generate_series(1, %s)", (PAYLOAD, WORKERS - 1, batch))
            sql.execute("SELECT pgq.ticker()")
        db.close()
        events = ticks * WORKERS * batch
        contestant.check_published(events)
        return events
    step = min(1000, events)
    run = publish(contestant, "publishN", 1, step, ["-t", str(events // step)])
    events = run.result()[0] * step
    contestant.check_published(events)
    return events


# Metrics: each is a function (contestant, what the variant stands for) -> figure.
# Where a run gives the figures of all variants, they stand for nothing, and it returns a list.

def publish1(contestant, clients):
    done, rate = publish(contestant, "publish1", clients, 1, ["-T", str(DURATION)]).result()
    contestant.check_published(done)
    return rate


def copy(clients, batches):
    """COPY of batches of 1,000 rows, made beforehand, into both limit tables; returns the seconds."""
    now = datetime.datetime.now(datetime.timezone.utc)
    middle = f"\t{now}\t{now}\t{now + datetime.timedelta(hours=1)}\t1\t1\t0\t0\tf\ta\t0\tinfinity\t{now}\t0\t"
    share = batches // clients

    def make(batch):
        ids = [f"{batch * 1000 + n:032x}" for n in range(1000)]
        return ("".join(f"{event_id}{middle}{n}\n" for n, event_id in enumerate(ids)),
                "".join(f"{event_id}\t{PAYLOAD}\n" for event_id in ids))

    def send(db, made):
        for events, payloads in made:
            with db, db.cursor() as sql:
                sql.copy_expert(f"COPY limit_event ({columns}) FROM STDIN", io.StringIO(events))
                sql.copy_expert("COPY limit_payload (event_id, payload) FROM STDIN", io.StringIO(payloads))

    columns = value("SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
                    " WHERE attrelid = 'limit_event'::regclass AND attnum BETWEEN 1 AND 15")
    # The clients' batches alternate, so that ids come in the order of time.
    work_of = [[make(n * clients + client) for n in range(share)] for client in range(clients)]
    connections = [psycopg2.connect(dbname="bench") for _ in work_of]
    threads = [threading.Thread(target=send, args=pair) for pair in zip(connections, work_of)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for db in connections:
        db.close()
    return seconds


def publish_many(contestant, clients):
    if contestant is COPY:
        batches = 50 * DURATION // clients * clients
        seconds = copy(clients, batches)
        contestant.check_published(batches * 1000)
        return batches * 1000 / seconds
    done, rate = publish(contestant, "publishN", clients, 1000, ["-T", str(DURATION)]).result()
    contestant.check_published(done * 1000)
    return rate * 1000


def seconds_marked():
    return value("SELECT ((max(at) FILTER (WHERE what = 'end') - min(at) FILTER (WHERE what = 'begin')) / 1e6)::float8 FROM mark")


def life(batch):
    def measure(contestant, backlog):
        if contestant.system == "evq" and batch == 1000:
            value("SELECT evq_configure_flow('BENCH', max_dispatched => 10000)")
        events = preload(contestant, backlog, batch)
        settle(contestant)
        work(contestant, batch).result()
        contestant.check_finished(events)
        return events / seconds_marked()
    return measure


def mixed(contestant, batch):
    kind = "publish1" if batch == 1 else "publishN"
    workers = work(contestant, batch, marked=False)
    publishers = publish(contestant, kind, 8, batch, ["-T", str(DURATION)], marked=True)
    events = publishers.result()[0] * batch
    workers.result()
    contestant.check_finished(events)
    return events / seconds_marked()


def latency(contestant, _):
    statement = {"evq": "SELECT evq_publish('BENCH', 'BENCH', 'case', %s)",
                 "notify": "SELECT pg_notify('evq_bench', %s)"}[contestant.system]
    publisher, listener = connect(), connect()
    sql = publisher.cursor()
    listener.cursor().execute("LISTEN evq_bench")
    called_to_heard, acknowledged_to_heard = [], []
    for n in range(-20, SAMPLES):           # the first ones are colder than the rest
        time.sleep(random.uniform(0.001, 0.02))
        called = time.perf_counter()
        sql.execute(statement, (PAYLOAD,))
        acknowledged = time.perf_counter()
        while not listener.notifies:
            if not select.select([listener], [], [], 10)[0]:
                raise Wrong(f"{contestant.name}: an event was not notified")
            listener.poll()
        heard = time.perf_counter()
        if len(listener.notifies) != 1:
            raise Wrong(f"{contestant.name}: {len(listener.notifies)} notifications of one event")
        listener.notifies.clear()
        if n >= 0:
            called_to_heard.append(1000 * (heard - called))
            acknowledged_to_heard.append(1000 * (heard - acknowledged))
    publisher.close()
    listener.close()
    return [sorted(times)[int(share * SAMPLES)] for times in (acknowledged_to_heard, called_to_heard) for share in (0.5, 0.99)]


def wal_position():
    return value("SELECT pg_current_wal_insert_lsn() - '0/0'")


def wal(contestant, batch):
    kind = "publish1" if batch == 1 else "publishN"
    turns = 5000 if batch == 1 else 200
    before = wal_position()
    events = publish(contestant, kind, 1, batch, ["-t", str(turns)]).result()[0] * batch
    contestant.check_published(events)
    work(contestant, batch).result()
    after = wal_position()
    contestant.check_finished(events)
    return (after - before) / events


def idle(_, __):
    pid = value("SELECT dispatcher_pid FROM evq_status()")
    time.sleep(1)

    def used():
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
            return int(stat.read().split()[0]) / 1e6
    before = used(), wal_position()
    time.sleep(IDLE)
    after = used(), wal_position()
    return [float(end - start) * 60 / IDLE for start, end in zip(before, after)]


NOTIFY = Contestant("LISTEN/NOTIFY", "notify")
# name: (title, unit, measure, variants {label: argument}, contestants, of whom the first is the base of the ratios)
METRICS = {
    "publish1": ("One event a transaction", "events/s", publish1,
                 {f"{n} client{'s' * (n > 1)}": n for n in CLIENTS}, [LIMIT, TEXTBOOK, PGQ, EVQ]),
    "publishN": ("1,000 events a transaction", "events/s", publish_many,
                 {"1 client": 1, "8 clients": 8}, [LIMIT, COPY, TEXTBOOK, PGQ, EVQ]),
    "life1": (f"A backlog drained by {WORKERS} workers, 1 a turn", "events/s", life(1),
              {f"{BACKLOG1:,} events": BACKLOG1}, [TEXTBOOK, PGQ, *EVQ_WORKERS]),
    "life10": (f"A backlog drained by {WORKERS} workers, 10 a turn", "events/s", life(10),
               {f"{BACKLOG:,} events": BACKLOG}, [TEXTBOOK, PGQ, *EVQ_WORKERS]),
    "life100": (f"A backlog drained by {WORKERS} workers, 100 a turn", "events/s", life(100),
                {f"{BACKLOG:,} events": BACKLOG}, [TEXTBOOK, PGQ, *EVQ_WORKERS]),
    "life1000": (f"A backlog drained by {WORKERS} workers, 1,000 a turn", "events/s", life(1000),
                 {f"{BACKLOG:,} events": BACKLOG}, [TEXTBOOK, PGQ, *EVQ_WORKERS]),
    "mixed": ("8 publishers and 8 workers at once, from the first publish to the last finish", "events/s", mixed,
              {f"{n} a transaction": n for n in (1, 10, 100)}, [TEXTBOOK, *EVQ_WORKERS]),
    "latency": ("From a publish to the listener's socket, idle", "ms", latency,
                dict.fromkeys(("acknowledged, p50", "acknowledged, p99", "called, p50", "called, p99")), [NOTIFY, EVQ]),
    "wal": ("WAL of an event's whole life", "bytes", wal,
            {"1 a transaction": 1, "100 a transaction": 100}, [TEXTBOOK, *EVQ_WORKERS]),
    "idle": ("The dispatcher with nothing to do, in a minute", "", idle,
             dict.fromkeys(("CPU, ms", "WAL, bytes")), [EVQ]),
}


# Tables

def number(figure):
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def table(name, rounds):
    """rounds: {(variant, contestant's name): [(figure, share of the CPU that others used)]}"""
    title, unit, _, variants, contestants = METRICS[name]
    lines = [f"### {name}: {title}" + (f" ({unit})" if unit else ""), "",
             "| |" + "".join(f" {contestant.name} |" for contestant in contestants),
             "|---|" + "---:|" * len(contestants)]
    for variant in variants:
        cells = []
        base = rounds[variant, contestants[0].name]
        for contestant in contestants:
            runs = rounds[variant, contestant.name]
            text = number(statistics.median(figure for figure, _ in runs))
            if contestant is not contestants[0]:
                ratios = [figure / other for (figure, _), (other, _) in zip(runs, base) if other]
                if ratios:
                    text += f" (×{statistics.median(ratios):.2f})"
            loud = sum(others > LOUD for _, others in runs)
            cells.append(text + "!" * loud)
        lines.append(f"| {variant} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines) + "\n"


def conditions(names):
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*: (.*)", info.read(), re.M)
        if found:
            model = found[1]
    with open(os.path.join(HERE, "server.conf"), encoding="utf-8") as conf:
        settings = [line.strip().replace("'", "") for line in conf if line.strip() and not line.startswith("#")]
    pgq = value("SELECT default_version FROM pg_available_extensions WHERE name = 'pgq'", database="postgres")
    return "\n".join([
        f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {os.environ.get('COMMIT')}",
        f"- {os.cpu_count()} cores, {model}, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30} GB, "
        f"Linux {platform.release()}",
        f"- PostgreSQL {value('SHOW server_version', database='postgres')}, PgQ {pgq}",
        f"- {', '.join(settings)}",
        f"- {ROUNDS} rounds, {DURATION} s where a measurement has no natural end; metrics: {' '.join(names)}",
    ]) + "\n"


def main():
    names = (os.environ.get("METRIC") or " ".join(METRICS)).split()
    for name in names:
        if name not in METRICS:
            sys.exit(f"bench: no metric {name}; there are {' '.join(METRICS)}")
    heading = conditions(names)
    print(heading)
    tables = []
    for name in names:
        _, unit, measure, variants, contestants = METRICS[name]
        rounds = {}
        for turn in range(ROUNDS):
            # One run for each variant, or one for all.
            together = None in variants.values()
            for labels, argument in [(list(variants), None)] if together else [([v], variants[v]) for v in variants]:
                for contestant in contestants:
                    contestant.create()
                    with Watch() as watch:
                        figures = measure(contestant, argument)
                    for label, figure in zip(labels, figures if together else [figures]):
                        rounds.setdefault((label, contestant.name), []).append((figure, watch.others))
                        print(f"{name}, round {turn + 1}, {label}, {contestant.name}: {number(figure)} {unit}"
                              f" (others used {watch.others:.0%} of the CPU)")
        tables.append(table(name, rounds))
        print("\n" + tables[-1])
        with open(RESULTS, "w", encoding="utf-8") as file:
            file.write("# Results of make bench\n\nMedians of the rounds, in brackets the median of the ratios to the first column.\n"
                       f"Each ! is a round in which other processes used more than {LOUD:.0%} of the CPU: repeat it on a quiet machine.\n"
                       f"[README.md](README.md) says what is measured.\n\n{heading}\n" + "\n".join(tables))


try:
    main()
except Wrong as wrong:
    sys.exit(f"bench: {wrong}")
finally:
    value("DROP DATABASE IF EXISTS bench WITH (FORCE)", database="postgres")
