"""proofq: a worker queue for AI agents; success is a claim until it has been read back from the world."""

__version__ = "0.1.0"
