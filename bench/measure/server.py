"""The throwaway server, stopped and started again."""
import os
import shutil
import subprocess
import time

import psycopg2

import cpu
import database
from settings import DATA, HERE


def control(action, *options):
    subprocess.run([os.path.join(HERE, "../scripts/as-user"), shutil.which("pg_ctl"), action, f"--pgdata={DATA}", "--silent", *options],
                   cwd=os.path.dirname(DATA), check=True)


def stop():
    cpu.note_restart()
    control("stop", "--wait", "--timeout=600")


def start():
    """Returns when the server accepted connections, by time.perf_counter()."""
    control("start", "--no-wait", "--log=server.log")
    while True:
        try:
            database.value("SELECT 1")
            return time.perf_counter()
        except psycopg2.OperationalError:
            time.sleep(0.002)
