"""What `proofq doctor` looks at: this installation, the project, its Redis, and what could be lost.

Each check says what it saw, also when all is well. Nothing is changed but a file that is made and removed again.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import proofq
from proofq.policies import layout
from proofq.workers import connection, fleet, layout_found, preload, project, session, sinks, statedir, statx
from proofq.workers.errors import Error
from proofq.workers.project import Project
from proofq.workers.session import Session

#: Clocks further apart than this (seconds) make times of this host and of Redis hard to compare for people.
CLOCK_S: Final = 2.0
#: Less room (bytes) or fewer files than this where tasks work makes attempts fail for want of it.
FREE_BYTES, FREE_FILES = 512 * 1024 * 1024, 10_000
#: What one slot needs at most while an attempt begins: processes, and open files of the supervisor.
PROCESSES_PER_SLOT, FILES_PER_SLOT, FILES_BESIDE = 4, 8, 64


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is as it must be, and what was seen."""

    name: str
    ok: bool
    detail: str


def examine(environ: Mapping[str, str] | None = None) -> list[Check]:
    """Every check, in an order in which the first that fails is most often the cause. Never raises."""
    environ = os.environ if environ is None else environ
    checks = [_guarded("python", _python), _guarded("package", _package)]
    threads = preload.ThreadWatch()
    with threads.watching():
        read, checked = _project(environ)
    checks.append(checked)
    checks.append(_guarded("threads", lambda: _threads(threads)))
    if read is not None:
        found = read
        checks.append(_guarded("state_dir", lambda: _state_dir(found.state_dir)))
        checks.append(_guarded("disk", lambda: _disk(found)))
        checks.append(_guarded("limits", lambda: _limits(found)))
        checks.append(_guarded("sinks", lambda: _sinks(found, environ)))
        checks += _redis(found, environ)
    return checks


def _guarded(name: str, look: Callable[[], tuple[bool, str]]) -> Check:
    """A check that cannot be carried out is one that failed."""
    try:
        return Check(name, *look())
    except Error as problem:
        return Check(name, False, str(problem))
    except Exception as problem:  # noqa: BLE001 - a doctor that dies of what it finds tells nobody
        return Check(name, False, f"could not be looked at: {type(problem).__name__}: {problem}")


# --- this installation ---------------------------------------------------------------------------------------------


def _python() -> tuple[bool, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = sys.version_info >= (3, 11) and sys.platform == "linux"
    advice = "" if fits else "; proofq runs on Linux with Python 3.11 or newer"
    return fits, f"Python {version} on {platform.system()} {platform.release()} {platform.machine()}{advice}"


def _package() -> tuple[bool, str]:
    """Whether proofq's code is proofq's: no folder of the user's stands in its place."""
    from proofq import policies, workers

    home = Path(proofq.__file__).parent
    for module in (workers, policies):
        name = module.__name__.rpartition(".")[2]
        place = Path(module.__file__ or "").parent
        if place != home / name:
            return False, f"{module.__name__} is loaded from {place}, not from {home / name}; reinstall proofq"
    return True, f"proofq {proofq.__version__} in {home}"


def _project(environ: Mapping[str, str]) -> tuple[Project | None, Check]:
    """The project with its modules imported; without them where they cannot be."""
    try:
        read = project.load(environ=environ, import_modules=True)
    except Error as problem:
        check = Check("project", False, str(problem))
        try:
            return project.load(environ=environ), check
        except Error:
            return None, check
    if read.config_path is None:
        return read, Check("project", True, f"no proofq.toml found from {read.root}; there are no agents")
    return read, Check("project", True, f"{read.config_path}: {len(read.agents)} agents")


def _threads(watch: preload.ThreadWatch) -> tuple[bool, str]:
    culprits = watch.culprits()
    if culprits:
        names = ", ".join(culprits)
        return False, (
            f"importing the agents leaves threads behind ({names}), so they cannot be forked and each attempt starts "
            "a fresh interpreter; start threads inside the agent instead"
        )
    return True, "importing the agents leaves no thread behind"


def _limits(read: Project) -> tuple[bool, str]:
    """Whether the slots fit the limits of this user and this container."""
    slots = read.settings.slots + read.settings.meta_slots
    files, processes = resource.getrlimit(resource.RLIMIT_NOFILE)[0], _process_limit()
    wanted_files, wanted_processes = slots * FILES_PER_SLOT + FILES_BESIDE, slots * PROCESSES_PER_SLOT
    short = []
    if files != resource.RLIM_INFINITY and files < wanted_files:
        short.append(f"{slots} slots want {wanted_files} open files (ulimit -n)")
    if processes is not None and processes < wanted_processes:
        short.append(f"{slots} slots want {wanted_processes} processes (ulimit -u, or pids.max of the container)")
    shown = f"{slots} slots; open files {_shown(files)}, processes {_shown(processes)}"
    return not short, "; ".join([shown, *short])


def _sinks(read: Project, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Who would be told of incidents by a worker with this environment. Nothing is sent."""
    tried = sinks.tried(read.settings.incidents, environ)
    wrong = [problem for _, problem in tried.values() if problem]
    if wrong:
        return False, f"{'; '.join(wrong)}; a worker with this environment tells nobody by it"
    if not tried:
        names = " or ".join(sinks.variables(read.settings.incidents).values())
        return True, f"incidents stand in logs and in `proofq status` alone: {names} is not set here"
    return (
        True,
        f"incidents go to {' and '.join(sorted(tried))}, as this environment says; workers have one of their own",
    )


def _process_limit() -> int | None:
    """The least of what limits processes here; None without a limit."""
    found = [resource.getrlimit(resource.RLIMIT_NPROC)[0]]
    for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    known = [each for each in found if each != resource.RLIM_INFINITY]
    return min(known, default=None)


def _shown(limit: int | None) -> str:
    return "unlimited" if limit is None or limit == resource.RLIM_INFINITY else str(limit)


# --- the state directory -------------------------------------------------------------------------------------------


def _state_dir(state_dir: Path) -> tuple[bool, str]:
    """Writable, and what its file system tells of a file's birth."""
    statedir.make(state_dir)
    with tempfile.TemporaryFile(dir=state_dir) as probe:
        birth = statx.status(probe.fileno()).btime_ns is not None
        network = statx.on_network(probe.fileno())
    system = f"{_file_system(state_dir)}{' (network)' if network else ''}"
    told = "with" if birth else "without"
    advice = "" if birth else "; proofs of files tell a new file by its absence before, not by its birth"
    return True, f"{state_dir} is writable; {system} {told} birth times{advice}"


def _disk(read: Project) -> tuple[bool, str]:
    """Whether there is room where tasks work."""
    free = os.statvfs(read.state_dir)
    room, files = free.f_bavail * free.f_frsize, free.f_favail
    # A file system without a fixed number of files says 0 of 0.
    short = room < FREE_BYTES or (free.f_files > 0 and files < FREE_FILES)
    quota = read.settings.disk_quota_mib
    bound = f"disk_quota_mib {quota}" if quota else "no disk_quota_mib"
    advice = "; remove what is not needed, or let PROOFQ_STATE_DIR name a larger place" if short else ""
    return not short, f"{room >> 20} MiB and {files} files free at {read.state_dir}; {bound}{advice}"


def _file_system(place: Path) -> str:
    """The type of the file system that the place is on, as /proc/self/mounts names it."""
    best, found = "", "unknown file system"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split(" ")
        target = mounted.encode().decode("unicode_escape")
        inside = place.resolve().is_relative_to(target)
        # Of two mounts on one place the later one is seen.
        if inside and len(target) >= len(best):
            best, found = target, kind
    return found


# --- Redis ---------------------------------------------------------------------------------------------------------


def _redis(read: Project, environ: Mapping[str, str]) -> list[Check]:
    try:
        opened = session.open_project(read, environ)
    except Error as problem:
        return [Check("redis", False, str(problem))]
    named = next((name for name in ("PROOFQ_REDIS_URL", "REDIS_URL") if environ.get(name)), None)
    whose = f"named by {named}" if named else "embedded"
    return [
        _guarded("redis", lambda: _server(opened, whose)),
        _guarded("redis_memory", lambda: _memory(opened)),
        _guarded("redis_persistence", lambda: _persistence(opened)),
        _guarded("redis_scripts", lambda: _scripts(opened)),
        _guarded("layout", lambda: _layout(opened)),
        _guarded("clock", lambda: _clock(opened)),
    ]


def _server(opened: Session, whose: str) -> tuple[bool, str]:
    # `connect` has refused what is too old, a cluster or a Sentinel.
    info = opened.store.client.info("server")
    version = info.get("valkey_version") or info.get("redis_version")
    return True, f"{connection.redact(opened.url)} ({whose}), version {version}, {info.get('redis_mode')}"


def _memory(opened: Session) -> tuple[bool, str]:
    """A server that drops keys when it is full drops tasks."""
    info = opened.store.client.info("memory")
    policy, most, used = info.get("maxmemory_policy"), int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    shown = f"maxmemory-policy {policy}, {used >> 20} MiB used of {f'{most >> 20} MiB' if most else 'no limit'}"
    if policy != "noeviction":
        return False, f"{shown}; it would drop tasks when full: CONFIG SET maxmemory-policy noeviction"
    if most and used >= most:
        return False, f"{shown}; it is full and refuses new tasks: give it more memory"
    return True, shown


def _persistence(opened: Session) -> tuple[bool, str]:
    """What a crash of the server could lose."""
    info = opened.store.client.info("persistence")
    if int(info.get("aof_enabled", 0)):
        wrote = info.get("aof_last_write_status", "ok")
        shown = f"append-only file, last write {wrote}; a crash loses at most what fsync had not done (a second)"
        return wrote == "ok", shown
    save = _setting(opened, "save")
    if save is None:
        return True, "no append-only file; whether snapshots are taken cannot be asked here (CONFIG is refused)"
    if save:
        return True, f"snapshots only (save {save}); a crash loses what came after the last: CONFIG SET appendonly yes"
    return False, "neither append-only file nor snapshots: a crash loses every task: CONFIG SET appendonly yes"


def _scripts(opened: Session) -> tuple[bool, str]:
    """That what every transition is made of may be used at all: an ACL may forbid it."""
    opened.store.watch("doctor", 1)
    return True, "scripts run"


def _layout(opened: Session) -> tuple[bool, str]:
    """That this version may work on what Redis holds; and which others do."""
    layout_found.check(opened.store.client)
    alive = [one for one in fleet.owners(opened.store) if one.alive]
    shown = f"layout {layout.VERSION}, proofq {proofq.__version__}"
    if not alive:
        return True, f"{shown}; no worker"
    releases = sorted({f"{one.release or 'not said'} (layout {one.layout or 'not said'})" for one in alive})
    mixed = layout.unlike(one.layout for one in alive)
    told = "; a deploy is under way: what is new in a newer one waits for its workers" if mixed else ""
    return True, f"{shown}; workers: {', '.join(releases)}{told}"


def _clock(opened: Session) -> tuple[bool, str]:
    before = opened.store.clock.wall().timestamp()
    server = opened.now_ms() / 1000
    after = opened.store.clock.wall().timestamp()
    apart = server - (before + after) / 2
    advice = "" if abs(apart) <= CLOCK_S else "; set both by NTP: times of this host and of tasks cannot be compared"
    return abs(apart) <= CLOCK_S, f"Redis is {apart:+.3f} s from this host{advice}"


def _setting(opened: Session, name: str) -> str | None:
    """A setting of the server; None where asking is not allowed."""
    try:
        answer: dict[Any, Any] = opened.store.client.config_get(name)
    except Exception:  # noqa: BLE001 - refused by an ACL, or by a provider that has renamed CONFIG
        return None
    return next((value.decode() if isinstance(value, bytes) else str(value) for value in answer.values()), None)
