"""What workers and publishers of the load tests know of connections."""
import time

import psycopg2

CONNECT_SECONDS = 120


def connect(dsn, name, pause, **options):
    """Connects, as often as it takes; pause(seconds) waits in between."""
    give_up_at = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return psycopg2.connect(dsn, application_name=name, **options)
        except psycopg2.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            pause(0.2)


def must_bear(error, codes):
    """Is this an error that passes, of which the test has told?"""
    return error.pgcode is not None and error.pgcode in codes


def is_lost(connection, error):
    """Is this what a client meets when its server dies, and nothing else?"""
    # psycopg2 does not always see at once that the connection is closed.
    return (connection.closed != 0 or error.pgcode in ("57P01", "57P02")
            or (error.pgcode is None and type(error) in (psycopg2.DatabaseError, psycopg2.OperationalError)))
