"""Measures evq beside its limits and peers; called by bench/run, which started the server.

A metric has variants (rows of its table) and contestants (columns).  Each figure comes from a database of its own,
made anew; the contestants take turns within a round.  What a run processed is counted afterwards: a difference ends
the benchmark.
"""
import sys

import database
import report
from catalogue import METRICS
from cpu import Watch
from settings import METRIC, Wrong


def measure(name, metric):
    """The figures of all rounds: {(variant, contestant's name): [(figure, share of the CPU that others used)]}"""
    rounds = {}
    together = None in metric.variants.values()         # one run for all variants, or one for each
    runs = [(list(metric.variants), None)] if together else [([label], argument) for label, argument in metric.variants.items()]
    for turn in range(metric.rounds):
        for labels, argument in runs:
            for contestant in metric.contestants:
                with Watch() as watch:
                    figures = metric.measure(contestant, argument)
                for label, figure in zip(labels, figures if together else [figures]):
                    rounds.setdefault((label, contestant.name), []).append((figure, watch.others))
                    if figure is not None:
                        print(f"{name}, round {turn + 1}, {label}, {contestant.name}: {report.number(figure)} {metric.unit}"
                              f" (others used {watch.others:.0%} of the CPU)")
    return rounds


def main():
    names = []
    for asked in METRIC or METRICS:
        found = [name for name in METRICS if name == asked or name.startswith(asked + "_")]
        if not found:
            sys.exit(f"bench: no metric {asked}; there are {' '.join(METRICS)}")
        names += [name for name in found if name not in names]
    heading = report.conditions(names)
    print(heading)
    tables = []
    for name in names:
        tables.append(report.table(name, METRICS[name], measure(name, METRICS[name])))
        print("\n" + tables[-1])
        report.write(heading, tables)


try:
    main()
except Wrong as wrong:
    sys.exit(f"bench: {wrong}")
finally:
    database.drop()
