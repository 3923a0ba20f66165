"""Makes .venv-peers from benchmarks/peers.lock: what `make bench` measures beside us. Does nothing when it fits."""

from __future__ import annotations

import setup

if __name__ == "__main__":
    setup.packages(setup.ROOT / ".venv-peers", setup.ROOT / "benchmarks" / "peers.lock", "import celery, saq")
