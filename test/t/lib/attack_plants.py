#!/usr/bin/python3
"""Does attack_check.py find what is wrong? Plants faults, one by one, into copies of what it has read.

    attack_plants.py FOLDER          prints a line "missed ..." for each that it does not find

Each plant changes something in a place where nothing else that happened makes it right. attack_certain.py makes such a place for each;
so one that has none is a fault, too.
"""
import collections
import functools
import json
import pickle
import re
import sys

import attack_check
from attack_check import EVENT_ID, ON_THE_WAY, UNDOING_VERBS


def steps_in(data, wanted):
    """Places of changes in the last part of the history: transaction, number of the line, row."""
    for transaction in data.parts[-1][1]:
        for number, line in enumerate(transaction[2]):
            if line.startswith("table evq.event") and not line.startswith("table evq.event_type"):
                table, operation, row = attack_check.parse(line)
                if wanted(table, operation, row):
                    yield transaction, number, row


def last_steps_in(data, wanted):
    """Those after which their transaction does nothing else to the event."""
    for transaction, number, row in steps_in(data, wanted):
        if not any(row["event_id"] in line for line in transaction[2][number + 1:]):
            yield transaction, number, row


def first(found, skip=3):
    """Not the very first, where there are more: there the model has seen little."""
    thing = None
    for _, thing in zip(range(skip + 1), found):
        pass
    if thing is None:
        raise LookupError
    return thing


def replaced(line, column, value):
    return re.sub(rf"( {column}\[.*?\]:)('(?:[^']|'')*'|\S+)", lambda found: found[1] + value, line, count=1)


def is_row(state, table="evq.event", operation="UPDATE"):
    return lambda t, o, row: t.startswith(table) and o == operation and row.get("state") == state


def ids_in(call):
    return set(EVENT_ID.findall(json.dumps(call)))


def committed_turns(data, wanted):
    """Calls of transactions that are in the history, as is all that became of their events."""
    for name, turn in data.turns.items():
        if turn["outcome"] == "committed" and name in data.seen:
            for call in turn["calls"]:
                if not call.get("undone") and wanted(call) and not data.gapped & ids_in(call):
                    yield name, turn, call


def mark_of(transaction):
    for line in transaction[2]:
        if line.startswith("table public.attack_mark"):
            return attack_check.parse(line)[2]["txn"]
    return None


def insert_after(data, transaction, lines):
    transactions = data.parts[-1][1]
    transactions.insert(transactions.index(transaction) + 1, [transaction[0], "planted", lines])


def plant_lost_publish(data):
    name, _, call = first(committed_turns(data, lambda c: c["verb"] == "publish" and all("idempotency_key" not in e for e in c["events"])))
    gone = set(call["ids"])
    for _, transactions in data.parts:
        for transaction in transactions:
            transaction[2] = [line for line in transaction[2] if not any(event_id in line for event_id in gone)]
    for table in ("finished", "payloads", "errors", "timelines"):
        data.tables[table] = [row for row in data.tables[table] if row["event_id"] not in gone]


def plant_lost_commit(data):
    name, _, _ = first(committed_turns(data, lambda c: c["verb"] == "fail"))
    data.tables["marks"] = [row for row in data.tables["marks"] if row["txn"] != name]
    for _, transactions in data.parts:
        transactions[:] = [transaction for transaction in transactions if mark_of(transaction) != name]


def plant_undone(data):
    name = first(name for name, turn in data.turns.items() if turn["outcome"] == "rolled back")
    data.tables["marks"].append({"txn": name})


def plant_double_report(data):
    """Two sessions were told that their success with one permit counts, and named other spinoffs."""
    kept = {row["event_id"] for row in data.tables["finished"] if row["state"] == "s"}
    name, turn, call = first(committed_turns(data, lambda c: c["verb"] == "succeed" and c.get("spinoffs") and not c.get("blind") and c["event"] in kept))
    data.turns["again"] = turn | {"calls": [call | {"spinoffs": ["01000000-0000-7000-8000-000000000000"]}]}
    data.tables["marks"].append({"txn": "again"})
    for _, transactions in data.parts:
        for number, transaction in enumerate(transactions):
            if mark_of(transaction) == name:
                transactions.insert(number + 1, [transaction[0], "planted", ["table public.attack_mark: INSERT: txn[text]:'again'"]])
                return


def plant_double_release(data):
    name, turn, call = first(committed_turns(data, lambda c: c["verb"] == "release"))
    data.turns["again"] = turn | {"calls": [call]}
    data.tables["marks"].append({"txn": "again"})
    data.parts[-1][1].append([data.parts[-1][1][-1][0], "planted", ["table public.attack_mark: INSERT: txn[text]:'again'"]])


def plant_permit_twice(data):
    seen = {}
    for transaction, number, row in steps_in(data, is_row("p")):
        if seen.get(row["event_id"], row["permit"]) != row["permit"]:
            transaction[2][number] = replaced(transaction[2][number], "permit", str(seen[row["event_id"]]))
            return
        seen[row["event_id"]] = row["permit"]
    raise LookupError


def plant_two_holders(data):
    transaction, number, row = first(last_steps_in(data, is_row("p")))
    insert_after(data, transaction, [replaced(transaction[2][number], "permit", str(row["permit"] + 1))])


def plant_inversion(data):
    """A later event of a flow_id is dispatched while an earlier one waits, which waited when the flow was given its last turn."""
    live, rows = collections.defaultdict(dict), {}
    last_turn = collections.defaultdict(lambda: -1)
    for number, transaction in enumerate(data.parts[-1][1]):
        for line in transaction[2]:
            if not line.startswith("table evq.event: "):
                continue
            _, operation, row = attack_check.parse(line)
            if operation == "DELETE":
                known = rows.pop(row["event_id"], None)
                if known:
                    live[known["flow_no"], known["flow_id"]].pop(row["event_id"], None)
            elif row["ordered"]:
                known = rows.get(row["event_id"])
                if known and known["state"] == "a" and row["state"] in ON_THE_WAY:
                    last_turn[row["flow_no"]] = number
                rows[row["event_id"]] = row
                same = live[row["flow_no"], row["flow_id"]]
                since = same[row["event_id"]][2] if row["event_id"] in same else number
                same[row["event_id"]] = (row["state"], line, since)
        for (flow, _), waiting in live.items():
            # Nothing of it is on its way, nor in this transaction.
            if len(waiting) > 3 and all(state == "a" for state, _, _ in waiting.values()) and waiting[min(waiting)][2] <= last_turn[flow] \
                    and not any(event_id in line for event_id in waiting for line in transaction[2]):
                _, line, _ = waiting[max(waiting)]
                insert_after(data, transaction, [replaced(line.replace(": INSERT: ", ": UPDATE: "), "state", "'d'")])
                return
    raise LookupError


def plant_limit(data):
    """So many of a limited flow are dispatched at once as wait."""
    flow = next(row["flow_no"] for row in data.tables["flows"] if row["flow_type"] == "LIMIT")
    waiting = {}
    for transaction in data.parts[-1][1]:
        for line in transaction[2]:
            if line.startswith("table evq.event: "):
                _, operation, row = attack_check.parse(line)
                waiting.pop(row["event_id"], None)
                if operation != "DELETE" and row["flow_no"] == flow and row["state"] == "a":
                    waiting[row["event_id"]] = line
        if len(waiting) > 8:
            insert_after(data, transaction, [replaced(line.replace(": INSERT: ", ": UPDATE: "), "state", "'d'") for line in waiting.values()])
            return
    raise LookupError


def plant_illegal(data):
    transaction, number, _ = first(last_steps_in(data, is_row("d")))
    insert_after(data, transaction, [replaced(transaction[2][number], "state", "'u'")])


def plant_attempts(data):
    transaction, number, _ = first(steps_in(data, is_row("p")))
    transaction[2][number] = replaced(transaction[2][number], "attempts_used", "9")


def plant_unexplained(data):
    """An attempt is over, and nobody asked for that."""
    asked = {line["call"].get("event") for line in data.ones if line["call"]["verb"] in UNDOING_VERBS}
    transaction, number, _ = first(last_steps_in(data, lambda t, o, row: is_row("p")(t, o, row) and row["event_id"] not in asked))
    insert_after(data, transaction, [replaced(transaction[2][number], "state", "'a'")])


def plant_other_answer(data):
    _, _, call = first(committed_turns(data, lambda c: c["verb"] == "activate" and "answer" in c and not c.get("patched")), skip=1)
    call["answer"] = {"answer": "planted"}


def plant_other_handed_out(data):
    _, _, call = first(committed_turns(data, lambda c: c["verb"] != "succeed" and any(a[2] for a in c.get("acquired", ()))), skip=1)
    for acquired in call["acquired"]:
        acquired[2] = {"answer": "planted"}


def plant_key(data):
    seen = {}
    for _, _, call in committed_turns(data, lambda c: c["verb"] == "publish"):
        for number, event in enumerate(call["events"]):
            if "idempotency_key" in event and "gone" not in event["event_type"]:
                key = (event["event_type"], event["idempotency_key"])
                if key in seen:
                    call["ids"][number] = next(row["event_id"] for row in data.tables["finished"] if row["event_id"] != seen[key])
                    return
                seen[key] = call["ids"][number]
    raise LookupError


def plant_lost_child(data):
    transaction, number, _ = first(steps_in(data, lambda t, o, row: t == "evq.event" and o == "INSERT" and row.get("parent_id")))
    del transaction[2][number]


def plant_second_child(data):
    """... whose parent, which is there, names only the other one."""
    kept = {row["event_id"] for row in data.tables["finished"]}
    transaction, number, row = first(steps_in(data, lambda t, o, row: t == "evq.event" and o == "INSERT" and row.get("parent_id") in kept))
    transaction[2].append(replaced(transaction[2][number], "event_id", "'" + row["event_id"][:-4] + "0000'"))


def plant_other_end(data):
    row = next(row for row in data.tables["finished"] if row["state"] == "c" and row["flow_id"] != "last")
    row["state"] = "s"


def lines_of_batches(data, begin, parts=slice(-1, None)):
    """Places of lines that begin so, in the last part of the history, or in others too."""
    for transaction in (transaction for _, transactions in data.parts[parts] for transaction in transactions):
        for number, line in enumerate(transaction[2]):
            if re.match(begin, line):
                yield transaction, number


def plant_lost_run(data):
    """The success of a run is lost, of which no event went another way."""
    others = {attack_check.parse(transaction[2][number])[2]["event_id"] for transaction, number in lines_of_batches(data, r"table evq\.exception\w*: INSERT: ", slice(None))}

    def is_whole(row):
        last = attack_check.ordinal(row["last_id"])
        return not any(attack_check.in_batch(row["last_id"], ordinal) in others for ordinal in range(last - row["events"] + 1, last + 1))

    ends = lines_of_batches(data, r"table evq\.run\w*: UPDATE: .*state\[\"char\"\]:'s'")
    transaction, number = first((t, n) for t, n in ends if is_whole(attack_check.parse(t[2][n])[2]))
    del transaction[2][number]


def plant_second_run(data):
    """Events are acquired twice."""
    transaction, number = first(lines_of_batches(data, r"table evq\.run\w*: INSERT: "))
    permit = attack_check.parse(transaction[2][number])[2]["permit"]
    insert_after(data, transaction, [replaced(transaction[2][number], "permit", str(permit + 1))])


def plant_lost_exception(data):
    """A success that left its run is lost."""
    transaction, number = first(lines_of_batches(data, r"table evq\.exception\w*: INSERT: .*state\[\"char\"\]:'s'"))
    del transaction[2][number]


def plant_torn_batch(data):
    """A row of a batch is lost."""
    transaction, number = first(lines_of_batches(data, r"table evq\.log\w*: INSERT: ", slice(None)))
    del transaction[2][number]


def plant_time(data):
    """Two commits that do not overlap change places."""
    transactions = data.parts[-1][1]
    marked = [(number, name) for number, name in enumerate(map(mark_of, transactions)) if name and data.turns[name]["outcome"] == "committed"]
    for (one, first_name), (two, second_name) in zip(marked, marked[1:]):
        if data.turns[first_name]["answered_at"] < data.turns[second_name]["asked_at"]:
            transactions[one], transactions[two] = transactions[two], transactions[one]
            return
    raise LookupError


def plant_live(data):
    data.tables["events"].append(data.tables["finished"].pop() | {"state": "p"})


def plant_lost_prepared(data):
    name = first((name for name, turn in data.turns.items() if turn["outcome"] == "prepared"), skip=0)
    data.decisions[name] = [["ROLLBACK" if decision[0] == "COMMIT" else "COMMIT", *decision[1:]] for decision in data.decisions[name]]


def plant_lost_one(data):
    """A call outside of a transaction that was acknowledged."""
    ending = ("succeed", "fail") + UNDOING_VERBS
    line = first((line for line in data.ones if line["outcome"] == "committed" and line["call"]["verb"] in ending
                  and not line["call"].get("blind") and not data.gapped & ids_in(line["call"])), skip=0)
    line["call"]["permit"] += 1


PLANTS = {
    plant_lost_publish: {"lost"}, plant_lost_commit: {"lost"}, plant_undone: {"undone"}, plant_double_report: {"chain"}, plant_double_release: {"lost"},
    plant_permit_twice: {"permit"}, plant_two_holders: {"illegal"}, plant_inversion: {"order"}, plant_limit: {"limit"}, plant_illegal: {"illegal"},
    plant_attempts: {"attempts"}, plant_unexplained: {"unexplained"}, plant_other_answer: {"answer"}, plant_other_handed_out: {"answer"},
    plant_key: {"key"}, plant_lost_child: {"chain", "illegal"}, plant_second_child: {"chain"}, plant_other_end: {"tables"}, plant_time: {"time"}, plant_live: {"live"},
    plant_lost_prepared: {"undone", "lost"}, plant_lost_one: {"lost"}, plant_lost_run: {"lost", "tables"}, plant_second_run: {"illegal"},
    plant_lost_exception: {"lost", "tables"}, plant_torn_batch: {"lost"},
}


def main():
    data = attack_check.Data(sys.argv[1])
    attack_check.parse = functools.lru_cache(maxsize=None)(attack_check.parse)      # most lines stay as they are
    checker = attack_check.Checker(data)
    checker.run()
    data.seen, data.gapped = set(checker.marks), checker.gapped
    blob = pickle.dumps(data)
    found = 0
    for plant, kinds in PLANTS.items():
        copy = pickle.loads(blob)
        try:
            plant(copy)
        except (LookupError, StopIteration):
            print(f"missed {plant.__name__}: there is no place for it")
            continue
        if kinds & {kind for kind, _ in attack_check.Checker(copy).run()}:
            found += 1
        else:
            print(f"missed {plant.__name__}")
    print(f"figures: {found} planted faults found")


if __name__ == "__main__":
    main()
