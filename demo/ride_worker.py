#!/usr/bin/python3
"""A worker of the ride demo, and a pattern for your own: only STEPS and work() know about rides.

It listens on the channel of its flow, acquires the events it hears of, works, and reports.
Notifications are hints: it also asks for work at the start, and whenever nothing was heard for a while.
The server is found by libpq's environment variables (PGHOST, PGPORT, PGUSER, PGDATABASE).
"""
import argparse
import hashlib
import json
import logging
import os
import select
import signal
import time
import traceback
from contextlib import closing

import psycopg2
from psycopg2.extras import Json, NamedTupleCursor

FLOW = "FLOW_B"
CHANNEL = "evq_flow_b"
POLL_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0     # before connecting again, in seconds
PERMIT_LOST = "EQ004"

# event type: the next one, chance of failure, why it fails, seconds of work (from, to)
STEPS = {
    "RIDE_REQUESTED": ("DRIVER_MATCHED", 1 / 8, "no driver in reach", (0.4, 1.2)),
    "DRIVER_MATCHED": ("DRIVER_ARRIVED", 1 / 15, "driver unreachable", (0.6, 1.6)),
    "DRIVER_ARRIVED": ("TRIP_STARTED", 1 / 20, "passenger not found", (0.3, 0.9)),
    "TRIP_STARTED": ("TRIP_COMPLETED", 0, None, (1.5, 3.0)),
    "TRIP_COMPLETED": ("PAYMENT_PROCESSED", 0, None, (0.2, 0.6)),
    "PAYMENT_PROCESSED": (None, 1 / 10, "card declined", (0.4, 1.0)),
}


class WorkFailed(Exception):
    """The work could not be done now; the engine decides whether and when it is tried again."""


def luck(*what):
    """A number in [0, 1) that depends on the arguments alone, so that a run can be repeated."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def work(event, options):
    """Does the step and returns the events that follow from it."""
    next_type, failure_chance, failure, (shortest, longest) = STEPS[event.event_type]
    attempt = (options.seed, event.flow_id, event.event_type, event.attempt)

    time.sleep((shortest + (longest - shortest) * luck(*attempt, "time")) / options.speed)
    if luck(*attempt, "outcome") < failure_chance:
        raise WorkFailed(failure)
    return [{"event_type": next_type, "payload": event.payload}] if next_type else []


class Worker:
    def __init__(self, options):
        self.options = options
        self.stopping = False
        self.pause = FIRST_PAUSE
        # A signal must end a wait for notifications, but not the work in hand.
        self.wake_reader, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        signal.set_wakeup_fd(wake_writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopping = True

    def run(self):
        """Serves until told to stop; when the database is lost, or refuses, it waits a moment and connects anew."""
        while not self.stopping:
            try:
                # No database name: libpq takes everything from its environment variables.
                with closing(psycopg2.connect("", application_name=self.options.name,
                                              cursor_factory=NamedTupleCursor)) as connection:
                    connection.autocommit = True
                    self.serve(connection)
            except psycopg2.Error as error:
                # The work in hand is not reported again: it may have been committed. If it was not,
                # the engine offers the event anew when the permit has run out.
                logging.warning("trying again in %.1f s: %s", self.pause, str(error).strip().split("\n")[0])
                select.select([self.wake_reader], [], [], self.pause)
                self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def serve(self, connection):
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        self.take_what_is_ready(connection)     # what came before we listened
        self.pause = FIRST_PAUSE
        while not self.stopping:
            # Notifications may have come with the answer to a query: look before waiting.
            if not connection.notifies:
                readable, _, _ = select.select([connection, self.wake_reader], [], [], POLL_SECONDS)
                if not readable:
                    self.take_what_is_ready(connection)
                elif connection in readable:
                    connection.poll()
            while connection.notifies and not self.stopping:
                heard = json.loads(connection.notifies.pop(0).payload)
                # Every idle worker hears of the event; the one that asks first gets it.
                for event in self.acquire(connection, "evq_acquire", heard["event_id"]):
                    self.handle(connection, event)

    def take_what_is_ready(self, connection):
        while not self.stopping:
            events = self.acquire(connection, "evq_acquire_next", FLOW)
            if not events:
                return
            for event in events:
                self.handle(connection, event)

    def acquire(self, connection, function, subject):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT *, clock_timestamp() AS acquired_at FROM {function}(%s, worker => %s)",
                           (subject, self.options.name))
            return cursor.fetchall()

    def handle(self, connection, event):
        """Works on an acquired event and reports; a permit that was lost meanwhile is no error of ours."""
        about = (event.flow_id, event.event_type, event.attempt)
        try:
            try:
                spinoffs = work(event, self.options)
            except Exception as error:
                trace = None if isinstance(error, WorkFailed) else traceback.format_exc()
                self.report_failure(connection, event, str(error), trace)
                logging.info("%s %s attempt %d failed: %s", *about, error)
            else:
                self.report_success(connection, event, spinoffs)
                logging.info("%s %s attempt %d succeeded", *about)
        except psycopg2.Error as error:
            if error.pgcode != PERMIT_LOST:
                raise
            logging.warning("%s %s attempt %d: permit lost, another worker has it", *about)

    def report_success(self, connection, event, spinoffs):
        # What the work did and the report are one transaction: both or neither. The permit
        # makes sure that of two workers on the same event only one gets this far.
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO ride_step (flow_id, event_type, event_id, worker, acquired_at)"
                           " VALUES (%s, %s, %s, %s, %s)",
                           (event.flow_id, event.event_type, event.event_id, self.options.name, event.acquired_at))
            cursor.execute("SELECT evq_succeed(%s, %s, spinoffs => %s)",
                           (event.event_id, event.permit, Json(spinoffs)))

    def report_failure(self, connection, event, message, trace):
        with connection.cursor() as cursor:
            cursor.execute("SELECT evq_fail(%s, %s, %s, %s)",
                           (event.event_id, message, event.permit, trace))


def main():
    parser = argparse.ArgumentParser(description="a worker of the ride demo")
    parser.add_argument("--name", required=True, help="how it is called in evq.workers and in pg_stat_activity")
    parser.add_argument("--seed", type=int, default=1, help="decides what fails and how long work takes")
    parser.add_argument("--speed", type=float, default=1, help="divides the time that work takes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    Worker(options).run()


if __name__ == "__main__":
    main()
