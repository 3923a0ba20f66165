"""`python -m tests.simulation --seeds N`: runs the simulator; `--seed S` replays one with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.campaign import Totals, spread
from tests.simulation.run import campaign

#: Steps of a failing seed's trace that are shown.
SHOWN = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds (default 500)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="replay this one and print its whole trace")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first seed that fails")
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed)
    begun = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    done, broken = Totals(), []
    for outcome in spread(seeds, options.processes):
        done.add(outcome)
        if outcome.broken:
            broken.append(outcome)
            print(f"seed {outcome.seed}: {outcome.broken}", file=sys.stderr)
            if not options.keep_going:
                break
        if sys.stderr.isatty() and done.seeds % 100 == 0:
            print(f"\r{done.seeds} of {options.seeds} seeds", end="", file=sys.stderr, flush=True)
    print(done.table(time.monotonic() - begun))
    if broken and not options.keep_going:
        print("\n".join(broken[0].trace[-SHOWN:]))
        print(f"replay it whole: python -m tests.simulation --seed {broken[0].seed}")
    return 1 if broken else 0


def _replay(seed: int) -> int:
    outcome = next(iter(campaign([seed], traced=True)))
    print("\n".join(outcome.trace))
    print(f"seed {seed}: {outcome.calls} store calls, trace {outcome.digest}: {outcome.broken or 'all held'}")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
