"""What a forkserver of tests becomes at a burial: `python -m tests.burial FD`."""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Write down that it was run, and as whom."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        argument = json.load(file)
    path = Path(argument["path"])
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "owner": argument["owner"]}))
    draft.rename(path)


if __name__ == "__main__":
    main()
