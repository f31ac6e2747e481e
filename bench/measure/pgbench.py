"""Clients of a contestant's scripts, which are pgbench's."""
import os
import re
import subprocess
import tempfile

from settings import DATA, PAYLOAD, Wrong

VARIABLES = dict.fromkeys("begun_at made n empty done finished last_at stretches turns bad".split(), 0)


class Pgbench:
    """A pgbench under way.  With ends_itself its clients end by an error, by which they say that nothing is left."""

    def __init__(self, script, clients, limit, ends_itself=False, **variables):
        self.ends_itself = ends_itself
        self.file = tempfile.NamedTemporaryFile("w", suffix=".sql", dir=os.path.dirname(DATA))     # goes with the server
        # pgbench knows no comments between its own commands.
        self.file.write(re.sub(r"^--.*\n", "", script, flags=re.M))
        self.file.flush()
        variables = {**VARIABLES, "payload": PAYLOAD, "ids": "{}", "permits": "{}", "bad_ids": "{}", "bad_permits": "{}", "token": "-", **variables}
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-f", self.file.name]
            + [f"-D{name}={text}" for name, text in variables.items()] + limit + ["bench"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        """Transactions done, and those in a second."""
        out, err = self.process.communicate()
        self.file.close()
        unexpected = [line for line in err.splitlines()
                      if re.search("error|fatal", line, re.I) and not re.search("division by zero|Run was aborted", line)]
        if self.ends_itself:
            wrong = unexpected or self.process.returncode != 2 or "Run was aborted" not in err
        else:
            wrong = self.process.returncode != 0 or unexpected
        done = re.search(r"transactions actually processed: (\d+)", out)
        failed = re.search(r"number of failed transactions: (\d+)", out)
        if wrong or not done or (failed and int(failed[1]) > 0):
            raise Wrong(f"pgbench {self.file.name}:\n{out[-2000:]}{err[-2000:]}")
        return int(done[1]), float(re.search(r"^tps = (\S+)", out, re.M)[1])
