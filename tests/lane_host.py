"""Runs a launcher for tests: `python -m tests.lane_host '{"lanes": {name: argv}, "burst": false}'`."""

import json
import subprocess
import sys

from proofq.workers import logs
from proofq.workers.launcher import LaneCommand, launch

if __name__ == "__main__":
    logs.to_stderr()
    told = json.loads(sys.argv[1])
    if told.get("child"):
        print(subprocess.Popen(told["child"], start_new_session=True).pid, flush=True)
    sys.exit(launch([LaneCommand(name, argv) for name, argv in told["lanes"].items()], burst=told["burst"]))
