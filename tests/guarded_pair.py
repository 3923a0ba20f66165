"""A supervisor for tests: `python -m tests.guarded_pair BURY_TO LIFELINE_FD|-1`.

Starts a spawner with one stubborn function and one stubborn command, prints what runs as one line of JSON, then
waits; prints a second line when its guard is lost, and leaves.
"""

import json
import os
import sys
import time
from pathlib import Path

from tests.spawning import Bench, alive, config, printed_pids
from tests.waiting import until

COMMAND = "trap '' TERM; (env -i setsid nohup sleep 300 & echo $!); echo $$; while :; do sleep 300; done"


def main() -> None:
    """Be the supervisor."""
    bury_to, lifeline = Path(sys.argv[1]), int(sys.argv[2])
    settings = config(f"pair-{os.getpid()}", bury_to=bury_to)
    bench = Bench(settings, lifeline=None if lifeline < 0 else lifeline)
    function = bench.function("stubborn", copies=5)
    command = bench.command("sh", "-c", COMMAND)
    until(lambda: len(printed_pids(function)) == 6 and len(printed_pids(command)) == 2)
    pids = printed_pids(function) + printed_pids(command)
    forkserver = bench.spawner.forkserver.pid
    print(json.dumps({"forkserver": forkserver, "pids": pids, "owner": settings.owner}), flush=True)
    bench.lost_event.wait()
    ends = [one.ended.killed_by if one.ended else None for one in (function, command)]
    said = {"lost": bench.lost, "alive": alive([*pids, forkserver]), "ends": ends, "at": time.monotonic()}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
