"""Sessions that LISTEN, and read what they hear."""
import select
import threading

from database import connect


class Listeners:
    """So many of them, while it is open."""

    def __init__(self, number):
        self.sessions = [connect() for _ in range(number)]
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.read)

    def __enter__(self):
        for db in self.sessions:
            db.cursor().execute("LISTEN evq_bench")
        self.thread.start()

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        for db in self.sessions:
            db.close()

    def read(self):
        while not self.done.is_set():
            for db in select.select(self.sessions, [], [], 0.1)[0]:
                db.poll()
                db.notifies.clear()
