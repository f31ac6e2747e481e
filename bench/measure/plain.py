"""What needs nothing but PostgreSQL."""
import latency
from contestant import Contestant
from database import value


class Textbook(Contestant):
    publish_call = "INSERT INTO job (case_id, payload) SELECT n, '{payload}' FROM generate_series(1, {size}) AS n"

    def __init__(self):
        super().__init__("textbook", "textbook")

    def published(self):
        return value("SELECT count(*) FROM job")


class Notify(Contestant):
    def __init__(self):
        super().__init__("LISTEN/NOTIFY", "notify")

    def latencies(self):
        return latency.notified("SELECT pg_notify('evq_bench', %s)")

    def left(self):
        return 0
