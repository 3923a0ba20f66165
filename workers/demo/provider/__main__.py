"""`python -m proofq.workers.demo.provider [--port N]`: prints its URL, serves until its parent is gone."""

from __future__ import annotations

import argparse
import os
import sys
import time

from proofq.workers.demo.provider.server import Provider

#: Seconds between two looks at the parent.
_LOOK_S = 0.5


def main() -> None:
    """Serve. Ends when the process that started it has ended, at Ctrl-C and at TERM."""
    parser = argparse.ArgumentParser(prog="python -m proofq.workers.demo.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 (the default) takes a free one")
    parent = os.getppid()
    with Provider(parser.parse_args().port) as provider:
        sys.stdout.write(provider.url + "\n")
        sys.stdout.flush()
        while os.getppid() == parent:
            time.sleep(_LOOK_S)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
