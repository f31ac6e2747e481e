"""Metrics of the whole life of events: each is a function (contestant, what the variant stands for) -> figure."""
from database import value, wal_position
from settings import DURATION


def seconds_marked():
    return value("SELECT ((max(at) FILTER (WHERE what = 'end') - min(at) FILTER (WHERE what = 'begin')) / 1e6)::float8 FROM mark")


def drain(contestant, events, batch, workers):
    """A backlog of events, published and settled; returns how many a second were finished."""
    if contestant.folder == "evq" and batch == 1000:
        value("SELECT evq_configure_flow('BENCH', max_dispatched => 10000)")
    events = contestant.preload(events, batch)
    contestant.settle()
    contestant.work(batch, workers).result()
    contestant.check_finished(events)
    return events / seconds_marked()


def mixed(contestant, batch):
    with contestant.busy():
        workers = contestant.work(batch, marked=False)
        publishers = contestant.publish(8, batch, ["-T", str(DURATION)], marked=True)
        events = publishers.result()[0] * batch
        workers.result()
    contestant.check_finished(events)
    return events / seconds_marked()


def wal(contestant, batch):
    turns = 5000 if batch == 1 else 200
    before = wal_position()
    events = contestant.publish(1, batch, ["-t", str(turns)]).result()[0] * batch
    contestant.check_published(events)
    contestant.work(batch).result()
    after = wal_position()
    contestant.check_finished(events)
    return (after - before) / events
