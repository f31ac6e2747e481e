"""Tables, and the conditions they were measured under."""
import datetime
import json
import os
import platform
import re
import statistics

from database import value
from settings import DURATION, HERE, LONG_ROUNDS, LOUD, NODE, RESULTS, ROUNDS


def number(figure):
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def table(name, metric, rounds):
    """rounds: {(variant, contestant's name): [(figure or None, share of the CPU that others used)]}"""
    lines = [f"### {name}: {metric.title}" + (f" ({metric.unit})" if metric.unit else ""), "",
             "| |" + "".join(f" {contestant.name} |" for contestant in metric.contestants),
             "|---|" + "---:|" * len(metric.contestants)]
    for variant in metric.variants:
        base = rounds[variant, metric.contestants[0].name]
        cells = [cell(rounds[variant, contestant.name], base) for contestant in metric.contestants]
        lines.append(f"| {variant} |" + "".join(f" {text} |" for text in cells))
    return "\n".join(lines) + "\n"


def cell(runs, base):
    figures = [figure for figure, _ in runs if figure is not None]
    if not figures:
        return "–"
    text = number(statistics.median(figures))
    ratios = [figure / other for (figure, _), (other, _) in zip(runs, base) if figure is not None and other]
    if ratios and runs is not base:
        text += f" (×{statistics.median(ratios):.2f})"
    return text + "!" * sum(others > LOUD for _, others in runs)


def conditions(names):
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*: (.*)", info.read(), re.M)
    model = found[1] if found else "unknown CPU"
    with open(os.path.join(HERE, "server.conf"), encoding="utf-8") as conf:
        settings = [line.strip().replace("'", "") for line in conf if line.strip() and not line.startswith("#")]
    with open(os.path.join(NODE, "package.json"), encoding="utf-8") as file:
        versions = {"PostgreSQL": value("SHOW server_version", database="postgres"),
                    "PgQ": value("SELECT default_version FROM pg_available_extensions WHERE name = 'pgq'", database="postgres"),
                    **json.load(file)["dependencies"]}
    return "\n".join([
        f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {os.environ.get('COMMIT')}",
        f"- {os.cpu_count()} cores, {model}, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30} GB, "
        f"Linux {platform.release()}",
        f"- {', '.join(f'{what} {version}' for what, version in versions.items())}",
        f"- {', '.join(settings)}",
        f"- {ROUNDS} rounds ({LONG_ROUNDS} of the long metrics), {DURATION} s where a measurement has no natural end; metrics: {' '.join(names)}",
    ]) + "\n"


def write(heading, tables):
    with open(RESULTS, "w", encoding="utf-8") as file:
        file.write("# Results of make bench\n\nMedians of the rounds, in brackets the median of the ratios to the first column.\n"
                   f"Each ! is a round in which other processes used more than {LOUD:.0%} of the CPU: repeat it on a quiet machine.\n"
                   f"[README.md](README.md) says what is measured.\n\n{heading}\n" + "\n".join(tables))
