#!/usr/bin/python3
"""Proves of a run of the attack tests that nothing was lost, double, out of order or unexplained.

    attack_check.py FOLDER           prints a line "violation ..." for each thing that is not as it should be

In the folder are three tellings of one story. The journals say what sessions called, and what they were answered. The history has
each change of each event's row, read from the WAL, transaction by transaction in the order of their commits; where a standby
was promoted it has a gap, after which it begins anew with the state of then. The tables say how it ended. The model goes through
the history, knows for each event what may become of it, and asks for each change which call explains it, and for each
acknowledged call which change it made.
"""
import collections
import copy
import glob
import json
import math
import re
import sys

from attack_world import MOST_ATTEMPTS, TYPES

LIVE = "adpu"
ON_THE_WAY = "dp"
LETTERS = {"awaiting_processing": "a", "dispatched": "d", "being_processed": "p", "suspended": "u", "succeeded": "s", "failed": "f",
           "expired": "e", "canceled": "c", None: None}
# Verbs that end an attempt as if it had not been.
UNDOING_VERBS = ("release", "release_batch", "snooze", "suspend")
ENGINE_MESSAGES = {"the permit ran out without a report", "the suspension timed out"}

# What attempts_used may change by; what is not here leaves it as it is.
ATTEMPTS = {("p", "a"): (0, 1), ("u", "a"): (0, 1), ("p", "f"): (1,), ("u", "f"): (1,), ("p", "s"): (1,), ("u", "s"): (1,)}

COLUMN = re.compile(r"(\w+)\[(.*?)\]:('(?:[^']|'')*'|\S+)(?: |$)")
EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
ROW = re.compile(r"table (\w+)\.(\w+): (\w+): ")
OF_BATCHES = re.compile(r"evq\.(log|batch|run|exception)(?:_\w+)?$")


def parse_value(kind, text):
    if text == "null":
        return None
    if text.startswith("'"):
        text = text[1:-1].replace("''", "'")
    if kind in ("integer", "smallint", "bigint"):
        return int(text)
    if kind == "boolean":
        return text == "true"
    if kind == "jsonb":
        return None if text == "unchanged-toast-datum" else json.loads(text)
    if kind == "uuid[]":
        return [item for item in text.strip("{}").split(",") if item]
    return text


def parse(line):
    """Table, operation and columns of a change."""
    head = ROW.match(line)
    position = head.end()
    old = line.find("new-tuple: ", position) if line.startswith("old-key: ", position) else -1
    if old >= 0:
        position = old + len("new-tuple: ")
    row = {}
    while (found := COLUMN.match(line, position)) is not None:
        row[found[1]] = parse_value(found[2], found[3])
        position = found.end()
    return head[1] + "." + head[2], head[3], row


class Data:
    """What is in the folder."""

    def __init__(self, folder):
        self.turns = {}                                     # kind "many", by name
        self.ones = []                                      # kind "one"
        self.decisions = collections.defaultdict(list)      # gid: [decision, at, outcome, at]
        self.unexpected = []
        for name in sorted(glob.glob(f"{folder}/client*.log") + glob.glob(f"{folder}/late.log")):
            with open(name) as file:
                for line in file:
                    self.read(json.loads(line))
        self.parts = []
        for name in sorted(glob.glob(f"{folder}/state*.json")):
            with open(name) as file:
                state = json.load(file)
            with open(name.replace("state", "history")) as file:
                self.parts.append((state, [json.loads(line) for line in file]))
        with open(f"{folder}/tables.json") as file:
            self.tables = json.load(file)

    def read(self, line):
        if "unexpected" in line:
            self.unexpected.append(line)
        elif "gid" in line:
            if "decision" in line:
                self.decisions[line["gid"]].append([line["decision"], line["at"], "unknown", math.inf])
            else:
                # The last decision of this journal that has no outcome yet.
                for decision in reversed(self.decisions[line["gid"]]):
                    if decision[2] == "unknown" and decision[3] == math.inf:
                        decision[2:] = [line["outcome"], line["at"]]
                        break
        elif line.get("kind") == "one":
            self.ones.append(line)
        elif line.get("kind") == "many":
            self.turns[line["txn"]] = line | {"outcome": line.get("outcome", "unknown"), "asked_at": line["at"], "answered_at": math.inf}
        else:
            turn = self.turns[line["txn"]]
            turn["outcome"] = line["outcome"]
            turn["answered_at"] = line["at"]


def ordinal(event_id):
    """An event's number in its batch."""
    return int(event_id[-3:], 16) & 0x3ff


def in_batch(event_id, number):
    """The id of the event with this number in the same batch."""
    return event_id[:-3] + f"{int(event_id[-3:], 16) & ~0x3ff | number:03x}"


class Event:
    __slots__ = ("event_id", "state", "permit", "attempts", "flow", "type", "flow_id", "ordered", "answered", "answer", "parent", "worker", "since",
                 "spinoffs", "payload")

    def __init__(self, row, state=None):
        self.event_id = row["event_id"]
        self.state = state or row["state"]
        self.permit = row["permit"]
        self.attempts = row["attempts_used"]
        self.flow = row["flow_no"]
        self.type = row["event_type_no"]
        self.flow_id = row["flow_id"]
        self.ordered = row["ordered"]
        self.answered = row.get("answered_permit")
        self.answer = row.get("answer")
        self.parent = row.get("parent_id")
        self.worker = row.get("worker")
        self.spinoffs = row.get("spinoff_ids")
        self.payload = row.get("payload")
        self.since = None       # number of the transaction since which it is live


class Change:
    """A step of an event: from "before" to "after"."""
    __slots__ = ("event_id", "before", "after", "explained", "number")

    def __init__(self, event_id, before, after, number):
        self.event_id, self.before, self.after, self.number = event_id, before, after, number
        self.explained = False

    @property
    def pair(self):
        return (self.before.state if self.before else None, self.after.state)

    @property
    def is_step(self):
        return self.before is None or self.before.state != self.after.state

    @property
    def used(self):
        return self.after.attempts - (self.before.attempts if self.before else 0)

    def __str__(self):
        return f"{self.event_id} {self.pair[0]}->{self.pair[1]} permit {self.after.permit} attempts {self.after.attempts}"


class Checker:
    def __init__(self, data):
        self.data = data
        self.violations = []
        self.figures = collections.Counter()
        self.events = {}                                    # id: Event, live or finished
        self.gone = set()                                   # succeeded and left nothing
        self.in_batches = set()                             # ids of events without a row of their own
        self.gapped = set()                                 # changed while nobody looked
        self.gaps = 0
        self.marks, self.gap_marks = {}, set()              # name: number of its transaction
        self.steps = collections.defaultdict(list)          # id: its Changes
        self.permits = collections.defaultdict(dict)        # id: {permit: number of the transaction}
        self.answers = {}                                   # (id, permit): answer
        self.failures = collections.Counter()               # id: attempts that ended badly
        self.error_rows = collections.Counter()
        self.messages = collections.defaultdict(list)       # of the present transaction: id: messages
        self.flows, self.types = {}, {}
        self.limits = {}                                    # flow: what max_processing was since its last turn,
        self.limits_before = {}                             # ... and before that, when the next one may have begun
        self.last_turn = {}                                 # flow: number of the transaction that gave the last turn
        self.on_the_way = collections.Counter()             # flow: events
        self.lines = collections.defaultdict(dict)          # (flow, flow_id): live ordered events
        self.number = 0
        self.legal = {(LETTERS[row["from_state"]], LETTERS[row["to_state"]]) for row in data.tables["transitions"]}
        self.by_worker, self.by_report, self.unanswered = {}, collections.defaultdict(list), collections.Counter()
        self.spent = set()                                  # (call outside of a transaction, id) that has explained a step
        self.index_ones()

    def violation(self, kind, text):
        self.violations.append((kind, text))

    # ---------- the journals ----------

    def index_ones(self):
        """What calls outside of transactions may explain."""
        for line in self.data.ones:
            call = line["call"]
            self.by_worker[line["txn"]] = line
            if line["outcome"] == "failed":
                continue
            verb = call["verb"]
            if verb in ("succeed", "release", "snooze", "suspend", "activate", "cancel", "retry"):
                self.by_report[verb, call["event"]].append(line)
            for thing in call.get("things", ()):
                self.by_report[verb, thing[0]].append(line)
            if verb == "redrive":
                self.by_report[verb, call["event_type"]].append(line)
            if verb == "publish":
                for event_id in call.get("ids", ()):
                    self.by_report[verb, event_id].append(line)
                if line["outcome"] == "unknown":
                    for event in call["events"]:
                        self.unanswered[event["event_type"], event["flow_id"]] += 1

    # ---------- the history ----------

    def run(self):
        for part, (state, transactions) in enumerate(self.data.parts):
            self.begin(state, part)
            for _, xid, lines in transactions:
                self.number += 1
                self.transaction(xid, lines)
        self.check_turns()
        self.check_ones()
        self.check_real_time()
        self.check_keys()
        self.check_tables()
        for line in self.data.unexpected:
            self.violation("error", f"{line['txn']}: {line['sqlstate']} {line['unexpected']}")
        return self.violations

    def begin(self, state, part):
        """The state that a part of the history begins with; what happened before it and after the last part, nobody saw."""
        self.number += 1
        self.flows = {row["flow_no"]: row for row in state["flows"]}
        self.types = {row["event_type_no"]: row["event_type"] for row in state["types"]}
        self.limits = {number: {row["max_processing"]} for number, row in self.flows.items()}
        self.gap_marks |= {row["txn"] for row in state["marks"]} - self.marks.keys()
        self.gaps += part > 0
        found = {row["event_id"]: Event(row) for row in state["events"] + state["finished"]}
        for event_id, known in self.events.items():
            if event_id in found:
                if (known.state, known.permit, known.attempts) != (found[event_id].state, found[event_id].permit, found[event_id].attempts):
                    self.gapped.add(event_id)
                    if known.state == "s":
                        self.violation("lost", f"{event_id} had succeeded, and is {found[event_id].state} after a promotion")
            elif TYPES[self.types[known.type]].get("retention") and known.state != "s":
                self.gapped.add(event_id)
                self.gone.add(event_id)
            else:
                self.violation("lost", f"{event_id} is not there after a promotion")
        self.gapped |= found.keys() - self.events.keys()
        # What was called meanwhile.
        for name, turn in self.data.turns.items():
            if name in self.gap_marks:
                self.gapped |= set(EVENT_ID.findall(json.dumps(turn["calls"])))
        for line in self.data.ones:
            if state["since"] is not None and state["since"] <= line["at"] and line["call"]["sent"] <= state["at"]:
                self.gapped |= set(EVENT_ID.findall(json.dumps(line["call"])))
        self.events = found
        self.in_batches = {row["event_id"] for row in state["in_batches"]}
        self.on_the_way.clear()
        self.lines.clear()
        for event in found.values():
            event.since = self.number
            self.permits[event.event_id].setdefault(event.permit, self.number)
            if event.answered:
                # To an attempt of then, perhaps, of which the row tells no more than that.
                self.permits[event.event_id].setdefault(event.answered, self.number)
                self.answers.setdefault((event.event_id, event.answered), event.answer)
            if event.state in LIVE:
                self.enter(event)
        self.last_turn = {number: self.number for number in self.flows}

    def enter(self, event):
        self.on_the_way[event.flow] += event.state in ON_THE_WAY
        if event.ordered:
            self.lines[event.flow, event.flow_id][event.event_id] = event

    def leave(self, event):
        self.on_the_way[event.flow] -= event.state in ON_THE_WAY
        if event.ordered:
            self.lines[event.flow, event.flow_id].pop(event.event_id, None)

    def transaction(self, xid, lines):
        changes, deleted, moved = [], {}, set()
        logged, left = collections.defaultdict(list), set()
        mark = None
        self.messages.clear()
        configured = set()
        for line in lines:
            table, operation, row = parse(line)
            if table == "public.attack_mark":
                mark = row["txn"]
            elif row.get("flow_id") == "last":
                continue        # the test's own, to compare the counters with
            elif of_batches := OF_BATCHES.match(table):
                changes += self.change_of_batch(of_batches[1], operation, row, logged, left)
            elif table == "evq.event" and operation == "INSERT" and row["event_id"] in left:
                left.discard(row["event_id"])
                self.leave_batch(Event(row))
            elif table == "evq.event":
                if operation == "DELETE":
                    deleted[row["event_id"]] = self.events.get(row["event_id"])
                else:
                    changes.append(self.change(Event(row)))
            elif table.startswith("evq.event_history"):
                event_id = row.get("event_id")
                if operation == "INSERT" and event_id in deleted:
                    del deleted[event_id]
                    changes.append(self.change(Event(row)))
                elif operation == "INSERT" and event_id not in moved:
                    # A row that is inserted before its other row is deleted: of an event that ends, or that moves to another partition.
                    known = self.events.get(event_id)
                    if known is None or known.state in LIVE:
                        changes.append(self.change(Event(row)))
                        deleted[event_id] = "ended"
            elif table == "evq.event_error" and operation == "INSERT":
                self.messages[row["event_id"]].append(row["error_message"])
                self.error_rows[row["event_id"]] += row["outcome"] in ("retry", "failed")
            elif table == "evq.flow" and operation != "DELETE":
                self.flows[row["flow_no"]] = row
                self.limits.setdefault(row["flow_no"], set()).add(row["max_processing"])
                configured.add(row["flow_no"])
            elif table == "evq.event_type" and operation != "DELETE":
                self.types[row["event_type_no"]] = row["event_type"]
        for event_id, known in deleted.items():
            if known != "ended" and known is not None and self.events.get(event_id) is not None and self.events[event_id].state in LIVE:
                changes.append(self.vanish(event_id))
        for event_id in left:
            self.violation("lost", f"{event_id} left its batch, and has no row")
        for batch_id in logged:
            self.violation("lost", f"{batch_id} has rows of evq.log, and is no batch")
        self.check_turns_given(changes, configured)
        self.check_children(changes)
        if mark is not None:
            if mark in self.marks:
                self.violation("double", f"{mark} was committed twice")
            self.marks[mark] = self.number
            self.explain_by_turn(mark, changes)
        else:
            self.explain_by_ones(changes)
        for change in changes:
            if change.is_step and not change.explained:
                self.violation("unexplained", f"{change} in {mark or 'transaction ' + xid}")
        self.figures["transactions"] += 1
        self.figures["changes"] += len(changes)

    def change(self, after):
        """An event's row has a new version."""
        event_id = after.event_id
        before = self.events.get(event_id)
        change = Change(event_id, before, after, self.number)
        after.since = self.number if before is None or before.state not in LIVE else before.since
        if before is not None and before.state in LIVE:
            self.leave(before)
        if after.state in LIVE:
            self.enter(after)
        self.events[event_id] = after
        self.steps[event_id].append(change)
        self.check_step(change)
        return change

    # ---------- events in batches ----------

    def change_of_batch(self, table, operation, row, logged, left):
        """What a row of these tables means for the events that it is about."""
        # Housekeeping writes anew where the rows of a batch are.
        if operation == "DELETE" or (table == "batch" and operation == "UPDATE"):
            return []
        if table == "log":
            logged[in_batch(row["event_id"], 0)].append(row)
            return []
        if table == "batch":
            rows = logged.pop(row["batch_id"], [])
            if sorted(ordinal(each["event_id"]) for each in rows) != list(range(row["events"])):
                self.violation("lost", f"batch {row['batch_id']} of {row['events']} has {len(rows)} rows of evq.log")
            self.figures["batches"] += 1
            self.in_batches |= {each["event_id"] for each in rows}
            return [self.change(Event(row | each | {"permit": 0, "attempts_used": 0, "ordered": False}, "a")) for each in rows]
        if table == "exception":
            self.figures[f"exceptions {row['state']}"] += 1
            if row["event_id"] not in self.in_batches:
                self.violation("illegal", f"{row['event_id']} has an exception, and is in no batch")
                return []
            if row["state"] == "s":
                return [self.change_in_batch(row["event_id"], "s")]
            self.in_batches.discard(row["event_id"])
            left.add(row["event_id"])
            return []
        self.figures["runs acquired" if operation == "INSERT" else "runs changed"] += 1
        last = ordinal(row["last_id"])
        ids = [in_batch(row["last_id"], number) for number in range(last - row["events"] + 1, last + 1)]
        if operation == "INSERT":
            return [self.change_in_batch(event_id, row["state"], row["permit"], row["worker"]) for event_id in ids]
        return [self.change_in_batch(event_id, row["state"]) for event_id in ids
                if event_id in self.in_batches and self.events[event_id].state == "p"]

    def change_in_batch(self, event_id, state, permit=None, worker=None):
        before = self.events.get(event_id)
        if before is None or event_id not in self.in_batches:
            self.violation("illegal", f"{event_id} is in a run, and in no batch")
            before = before or Event(collections.defaultdict(lambda: None, permit=0, attempts_used=0, event_id=event_id), "a")
        after = copy.copy(before)
        after.state = state
        after.attempts = 1 if state == "s" else 0
        if permit is not None:
            after.permit, after.worker = permit, worker
        return self.change(after)

    def leave_batch(self, event):
        """It gets a row of its own, which says the same."""
        known = self.events[event.event_id]
        if (event.state, event.permit, event.attempts, event.flow_id) != (known.state, known.permit, known.attempts, known.flow_id):
            self.violation("illegal", f"{event.event_id} left its batch as {known.state} with {known.permit}, its row says {event.state} with {event.permit}")
        event.since = known.since
        self.events[event.event_id] = event

    def vanish(self, event_id):
        """It succeeded, and its type keeps nothing of that."""
        before = self.events.pop(event_id)
        self.leave(before)
        after = Event({"event_id": event_id, "permit": before.permit, "attempts_used": before.attempts + 1, "flow_no": before.flow,
                       "event_type_no": before.type, "flow_id": before.flow_id, "ordered": before.ordered}, "s")
        change = Change(event_id, before, after, self.number)
        self.steps[event_id].append(change)
        self.gone.add(event_id)
        if not TYPES[self.types[before.type]].get("retention"):
            self.violation("lost", f"{event_id} was deleted")
        self.check_step(change)
        return change

    # ---------- a step ----------

    def check_step(self, change):
        before, after = change.before, change.after
        if not change.is_step:
            if before.state != "p" or before.permit != after.permit or before.attempts != after.attempts:
                self.violation("illegal", f"{change}: no verb does that")
        elif change.pair not in self.legal:
            self.violation("illegal", f"{change}: there is no such transition")
        self.figures[f"{change.pair[0]}->{change.pair[1]}"] += change.is_step
        if change.is_step and after.state == "p":
            if after.permit in self.permits[change.event_id]:
                self.violation("permit", f"{change}: the permit was granted before")
            self.permits[change.event_id][after.permit] = self.number
        elif before is not None and before.permit != after.permit:
            self.violation("permit", f"{change}: the permit was {before.permit}")
        if before is not None and before.state in LIVE and change.is_step:
            if change.used not in ATTEMPTS.get(change.pair, (0,)):
                self.violation("attempts", f"{change}: used before: {before.attempts}")
            self.failures[change.event_id] += change.used == 1 and after.state in "af"
        if before is not None and before.state not in LIVE and after.attempts != 0:
            self.violation("attempts", f"{change}: no fresh attempts")
        if after.attempts > MOST_ATTEMPTS or (after.state == "p" and after.attempts >= MOST_ATTEMPTS):
            self.violation("attempts", f"{change}: more than max_attempts")
        if after.state == "u" and change.is_step and before is not None and before.answered == before.permit:
            self.violation("answer", f"{change}: it sleeps although it was answered")
        if change.pair == ("p", "a") and change.used == 0 and before.answered == before.permit:
            self.figures["answers that came first"] += 1
        if after.state in LIVE and after.answered and (before is None or before.answered != after.answered):
            key = (change.event_id, after.answered)
            if after.answered not in self.permits[change.event_id]:
                self.violation("answer", f"{change}: an answer to {after.answered}, which was not granted")
            if key in self.answers and self.answers[key] != after.answer:
                self.violation("answer", f"{change}: a second answer to {after.answered}")
            self.answers[key] = after.answer

    # ---------- order and limits ----------

    def check_turns_given(self, changes, configured):
        """
        Who decides whose turn it is in a flow has its lock until the commit, and looks after that of the last one who decided:
        what was committed by then it has seen.
        """
        flows = {change.after.flow for change in changes if change.pair in (("a", "d"), ("a", "p"))}
        for number in flows:
            flow = self.flows[number]
            taken = [change for change in changes if change.after.flow == number and change.pair in (("a", "d"), ("a", "p"))]
            if flow["ordered"]:
                for change in taken:
                    self.check_order(change)
            allowed = self.limits[number] | self.limits_before.get(number, set())
            if flow["max_processing"] is not None and None not in allowed and self.on_the_way[number] > max(allowed):
                self.violation("limit", f"{self.on_the_way[number]} of flow {flow['flow_type']} are on their way, {allowed} may be: {taken[0]}")
            self.limits_before[number] = self.limits[number]
            self.figures["turns given"] += 1
            self.last_turn[number] = self.number
            self.limits[number] = {flow["max_processing"]}

    def check_order(self, change):
        event = self.events.get(change.event_id)
        if not change.after.ordered or event is None:
            return
        for other in self.lines[event.flow, event.flow_id].values():
            if other is event:
                continue
            if other.state in "dpu" and event.state in "dpu":
                self.violation("order", f"{change}: {other.event_id} of its flow_id is {other.state}")
            elif other.event_id < event.event_id and other.since <= self.last_turn[event.flow]:
                self.violation("order", f"{change}: {other.event_id} comes before it and is {other.state}")
        self.figures["turns in order"] += 1

    # ---------- parents and children ----------

    def check_children(self, changes):
        """Who ends an event publishes what follows in the same transaction, and nobody else does."""
        made = {change.event_id: change for change in changes if change.before is None}
        wanted = set()
        for change in changes:
            after = change.after
            if not change.is_step or after.state in LIVE:
                continue
            spinoffs = after.spinoffs or []
            if change.event_id in self.gone:
                spinoffs = [event_id for event_id, child in made.items() if child.after.parent == change.event_id]
            wanted |= set(spinoffs)
            for event_id in spinoffs:
                if event_id not in made or made[event_id].after.parent != change.event_id:
                    self.violation("chain", f"{change}: its spinoff {event_id} was not published with it")
            follower = TYPES[self.types[after.type]].get("on_fail_event_type")
            kinds = [self.types[made[event_id].after.type] for event_id in spinoffs if event_id in made]
            if after.state in "fe" and kinds != ([follower] if follower else []):
                self.violation("chain", f"{change}: followed by {kinds}, not by {follower}")
            if after.state == "c" and kinds:
                self.violation("chain", f"{change}: followed by {kinds}")
            self.figures["on-fail events"] += after.state in "fe" and len(kinds)
            self.figures["spinoffs"] += after.state == "s" and len(kinds)
        for event_id, change in made.items():
            if change.after.parent is not None:
                if event_id not in wanted:
                    self.violation("chain", f"{change}: not named by its parent {change.after.parent}")
                change.explained = True

    # ---------- which call explains it ----------

    @staticmethod
    def by_engine(change, messages):
        """What a turn of the engine does."""
        pair = change.pair
        if pair in (("a", "d"), ("d", "a"), ("a", "e"), ("d", "e"), ("u", "e")):
            return True
        if pair == ("u", "a"):
            return change.used == 0 and change.after.answered != change.before.permit
        return pair in (("p", "a"), ("p", "f")) and change.used == 1 and bool(ENGINE_MESSAGES & set(messages.get(change.event_id, ())))

    def explain_by_turn(self, name, changes):
        turn = self.data.turns.get(name)
        if turn is None:
            self.violation("unexplained", f"{name} is in no journal")
            return
        ticks = any(call["verb"] == "tick" and not call.get("undone") for call in turn["calls"])
        open_steps = collections.defaultdict(list)
        for change in changes:
            if change.is_step and not change.explained:
                open_steps[change.event_id].append(change)
        for call in turn["calls"]:
            if not call.get("undone"):
                for missing in self.account(call, open_steps):
                    self.violation("lost", f"{name}: {call['verb']} of {missing} changed nothing")
                if "extra" in call:
                    for missing in self.account(call["extra"], open_steps):
                        self.violation("lost", f"{name}: {call['extra']['verb']} of {missing} changed nothing")
        for steps in open_steps.values():
            for change in steps:
                # A transaction gives turns to what it has made wait itself.
                change.explained |= (ticks and self.by_engine(change, self.messages)) or change.pair == ("a", "d")

    def account(self, call, open_steps):
        """Takes the steps that a call must have made; what it has not, is returned."""
        def take(event_id, wanted):
            for change in open_steps.get(event_id, ()):
                if not change.explained and wanted(change):
                    change.explained = True
                    return change
            return None

        verb = call["verb"]
        missing = []
        if verb == "publish":
            for event, event_id in zip(call["events"], call["ids"], strict=True):
                if take(event_id, lambda c: c.before is None) is None and not ("idempotency_key" in event and self.is_known(event_id)):
                    missing.append(event_id)
        for event_id, permit, answer in call.get("acquired", ()):
            if verb == "succeed":
                answer = None
            # On the way, where the transaction gave it its turn.
            for change in open_steps.get(event_id, ()):
                change.explained |= change.pair == ("a", "d")
            change = take(event_id, lambda c: c.after.state == "p" and c.after.permit == permit)
            if change is None:
                missing.append(event_id)
            elif answer != change.after.answer and verb != "succeed":
                self.violation("answer", f"{change}: it was acquired with {answer}, its answer is {change.after.answer}")
        for event_id, permit, outcome in self.reports(call):
            change = take(event_id, self.wanted_step(verb, permit, outcome))
            if change is None and not self.is_repeated(verb, event_id, permit, call):
                missing.append(event_id)
            if change is not None and verb == "succeed" and change.after.spinoffs is not None and call.get("spinoffs") is not None \
                    and set(change.after.spinoffs) != set(call["spinoffs"]):
                self.violation("chain", f"{change}: the answer named {call['spinoffs']}, the row {change.after.spinoffs}")
            if change is not None and verb.startswith("fail") and call["error"] not in self.messages[event_id]:
                self.violation("lost", f"{change}: its error is not on record")
        if "lost" in call:
            ended = [event_id for event_id, permit in call["things"] if take(event_id, self.wanted_step(verb, permit, None)) is not None]
            told_again = [event_id for event_id, permit in call["things"] if event_id not in ended and self.is_repeated(verb, event_id, permit, call)]
            if not len(ended) <= len(call["things"]) - call["lost"] <= len(ended) + len(told_again):
                missing.append(f"{call['things']}, of which {call['lost']} were refused,")
        if verb == "cancel" and take(call["event"], lambda c: c.after.state == "c") is None and not self.was(call["event"], "c"):
            missing.append(call["event"])
        if verb == "retry" and take(call["event"], lambda c: c.before is not None and c.before.state in "fec" and c.after.state == "a") is None:
            missing.append(call["event"])
        if verb == "redrive":
            count = 0
            for steps in open_steps.values():
                for change in steps:
                    if not change.explained and change.pair in (("f", "a"), ("e", "a")) and self.types[change.after.type] == call["event_type"]:
                        change.explained = True
                        count += 1
            if count != call["count"]:
                missing.append(f"{call['count']}, it was {count}")
        if verb == "activate":
            self.check_activation(call, take, missing)
        self.figures[verb] += 1
        return missing

    def check_activation(self, call, take, missing):
        event_id, permit = call["event"], call["permit"]
        take(event_id, lambda c: c.pair == ("u", "a") and c.after.answered == permit)
        # Where it was told again it changed nothing; but the answer of the attempt is this one.
        if (event_id, permit) not in self.answers:
            if event_id not in self.gapped:
                missing.append(event_id)
        elif not call.get("patched") and self.answers[event_id, permit] != call["answer"] and event_id not in self.gapped:
            self.violation("answer", f"{event_id}: {call['answer']} was accepted for {permit}, {self.answers[event_id, permit]} counts")

    @staticmethod
    def reports(call):
        """Event, permit and outcome of each attempt that a call has ended."""
        verb = call["verb"]
        if verb in ("succeed", "fail", "snooze", "release", "suspend"):
            yield call["event"], None if call.get("blind") else call["permit"], call.get("state") if verb == "fail" else call.get("until")
        elif "accepted" in call:
            for number, ((event_id, permit), accepted) in enumerate(zip(call["things"], call["accepted"], strict=True)):
                if accepted:
                    yield event_id, permit, call["states"][number] if "states" in call else None

    @staticmethod
    def wanted_step(verb, permit, outcome):
        if verb.startswith("succeed"):
            to = {"s"}
        elif verb.startswith("fail"):
            to = {LETTERS[outcome]} if outcome else {"a", "f"}
        elif verb == "suspend":
            to = {"a" if outcome is None else "u"}
        else:
            to = {"a"}
        used = 1 if verb.startswith(("succeed", "fail")) else 0
        return lambda c: c.before is not None and c.before.state in "pu" and c.after.state in to and c.used == used and permit in (None, c.before.permit)

    def is_repeated(self, verb, event_id, permit, call):
        """A success may be told again."""
        if not verb.startswith("succeed"):
            return False
        for change in self.steps.get(event_id, ()):
            if change.after.state == "s" and change.before.permit == permit and change.number <= self.number:
                if verb == "succeed" and change.after.spinoffs is not None and set(change.after.spinoffs) != set(call.get("spinoffs") or ()):
                    self.violation("chain", f"{change}: told again, the answer named {call['spinoffs']}")
                return True
        return event_id in self.gapped

    def is_known(self, event_id):
        return event_id in self.events or event_id in self.gone

    def was(self, event_id, state):
        return event_id in self.gapped or any(change.after.state == state for change in self.steps.get(event_id, ()))

    def explain_by_ones(self, changes):
        for change in changes:
            if change.is_step and not change.explained:
                change.explained = self.by_engine(change, self.messages) or self.by_one(change)

    def spend(self, lines, event_id):
        """The first of these calls outside of transactions that has not explained another step of the event, if there is one."""
        for line in lines:
            if (line["txn"], event_id) not in self.spent:
                self.spent.add((line["txn"], event_id))
                return True
        return False

    def by_one(self, change):
        """Is there a call outside of a transaction that may have done this, and nothing else to the event?"""
        event_id, pair, permit = change.event_id, change.pair, change.after.permit
        if pair[0] is None:
            if self.by_report["publish", event_id]:
                return True
            key = (self.types[change.after.type], change.after.flow_id)
            self.unanswered[key] -= 1
            return self.unanswered[key] >= 0
        if pair[1] == "p":
            line = self.by_worker.get(change.after.worker)
            return line is not None and line["outcome"] != "failed" and \
                (line["outcome"] == "unknown" or [event_id, permit] in [acquired[:2] for acquired in line["call"].get("acquired", ())])
        if pair[0] in "fec":
            return self.spend(self.by_report["retry", event_id] + self.by_report["redrive", self.types[change.after.type]], event_id)
        if pair[1] == "c":
            return self.spend(self.by_report["cancel", event_id], event_id)
        if change.used == 1 and pair[1] in "af":
            lines = [self.by_worker[message] for message in self.messages[event_id] if message in self.by_worker]
            return self.spend([line for line in lines if line["call"]["verb"].startswith("fail") and line["outcome"] != "failed"], event_id)
        if pair == ("u", "a"):
            return self.spend([line for line in self.by_report["activate", event_id] if line["call"]["permit"] == permit], event_id)
        verbs = {"s": ("succeed", "succeed_many", "succeed_and_acquire"), "a": UNDOING_VERBS, "u": ("suspend",)}.get(pair[1], ())
        lines = [line for verb in verbs for line in self.by_report[verb, event_id] if self.has_permit(line["call"], event_id, permit)]
        # What asks for this attempt comes before what asks for whichever there is.
        return self.spend(sorted(lines, key=lambda line: line["call"].get("blind", False)), event_id)

    @staticmethod
    def has_permit(call, event_id, permit):
        return call.get("blind") or call.get("permit") == permit or [event_id, permit] in call.get("things", ())

    # ---------- in the end ----------

    def fate(self, name, turn, marks):
        """What must have become of a turn: True, False, or None = either."""
        outcome = turn["outcome"]
        if outcome == "committed":
            return True
        if outcome in ("rolled back", "failed", "lost"):
            return False
        if outcome in ("prepared", "prepare unknown"):
            decisions = self.data.decisions.get(name, ())
            done = {decision[0] for decision in decisions if decision[2] == "done"}
            if len(done) > 1:
                self.violation("double", f"{name} was both committed and rolled back")
            if done:
                return done == {"COMMIT"}
            # An acknowledged one ends by somebody's decision only.
            if outcome == "prepared" and not any(decision[2] == "unknown" and decision[0] == ("COMMIT" if name in marks else "ROLLBACK") for decision in decisions):
                self.violation("lost", f"{name} was prepared, and ended by nobody")
        return None

    def check_turns(self):
        marks = {row["txn"] for row in self.data.tables["marks"]}
        for name, turn in self.data.turns.items():
            wanted = self.fate(name, turn, marks)
            if wanted is True and name not in marks:
                self.violation("lost", f"{name} was acknowledged, and is not there")
            if wanted is False and name in marks:
                self.violation("undone", f"{name} was undone ({turn['outcome']}), and is there")
            if (name in self.marks or name in self.gap_marks) != (name in marks):
                self.violation("lost", f"{name}: history and tables differ about it")
            self.figures[f"turns {turn['outcome']}"] += 1

    def check_ones(self):
        """Each acknowledged call outside of a transaction made its change."""
        for line in self.data.ones:
            call = line["call"]
            self.figures[f"calls {line['outcome']}"] += 1
            if line["outcome"] != "committed":
                continue
            self.messages.clear()
            for event_id in self.unproven(call):
                if event_id not in self.gapped:
                    self.violation("lost", f"{line['txn']}: {call['verb']} of {event_id} changed nothing")

    def unproven(self, call):
        def has(event_id, wanted):
            return any(wanted(change) for change in self.steps.get(event_id, ()))

        verb = call["verb"]
        if verb == "publish":
            yield from (event_id for event_id in call["ids"] if not has(event_id, lambda c: c.before is None))
        for event_id, permit, answer in call.get("acquired", ()):
            if not has(event_id, lambda c: c.after.state == "p" and c.is_step and c.after.permit == permit and c.after.answer == answer):
                yield event_id
        for event_id, permit, outcome in self.reports(call):
            if not has(event_id, self.wanted_step(verb, permit, outcome)):
                yield event_id
        if verb == "cancel" and not has(call["event"], lambda c: c.after.state == "c"):
            yield call["event"]
        if verb == "retry" and not has(call["event"], lambda c: c.before is not None and c.before.state in "fec"):
            yield call["event"]
        if verb == "activate":
            missing = []
            self.check_activation(call, lambda *_: None, missing)
            yield from missing

    def check_real_time(self):
        """What was acknowledged before something else was asked for comes before it."""
        turns = []
        for name, number in self.marks.items():
            turn = self.data.turns.get(name)
            if turn is None:
                continue
            if turn["outcome"] in ("committed", "unknown"):
                turns.append((number, turn["asked_at"], turn["answered_at"] if turn["outcome"] == "committed" else math.inf, name))
            else:
                done = [decision for decision in self.data.decisions.get(name, ()) if decision[2] == "done"]
                if done:
                    turns.append((number, done[0][1], done[0][3], name))
        latest, whose = -math.inf, None
        for _, asked, answered, name in sorted(turns):
            if answered < latest:
                self.violation("time", f"{name} was acknowledged before {whose} was asked for, and was committed after it")
            if asked > latest:
                latest, whose = asked, name

    def check_keys(self):
        """A key makes one event, as long as that leaves something."""
        made = collections.defaultdict(set)
        marked = ((turn["calls"], name in self.marks or name in self.gap_marks) for name, turn in self.data.turns.items())
        for calls, counts in list(marked) + [([line["call"]], line["outcome"] == "committed") for line in self.data.ones]:
            for call in calls if counts else ():
                if call["verb"] == "publish" and not call.get("undone"):
                    for event, event_id in zip(call["events"], call["ids"], strict=True):
                        if "idempotency_key" in event:
                            made[event["event_type"], event["idempotency_key"]].add(event_id)
        kept = {(row["event_type"], row["idempotency_key"]): row["event_id"] for row in self.data.tables["keys"]}
        for key, ids in made.items():
            if len(ids - self.gone) > 1 or (len(ids) > 1 and not self.gone & ids):
                self.violation("key", f"{key} made {sorted(ids)}")
            if len(ids) == 1 and not ids & self.gone and kept.get(key) != next(iter(ids)):
                self.violation("key", f"{key} made {ids}, the table says {kept.get(key)}")
            self.figures["keys"] += 1

    def check_tables(self):
        tables = self.data.tables
        others = {row["event_id"] for row in tables["finished"] if row["flow_id"] == "last"}
        tables = {name: [row for row in rows if row.get("event_id") not in others] for name, rows in tables.items()}
        finished = {row["event_id"]: row for row in tables["finished"]}
        if len(finished) != len(tables["finished"]):
            self.violation("double", "an event is twice in the history")
        for row in tables["events"]:
            self.violation("live", f"{row['event_id']} is {row['state']} in the end")
        for row in tables["prepared"]:
            self.violation("live", f"{row['gid']} is prepared in the end")
        for event_id, event in self.events.items():
            row = finished.get(event_id)
            if row is None:
                self.violation("lost", f"{event_id}, {event.state}, is not in the tables")
            elif (row["state"], row["permit"], row["attempts_used"]) != (event.state, event.permit, event.attempts):
                self.violation("tables", f"{event_id}: the history ends with {event.state}, the table says {row['state']}")
        for event_id in finished.keys() - self.events.keys():
            self.violation("tables", f"{event_id} is in the tables, and was not published")
        payloads = collections.Counter(row["event_id"] for row in tables["payloads"])
        for event_id in finished.keys() ^ payloads.keys():
            self.violation("tables", f"{event_id} has no payload, or its payload no event")
        errors = collections.Counter(row["event_id"] for row in tables["errors"] if row["outcome"] in ("retry", "failed"))
        for event_id in finished:
            if event_id not in self.gapped and errors[event_id] != self.failures[event_id]:
                self.violation("attempts", f"{event_id}: {self.failures[event_id]} attempts ended badly, {errors[event_id]} are on record")
        for row in tables["timelines"]:
            self.check_timeline(row)
        self.figures["events"] = len(self.steps)

    def check_timeline(self, row):
        """What evq_event() tells of an event ends as the event did, and knows each of its errors."""
        what = [step["what"] for step in row["timeline"]]
        state = LETTERS[row["state"]]
        if what.count("published") != 1 or row["state"] not in what or row["errors"] != row["recorded"]:
            self.violation("timeline", f"{row['event_id']}, {state}: {what}, {row['errors']} of {row['recorded']} errors")
        self.figures["timelines"] += 1


def main():
    data = Data(sys.argv[1])
    checker = Checker(data)
    violations = checker.run()
    for kind, text in violations[:200]:
        print(f"violation {kind}: {text}")
    if len(violations) > 200:
        print(f"violation: and {len(violations) - 200} more")
    figures = checker.figures
    print(f"figures: {figures.pop('events')} events, {figures.pop('changes')} changes in {figures.pop('transactions')} transactions, {checker.gaps} gaps, "
          f"{len(violations)} violations")
    print("figures: " + ", ".join(f"{count} {name}" for name, count in sorted(figures.items()) if count))


if __name__ == "__main__":
    main()
