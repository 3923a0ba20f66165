"""DECIDES. Pure: facts in, a value out; no Redis, no processes, no clock, no randomness."""
