"""`python several.py N COMMAND...`: so many processes of a program that has no option for it; TERM ends all."""

from __future__ import annotations

import signal
import subprocess
import sys


def main() -> int:
    """Start them, pass TERM on, wait. The exit code is the largest of theirs."""
    started = [subprocess.Popen(sys.argv[2:]) for _ in range(int(sys.argv[1]))]

    def stop(*_: object) -> None:
        for one in started:
            one.terminate()

    signal.signal(signal.SIGTERM, stop)
    return max(one.wait() for one in started)


if __name__ == "__main__":
    sys.exit(main())
