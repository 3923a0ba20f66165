"""What a forkserver of tests becomes at a burial: `python -m tests.burial FD`."""

import json
import os
import sys
from pathlib import Path

from proofq.workers.guard import OWNER_VARIABLE


def main() -> None:
    """Write down that it was run, and as whom."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        argument = json.load(file)
    path = Path(argument["path"])
    draft = path.with_suffix(".draft")
    said = {"pid": os.getpid(), "owner": argument["owner"], "marked": OWNER_VARIABLE in os.environ}
    draft.write_text(json.dumps(said))
    draft.rename(path)


if __name__ == "__main__":
    main()
