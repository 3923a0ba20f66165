"""Pure tests: no Redis, no processes."""
