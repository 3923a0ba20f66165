"""Verifiers for tests: the real warm process, started without a forkserver."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.verify import Verifier
from proofq.workers.warm import Started

HOST = "here"


class VerifierProcesses:
    """Starts warm verifiers and remembers them, newest last."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> Started:
        """Start one; what `Verifier` is given as `start_verifier`."""
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = fresh_interpreter("proofq.workers.verifier", "--fd", str(number))
            process = subprocess.Popen(command, pass_fds=[number])
        self.processes.append(process)
        return Started(ours, process.kill)

    def end(self) -> None:
        """Kill and reap all of them."""
        for process in self.processes:
            process.kill()
            process.wait()


def no_python(function: str, facts: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
    """Stand where a test has no `python` proof."""
    raise AssertionError(f"{function} was not to be run")


def no_command(argv: Sequence[str], cwd: str, timeout_s: float) -> Mapping[str, Any]:
    """Stand where a test has no `command` proof."""
    raise AssertionError(f"{argv} was not to be run")


@contextmanager
def verifier(
    run_python_proof: Callable[[str, Mapping[str, Any], float], Mapping[str, Any]] = no_python,
    run_command_proof: Callable[[Sequence[str], str, float], Mapping[str, Any]] = no_command,
    host: str = HOST,
    **settings: int,
) -> Iterator[tuple[Verifier, VerifierProcesses]]:
    """A verifier over real processes, which are gone afterwards."""
    processes = VerifierProcesses()
    one = Verifier(host, processes.start, run_python_proof, run_command_proof, **settings)
    try:
        yield one, processes
    finally:
        one.close()
        processes.end()
