"""Forking one child from the single-threaded forkserver, and what every child does before anything else runs in it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import fcntl
import json
import os
import resource
import signal
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from proofq.workers import file_baseline, proctree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

#: When memory runs out the kernel takes agents before the supervisor; 0 is neutral, 1000 the first to go.
_OOM_SCORE = b"500"
_EXIT_NOT_STARTED = 127
_SIGCHLD, _SIG_DFL, _SIG_SETMASK = int(signal.SIGCHLD), int(signal.SIG_DFL), int(signal.SIG_SETMASK)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a child stands on: its directory, and the descriptors it has. It has no others.

    `fds` maps the child's number to the forkserver's. `report` is the child's number of the report pipe;
    `private` are child numbers that are closed at an exec, the report pipe among them. `ticks` are awaited first.
    """

    cwd: str
    fds: Mapping[int, int]
    report: int
    private: frozenset[int]
    ticks: Sequence[file_baseline.Tick] = ()


class StepFailed(Exception):
    """A step of the start failed with an errno."""

    def __init__(self, error: OSError, step: str) -> None:
        super().__init__(step)
        self.errno = error.errno or 0
        self.step = step


def fork(stage: Stage, body: Callable[[], int]) -> int:
    """Fork a child that takes its place on `stage`, runs `body` and exits with the code it returns.

    Returns its pid. Raises OSError when the fork itself fails. The child never returns from here: a step that
    fails is said on the report pipe, and whatever escapes ends the process.
    """
    return fork_early(lambda: (stage, body))


def fork_early(await_part: Callable[[], tuple[Stage, Callable[[], int]]]) -> int:
    """The same for a child that is only told by `await_part`, which runs in it, what its stage and its body are."""
    pid = os.fork()
    if pid:
        return pid
    code, report = _EXIT_NOT_STARTED, -1
    try:
        _leave_parent()
        stage, body = await_part()
        report = stage.report
        _take_place(stage)
        code = body()
    except StepFailed as failed:
        said = json.dumps({"start_error": {"errno": failed.errno, "step": failed.step}})
        with suppress(OSError):
            os.write(report, said.encode("ascii") + b"\n")
    except BaseException as error:  # noqa: BLE001 - the forkserver's loop must never go on in a child
        traceback.print_exception(error)
    finally:
        os._exit(code)


def execute(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become the program `argv[0]`, looked up in the PATH of `env`. Raises StepFailed."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    program = argv[0]
    names = [program] if "/" in program else [f"{folder}/{program}" for folder in os.get_exec_path(env)]
    decisive = OSError(errno.ENOENT, "not found")
    for name in names:
        try:
            os.execve(name, list(argv), env)  # noqa: S606 - no shell is the point
        except OSError as error:
            # Like execvp: what is missing is looked for further on, and "not allowed" is said if nothing comes.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise StepFailed(error, f"exec {name}") from error
            if decisive.errno != errno.EACCES:
                decisive = error
        except ValueError as error:
            raise StepFailed(OSError(errno.EINVAL, "NUL"), f"exec {program!r}") from error
    raise StepFailed(decisive, f"exec {program}")


def _leave_parent() -> None:
    os.setsid()
    _reset_signals()
    proctree.become_subreaper()
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        _raise_oom_score()


def _take_place(stage: Stage) -> None:
    _step("descriptors", lambda: keep_only(stage.fds, stage.private))
    _step(f"chdir {stage.cwd}", lambda: os.chdir(stage.cwd))
    for directory, marker_ns in stage.ticks:
        _step(f"clock of {directory}", partial(file_baseline.await_tick, directory, marker_ns))


def take_place_again(stage: Stage) -> None:
    """The same for a child that is to have another attempt and has put back all else. Raises StepFailed."""
    proctree.become_subreaper()
    with suppress(OSError):
        _raise_oom_score()
    _take_place(stage)


def _step(name: str, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise StepFailed(error, name) from error


def _reset_signals() -> None:
    """Back to what a new process has; what Python ignores stays ignored until an exec."""
    # The module below `signal`: to look every number up among its enums touches pages that each child must copy.
    _signal.set_wakeup_fd(-1)
    _signal.signal(_SIGCHLD, _SIG_DFL)
    _signal.pthread_sigmask(_SIG_SETMASK, ())


def keep_only(fds: Mapping[int, int], private: Collection[int]) -> None:
    """Move descriptors to the numbers they are to have, and close every other one. `private` close at an exec."""
    above = max(fds) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, above) for number, fd in fds.items()}
    for number, fd in moved.items():
        os.dup2(fd, number, inheritable=number not in private)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - descriptors, not paths
        if int(name) not in fds:
            # The folder's own descriptor is in the list and closed already.
            with suppress(OSError):
                os.close(int(name))


def _raise_oom_score() -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(descriptor, _OOM_SCORE)
    os.close(descriptor)


@contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    """A descriptor of a nameless file that holds `content`, to be read from its start; closed on leaving."""
    descriptor = os.memfd_create("proofq", os.MFD_CLOEXEC)
    try:
        at = 0
        while at < len(content):
            at += os.pwrite(descriptor, memoryview(content)[at:], at)
        yield descriptor
    finally:
        os.close(descriptor)
