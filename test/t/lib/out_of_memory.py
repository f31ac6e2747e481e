#!/usr/bin/python3
"""Calls a statement in new sessions, and lets another one of their allocations fail each time: each of the first fifty,
then fewer and fewer; see server_out_of_memory.pl.

Statements come as JSON on standard input: {name: {"before": SQL, "call": SQL}}. What "before" returns are the
parameters of the call; it runs in a session of its own. What went wrong is written to standard output, a line each, and
a line of figures for each statement.
"""
import argparse
import json
import mmap
import re
import struct
import sys

import psycopg2

OUT_OF_MEMORY = "53200"
LOST = "connection lost"        # PostgreSQL ends a session that cannot set a setting


class Fault:
    """The file of test/fault/malloc.c."""
    layout = struct.Struct("<4q")

    def __init__(self, name):
        with open(name, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), self.layout.size)

    def arm(self, pid, countdown, lasts):
        self.map[:] = self.layout.pack(0, countdown, lasts, 0)
        self.map[0:8] = struct.pack("<q", pid)

    def disarm(self):
        """Returns how many allocations failed."""
        self.map[0:8] = bytes(8)
        return self.layout.unpack(self.map)[3]


def query(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def connect(dsn):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return connection


class Sweep:
    def __init__(self, dsn, fault):
        self.dsn, self.fault = dsn, fault
        self.observer = connect(dsn)

    def parameters(self, statement):
        rows = query(self.observer, statement["before"]) if "before" in statement else []
        return dict(zip((str(n) for n in range(1, 9)), rows[0])) if rows else {}

    def attempt(self, statement, countdown, lasts):
        """How the call ends ('' = well), how many allocations failed, and what is wrong after it."""
        parameters = self.parameters(statement)
        with_fault = connect(self.dsn)
        pid = with_fault.get_backend_pid()
        ending, wrong = "", []
        self.fault.arm(pid, countdown, lasts)
        try:
            query(with_fault, statement["call"], parameters)
        except psycopg2.Error as error:
            ending = error.pgcode or LOST
            if error.pgcode is not None and re.search("out of (dynamic )?memory", str(error)):
                ending = OUT_OF_MEMORY      # a regular expression, or a file of settings, has a SQLSTATE of its own
        failed = self.fault.disarm()
        if ending not in ("", OUT_OF_MEMORY, LOST):
            wrong.append(f"ends with {ending}")
        [(locks,)] = query(self.observer, "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype <> 'virtualxid'", (pid,))
        if locks:
            wrong.append(f"{locks} locks are left")
        if ending == "":
            parameters = self.parameters(statement)
        if ending == LOST:
            with_fault = connect(self.dsn)
        try:
            query(with_fault, "BEGIN")
            query(with_fault, statement["call"], parameters)
            query(with_fault, "ROLLBACK")
        except psycopg2.Error as error:
            wrong.append(f"does not work afterwards: {error}")
        with_fault.close()
        return ending, failed, wrong

    def run(self, name, statement):
        for lasts in (0, 1):
            endings = {"": 0, OUT_OF_MEMORY: 0, LOST: 0}
            countdown = 0
            while True:
                ending, failed, wrong = self.attempt(statement, countdown, lasts)
                for what in wrong:
                    print(f"wrong: {name}, allocation {countdown + 1}{' and all after it' if lasts else ''}: {what}", flush=True)
                if not failed:
                    break
                endings[ending] = endings.get(ending, 0) + 1
                countdown += 1 + countdown // 50
            print(f"{name}: {sum(endings.values())} of {countdown} allocations{' and all after them' if lasts else ''}: "
                  f"{endings[OUT_OF_MEMORY]} errors, {endings['']} had no effect, {endings[LOST]} ended the session", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--fault", required=True)
    options = parser.parse_args()
    sweep = Sweep(options.dsn, Fault(options.fault))
    for name, statement in json.load(sys.stdin).items():
        sweep.run(name, statement)


if __name__ == "__main__":
    main()
