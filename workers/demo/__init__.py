"""`proofq demo`: the main job on an embedded Redis, shown live."""

from __future__ import annotations


def run() -> int:
    """Play the demo. Returns the command's exit code: 0 only if what it claims to show held. At most 90 s."""
    from proofq.workers.demo.play import run as play  # rich, redis and rq only now

    return play()


__all__ = ["run"]
