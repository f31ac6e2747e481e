#!/usr/bin/python3
"""Publishes the rides of the demo, shows how they get on, and checks in the end that all is as promised.

The server is found by libpq's environment variables (PGHOST, PGPORT, PGUSER, PGDATABASE).
Exit status: 0 = all rides came to an end and nothing was lost or doubled, 1 = not so.
"""
import argparse
import hashlib
import json
import math
import select
import signal
import sys
import threading
import time
from collections import Counter, namedtuple

import psycopg2
from psycopg2.extras import Json, NamedTupleCursor

from ride_screen import FINAL, STEPS, WIDTH, open_view, render

FLOW = "FLOW_B"
CHANNEL = "evq_flow_b"
PASSENGERS = ("Ada", "Alan", "Barbara", "Claude", "Dennis", "Donald", "Edgar", "Edsger", "Frances", "Grace", "Jean",
              "Jim", "Joan", "John", "Katherine", "Ken", "Leslie", "Margaret", "Niklaus", "Radia", "Tony", "Whitfield")
FRAME_SECONDS = 0.1
OVERLAP = "5 s"         # events are read again for so long after they finished: commits come in any order


def luck(*what):
    """A number in [0, 1) that depends on the arguments alone, so that a run can be repeated."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Event:
    """An event as last seen."""

    def __init__(self, row):
        self.__dict__.update(row._asdict())
        # attempts_used counts failed attempts while an event lives and all attempts once it is final.
        self.attempt = row.attempts_used + (row.state not in FINAL)


class Ride:
    def __init__(self, number, options):
        self.number = number
        self.flow_id = f"ride-{number:03}"
        self.passenger = PASSENGERS[(options.seed + 7 * number) % len(PASSENGERS)]
        self.fare = round(6 + 30 * luck(options.seed, "fare", number), 2)
        self.events = {}            # event type -> Event
        self.failed_attempts = set()
        self.complaint = None       # what the last failed attempt said
        self.outcome = None         # completed or failed
        self.asked_at = time.time()
        self.finished_at = None

    @property
    def current(self):
        """The furthest event of the chain."""
        return next((self.events[step] for step in reversed(STEPS) if step in self.events), None)

    @property
    def retries(self):
        return sum(max(0, event.attempt - 1) for event in self.events.values())


# A line of the journal; the live screen shows the notable ones only.
Entry = namedtuple("Entry", "at flow_id text style notable")


class Listener(threading.Thread):
    """Takes down when the notification of each attempt came, on a connection and in a thread of its own:
    what the watch is busy with must not count."""

    def __init__(self):
        super().__init__(daemon=True)
        self.heard_at = {}          # (event id, attempt) -> time
        self.connection = psycopg2.connect("", application_name="ride_listener")
        self.connection.autocommit = True
        self.connection.cursor().execute(f"LISTEN {CHANNEL}")

    def run(self):
        while True:
            select.select([self.connection], [], [])
            try:
                self.connection.poll()
            except psycopg2.OperationalError:
                return              # the watch, too, will see that the server is gone
            now = time.time()
            while self.connection.notifies:
                message = json.loads(self.connection.notifies.pop(0).payload)
                self.heard_at.setdefault((message["event_id"], message["attempt"]), now)


class Watch:
    def __init__(self, connection, options):
        self.connection = connection
        self.options = options
        self.began_at = self.changed_at = time.time()
        self.rides = []
        self.by_flow_id = {}
        self.published = []         # event ids of the requests
        self.journal = []
        self.seen_at = "-infinity"  # the server's clock at the last look

    def query(self, statement, arguments=()):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()

    def run(self, view):
        """Returns when all rides are over, or when nothing has moved for too long."""
        self.query("SELECT count(*) FROM ride_step")      # refuses early where ride.sql was not loaded
        next_ride_at = next_frame_at = time.time()
        while True:
            now = time.time()
            if now >= next_ride_at:
                self.publish_ride()
                next_ride_at += (0.3 + 0.9 * luck(self.options.seed, "gap", len(self.rides))) / self.options.speed
                if len(self.rides) == self.options.rides:
                    next_ride_at = math.inf
            if now >= next_frame_at:
                next_frame_at = now + FRAME_SECONDS
                self.look()
                view.draw(self.rides, self.journal, now - self.began_at)
                if len(self.rides) == self.options.rides and all(ride.outcome for ride in self.rides):
                    return
                if now - self.changed_at > self.options.patience:
                    return
            time.sleep(max(0, min(next_ride_at, next_frame_at) - time.time()))

    def publish_ride(self):
        ride = Ride(len(self.rides) + 1, self.options)
        [(event_id,)] = self.query("SELECT evq_publish('RIDE_REQUESTED', %s, %s, %s)",
                                   (FLOW, ride.flow_id, Json({"passenger": ride.passenger, "fare": ride.fare})))
        self.published.append(event_id)
        self.rides.append(ride)
        self.by_flow_id[ride.flow_id] = ride
        self.changed_at = time.time()

    def look(self):
        """Reads what may have changed since the last look, and writes it into rides and journal."""
        events = self.query(
            "SELECT event_id, flow_id, event_type, state::text, attempts_used, attempt_scheduled_at, worker,"
            " published_at, state_since, clock_timestamp() AS seen_at FROM evq.events WHERE flow_id = ANY (%s)"
            " AND (finished_at IS NULL OR finished_at > %s::timestamptz - interval %s) ORDER BY event_id",
            (list(self.by_flow_id), self.seen_at, OVERLAP))
        errors = self.query(
            "SELECT event_id, flow_id, event_type, attempt, failed_at, error_message FROM evq.errors"
            " WHERE flow_id = ANY (%s) AND failed_at > %s::timestamptz - interval %s ORDER BY failed_at",
            (list(self.by_flow_id), self.seen_at, OVERLAP))
        entries = []
        for error in errors:
            entries += self.take_error(self.by_flow_id[error.flow_id], error)
        for event in events:
            entries += self.take_event(self.by_flow_id[event.flow_id], Event(event))
        if events:
            self.seen_at = events[0].seen_at
        if entries:
            self.changed_at = time.time()
            self.journal += sorted(entries, key=lambda entry: entry.at)

    def take_error(self, ride, error):
        if (error.event_id, error.attempt) in ride.failed_attempts:
            return
        ride.failed_attempts.add((error.event_id, error.attempt))
        ride.complaint = error.error_message
        yield self.entry(error.failed_at, ride,
                         f"{error.event_type} attempt {error.attempt} failed: {error.error_message}", "yellow")

    def take_event(self, ride, event):
        before = ride.events.get(event.event_type)
        ride.events[event.event_type] = event
        if not before and event.event_type == STEPS[0]:
            yield self.entry(event.published_at, ride, f"{ride.passenger} asks for a ride")
        if before and before.state in FINAL or event.state not in FINAL:
            return
        attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
        succeeded = event.state == "succeeded"
        yield self.entry(event.state_since, ride, f"{event.event_type} {event.state} ({event.worker}{attempt})",
                         "plain" if succeeded else "red", notable=not succeeded or event.attempt > 1)
        if not succeeded or event.event_type == STEPS[-1]:
            ride.outcome = "completed" if succeeded else "failed"
            ride.finished_at = event.state_since.timestamp()
            yield self.entry(event.state_since, ride,
                             f"{ride.passenger} paid {ride.fare:.2f}" if succeeded else "the ride is over",
                             "green" if succeeded else "red")

    def entry(self, when, ride, text, style="plain", notable=True):
        return Entry(when.timestamp() - self.began_at, ride.flow_id, text, style, notable)


def audit(events, errors, steps, published):
    """What is not as promised, as sentences; events, errors and steps are all rows that there are."""
    problems = []
    chains = {}
    for event in events:
        about = f"{event.flow_id} {event.event_type}"
        if event.state not in FINAL:
            problems.append(f"{about} is not final: {event.state}")
        if event.event_type in chains.setdefault(event.flow_id, {}):
            problems.append(f"{about} exists twice")
        chains[event.flow_id][event.event_type] = event

    requests = Counter(event.event_id for event in events if event.event_type == STEPS[0])
    if requests != Counter(published):
        problems.append(f"{len(published)} requests were published, {sum(requests.values())} found")

    for flow_id, chain in chains.items():
        for step, next_step in zip(STEPS, STEPS[1:]):
            succeeded = step in chain and chain[step].state == "succeeded"
            if succeeded and next_step not in chain:
                problems.append(f"{flow_id} {next_step} was lost: {step} succeeded")
            elif next_step in chain and (not succeeded or chain[next_step].parent_id != chain[step].event_id):
                problems.append(f"{flow_id} {next_step} exists without a success of {step}")

    succeeded = {event.event_id for event in events if event.state == "succeeded"}
    done = Counter(step.event_id for step in steps)
    problems += [f"event {event_id} succeeded, its work was not done" for event_id in succeeded - done.keys()]
    problems += [f"work of event {event_id} was done, it did not succeed" for event_id in done.keys() - succeeded]
    problems += [f"work of event {event_id} was done {times} times" for event_id, times in done.items() if times > 1]

    failures = Counter(error.event_id for error in errors)
    for event in events:
        failed = event.attempts_used - (event.state == "succeeded")
        if failures[event.event_id] != failed or event.attempts_used > event.max_attempts:
            problems.append(f"{event.flow_id} {event.event_type} used {event.attempts_used} of {event.max_attempts}"
                            f" attempts, {failures[event.event_id]} recorded as failed")
    return problems


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values, share):
    return f"{1000 * percentile(values, share):,.1f} ms" if values else "-"


def summary(events, heard_at):
    """The closing table, as lines of (style, text) spans."""
    waits, delays = {}, []
    for event in events:
        due_at = event.attempt_scheduled_at.timestamp()
        if event.state == "succeeded":
            waits.setdefault(event.event_type, []).append(event.attempt_started_at.timestamp() - due_at)
        if (event.event_id, event.attempts_used) in heard_at:
            delays.append(heard_at[event.event_id, event.attempts_used] - due_at)

    yield []
    yield [("dim", f" {'event type':<18}{'succeeded':>10}{'failed':>8}{'expired':>9}{'retries':>9}"
                   f"{'wait p50':>12}{'wait p95':>12}")]
    for step in STEPS + (None,):
        mine = [event for event in events if step in (event.event_type, None)]
        states = Counter(event.state for event in mine)
        retries = sum(max(0, event.attempts_used - 1) for event in mine)
        wait = waits.get(step, []) if step else sum(waits.values(), [])
        yield [("plain" if step else "bold",
                f" {step or 'all':<18}{states['succeeded']:>10}{states['failed']:>8}{states['expired']:>9}"
                f"{retries:>9}{milliseconds(wait, .5):>12}{milliseconds(wait, .95):>12}")]
    yield []
    yield [("dim", " wait: from due until a worker has it")]
    if delays:
        yield [("dim", f" dispatch: from due until heard, the commit included:"
                       f" p50 {milliseconds(delays, .5)}, p95 {milliseconds(delays, .95)}")]


def main():
    parser = argparse.ArgumentParser(description="publishes the rides of the demo and watches them")
    parser.add_argument("--rides", type=int, default=12)
    parser.add_argument("--workers", type=int, default=4, help="how many there are, for the headline")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1, help="divides the time between two rides")
    parser.add_argument("--patience", type=float, default=60, help="seconds without any change that mean: stuck")
    parser.add_argument("--plain", action="store_true", help="lines, even on a terminal")
    options = parser.parse_args()
    # Ended from outside, it leaves the terminal as it found it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    connection = psycopg2.connect("", application_name="ride_watch", cursor_factory=NamedTupleCursor)
    connection.autocommit = True
    listener = Listener()
    listener.start()
    watch = Watch(connection, options)
    with open_view(options) as view:
        watch.run(view)
    view.draw_last(watch.rides, watch.journal, time.time() - watch.began_at)

    # There may be rides of others, requested in the web UI.
    mine = (list(watch.by_flow_id),)
    events = watch.query("SELECT * FROM evq.events WHERE flow_id = ANY (%s) ORDER BY event_id", mine)
    errors = watch.query("SELECT * FROM evq.errors WHERE flow_id = ANY (%s)", mine)
    steps = watch.query("SELECT * FROM ride_step WHERE flow_id = ANY (%s)", mine)
    for line in summary(events, listener.heard_at):
        print(render(line, WIDTH, view.styled))

    outcomes = Counter(ride.outcome for ride in watch.rides)
    print(f"\n {len(watch.rides)} rides: {outcomes['completed']} completed, {outcomes['failed']} failed"
          + (f", {outcomes[None]} without an end" if outcomes[None] else ""))
    problems = audit(events, errors, steps, watch.published)
    for problem in problems:
        print(f" WRONG: {problem}")
    if problems:
        [status] = watch.query("SELECT * FROM evq_status()")
        print(f" engine: {status}")
        return 1
    print(" checked: no event lost, none doubled, every step of a ride done at most once")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except psycopg2.Error as error:
        sys.exit(f"ride_watch: {str(error).strip()}")
