"""ACTS. Redis, processes and time; asks policies what to do and writes through one door."""
