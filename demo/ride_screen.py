"""How the ride demo shows itself: a live screen on a terminal, plain lines elsewhere."""
import os
import shutil
import sys
import time

STEPS = ("RIDE_REQUESTED", "DRIVER_MATCHED", "DRIVER_ARRIVED",
         "TRIP_STARTED", "TRIP_COMPLETED", "PAYMENT_PROCESSED")
LABELS = ("book", "match", "arrive", "start", "finish", "pay")
DOING = ("finding a driver", "driver coming", "getting in", "on the road", "adding up", "taking payment")
FINAL = ("succeeded", "failed", "expired", "canceled")

CELL = 7            # columns from one step of a track to the next
WIDTH = 80
LOG_LINES = 6
LINGER = 2.0        # a finished ride stays so long before another takes its line

STYLES = {"plain": "", "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
GLYPHS = {"succeeded": ("green", "●"), "failed": ("red", "✗"), "expired": ("red", "✗"), "canceled": ("red", "✗"),
          "being_processed": ("cyan", "◐◓◑◒"), "dispatched": ("blue", "◎"),
          "awaiting_processing": ("yellow", "○"), "suspended": ("yellow", "○")}
SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹"
FOR_ASCII = str.maketrans("●✗◐◓◑◒◎○━─·→⁰¹²³⁴⁵⁶⁷⁸⁹", "#X|/-\\@o=-.>0123456789")


def open_view(options):
    """The live screen where there is a terminal that wants colours, else plain lines."""
    fancy = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return LiveView(options) if fancy and not options.plain else PlainView()


class PlainView:
    """One line for each thing that happened."""
    styled = False

    def __init__(self):
        self.shown = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def draw(self, rides, journal, elapsed):
        for entry in journal[self.shown:]:
            print(f"{entry.at:7.2f} s  {entry.flow_id}  {entry.text}", flush=True)
        self.shown = len(journal)

    def draw_last(self, rides, journal, elapsed):
        self.draw(rides, journal, elapsed)


class LiveView:
    """A frame many times a second: one line a ride, its track filling from left to right."""
    styled = True

    def __init__(self, options):
        self.about = f"{options.rides} rides · {options.workers} workers · seed {options.seed}"
        self.lines = []     # the rides that have a line now, from top to bottom

    def __enter__(self):
        self.write("\033[?1049h\033[?25l")      # the alternate screen, no cursor
        return self

    def __exit__(self, *_):
        self.write("\033[?25h\033[?1049l")

    def draw(self, rides, journal, elapsed):
        width, height = shutil.get_terminal_size((WIDTH, 24))
        frame = self.head(rides, elapsed)
        # 4 lines of head, then the rides, a line for those without one, a rule, 3 or more of log, the legend.
        room = max(1, height - len(frame) - 6)
        self.give_lines(rides, room)
        frame += [self.ride(ride) for ride in self.lines]
        frame.append(self.others(rides))
        frame.append([("dim", " " + "─" * (WIDTH - 2))])
        log_lines = min(LOG_LINES, height - len(frame) - 1)
        log = [entry for entry in journal if entry.notable][-log_lines:] if log_lines > 0 else []
        frame += [self.log(entry) for entry in log] + [[]] * (log_lines - len(log))
        frame.append(self.legend())
        self.write("\033[H" + "\r\n".join(render(line, width) + "\033[K" for line in frame[:height]) + "\033[J")

    def draw_last(self, rides, journal, elapsed):
        """The final picture, on the normal screen, so that it stays when the demo has gone."""
        shown = sorted(self.lines, key=lambda ride: ride.number)
        picture = self.head(rides, elapsed) + [self.ride(ride) for ride in shown]
        if len(rides) > len(shown):
            picture.append(self.others(rides))
        self.write("".join(render(line, WIDTH) + "\n" for line in picture))

    def head(self, rides, elapsed):
        finished = [ride for ride in rides if ride.outcome]
        paid = sum(ride.outcome == "completed" for ride in finished)
        retries = sum(ride.retries for ride in rides)
        title, clock = " evq · the ride demo", f"{int(elapsed) // 60}:{int(elapsed) % 60:02d} "
        gap = WIDTH - len(title) - len(self.about) - len(clock) - 3
        return [
            [("bold", title), ("dim", " " * gap + self.about + "   "), ("bold", clock)],
            [("green", f" ● {paid} paid   "), ("cyan", f"◐ {len(rides) - len(finished)} on the way   "),
             ("yellow", f"² {retries} retries   "),
             ("red" if len(finished) > paid else "dim", f"✗ {len(finished) - paid} failed")],
            [],
            [("dim", " " * 14 + "".join(f"{label:<{CELL}}" for label in LABELS))],
        ]

    def give_lines(self, rides, room):
        """Keeps each ride on the line it has; a new ride gets a free line, or that of one that is over."""
        now = time.time()
        del self.lines[room:]
        for ride in rides:
            if ride in self.lines:
                continue
            if len(self.lines) < room:
                self.lines.append(ride)
            elif not ride.outcome:
                over = [n for n, shown in enumerate(self.lines) if shown.outcome and now - shown.finished_at > LINGER]
                if not over:
                    break
                self.lines[min(over, key=lambda n: self.lines[n].finished_at)] = ride

    def ride(self, ride):
        spans = [("dim", f"{ride.number:>3} "), ("plain", f"{ride.passenger:<9.9} ")]
        for n, step in enumerate(STEPS):
            spans += self.cell(ride.events.get(step), last=n == len(STEPS) - 1, over=bool(ride.outcome))
        return spans + self.status(ride)

    def cell(self, event, last, over):
        """A step of the track: a glyph, the attempt where it is not the first, and the way to the next step."""
        length = 1 if last else CELL - 1
        if event is None:
            return [("dim", " " * (1 + length) if over else "·" + ("─" * length if not last else " "))]

        style, glyph = GLYPHS[event.state]
        tick = int(time.time() * 6)
        way = " " if last or event.state in FINAL else "─"
        spans = [("dim", way)] * length
        if event.state == "succeeded" and not last:
            spans = [("green", "━")] * length
        elif event.state == "being_processed" and not last:
            spans[tick % length] = ("cyan", "━")        # a small light on its way to the next step
        if event.attempt > 1:
            spans[0] = ("yellow", SUPERSCRIPT[min(event.attempt, 9)])
        return [(style, glyph[tick // 2 % len(glyph)])] + spans

    def status(self, ride):
        event = ride.current
        if event is None:
            return []
        took = (ride.finished_at or time.time()) - ride.asked_at
        if ride.outcome == "completed":
            return [("green", f" paid {ride.fare:.2f}"), ("dim", f" after {took:.1f} s")]
        if ride.outcome:
            return [("red", f" {ride.complaint or event.state}")]
        if event.state == "being_processed":
            return [("plain", f" {DOING[STEPS.index(event.event_type)]}"), ("dim", f" · {event.worker}")]
        wait = event.attempt_scheduled_at.timestamp() - time.time()
        if event.state == "awaiting_processing" and event.attempt > 1 and wait > 0:
            return [("dim", f" {wait:.0f} s · "), ("yellow", ride.complaint or "failed")]
        return [("dim", " waiting for a worker")]

    def others(self, rides):
        hidden = [ride for ride in rides if ride not in self.lines]
        if not hidden:
            return []
        paid = sum(ride.outcome == "completed" for ride in hidden)
        failed = sum(ride.outcome == "failed" for ride in hidden)
        return [("dim", f"    and {len(hidden)} more: {paid} paid, {len(hidden) - paid - failed} on the way,"
                        f" {failed} failed")]

    def log(self, entry):
        return [("dim", f" {entry.at:6.1f} s  {entry.flow_id}  "), (entry.style, entry.text)]

    def legend(self):
        spans = []
        for state, name in (("succeeded", "done"), ("being_processed", "in work"), ("dispatched", "offered"),
                            ("awaiting_processing", "waiting"), ("failed", "failed")):
            style, glyph = GLYPHS[state]
            spans += [(style, f" {glyph[0]} "), ("dim", f"{name}  ")]
        return spans + [("yellow", " ²"), ("dim", " 2nd attempt")]

    def write(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()


def render(spans, width, styled=True):
    """The spans of a line as text of at most width columns."""
    text = ""
    for style, part in spans:
        part = part[:width]
        width -= len(part)
        text += f"\033[{STYLES[style]}m{part}\033[0m" if styled and STYLES[style] else part
    return text if is_unicode() else text.translate(FOR_ASCII)


def is_unicode():
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
