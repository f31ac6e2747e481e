"""Programs on Node."""
import json
import os
import subprocess

from settings import NODE, Wrong


def node(script, *arguments, **environment):
    """What a script of bench/node says."""
    run = subprocess.run([os.path.join(NODE, "node_modules/.bin/node"), script, *arguments], cwd=NODE,
                         env={**os.environ, "PGDATABASE": "bench", **environment}, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        raise Wrong(f"{script} {arguments[0]} failed")
    return json.loads(run.stdout)
