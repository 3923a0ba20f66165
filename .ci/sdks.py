"""Makes .venv-sdks from tests/sdks/sdks.lock: the client libraries that tests/sdks makes fail. Nothing when it fits."""

from __future__ import annotations

import os

import setup

if __name__ == "__main__":
    # Of its 20,000 modules few are ever imported; those are compiled when they are.
    os.environ["PIP_COMPILE"] = "0"
    setup.packages(setup.ROOT / ".venv-sdks", setup.ROOT / "tests" / "sdks" / "sdks.lock", "import litellm, boto3, mcp")
