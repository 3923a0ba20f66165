"""One place each: key names, the clock and chance, starting processes; and files one can read in one go."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.sources import ROOT, Source, product, read, texts, uses

pytestmark = pytest.mark.xdist_group("sources")

#: What reads the clock or chance. Waiting (time.sleep, time.monotonic) is a worker's business.
CLOCK = re.compile(
    r"time\.(time|time_ns|clock_gettime|clock_gettime_ns|localtime|gmtime|strftime|ctime)$"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)$"
    r"|(random|secrets|uuid)(\.|$)"
    r"|os\.(urandom|getrandom)$"
)
#: What a policy may not do even to wait or to say something.
ACTS = re.compile(r"time(\.|$)|signal\.(?!Signals$|SIG[A-Z0-9]+$|strsignal$|valid_signals$)")
#: What starts or becomes a process.
SPAWN = re.compile(
    r"(subprocess|multiprocessing|pty)(\.|$)"
    r"|asyncio\.(create_subprocess\w*|subprocess)"
    r"|os\.(fork|forkpty|exec\w+|spawn\w+|posix_spawn\w*|popen|system)$"
)
#: Files that may. One line of why each.
SPAWNERS = {
    "workers/demo/stage.py": "the demo starts real workers, and kills one",
    "workers/embedded_home.py": "starts the embedded Redis",
    "workers/fork.py": "every child of the forkserver: forks it, executes a command",
    "workers/forkserver.py": "becomes a fresh interpreter where agents left threads behind",
    "workers/launcher.py": "starts the supervisor of each lane",
    "workers/redis_binary.py": "asks a server program for its version",
    "workers/spawner.py": "starts the forkserver of a supervisor",
}
#: A Redis key of ours or of RQ's: the prefix, and a name or a placeholder (or the end) after it.
KEY = re.compile(r"(?:^|[^\w.])(?:proofq|rq):(?:[\w*{]|$)")

LONGEST_FILE = 400


def _offences(sources: list[Source], banned: re.Pattern[str], allowed: set[str]) -> list[str]:
    return [
        f"{source.name}:{line}: {used}"
        for source in sources
        if source.name not in allowed
        for line, used in uses(source)
        if banned.match(used)
    ]


def _open_calls(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id in {"open", "print", "input"}:
            yield f"{source.name}:{called.lineno}: {called.id}()"


def test_clock_and_chance_are_read_in_one_place() -> None:
    """Only workers/clock.py reads the time of day, the boot clock or randomness."""
    assert _offences(product(), CLOCK, {"workers/clock.py"}) == []


def test_policies_do_not_act() -> None:
    """A policy neither waits, nor opens or prints anything, nor handles a signal."""
    policies = read("policies")
    assert _offences(policies, ACTS, set()) == []
    assert [call for source in policies for call in _open_calls(source)] == []


def test_processes_are_started_in_named_places() -> None:
    """Only the files listed here start processes, and each of them really does."""
    assert _offences(product(), SPAWN, set(SPAWNERS)) == []
    idle = [
        source.name
        for source in product()
        if source.name in SPAWNERS and not any(SPAWN.match(used) for _, used in uses(source))
    ]
    assert idle == []
    assert set(SPAWNERS) <= {source.name for source in product()}


def test_key_names_stand_in_one_place() -> None:
    """No key of proofq's or RQ's is spelled outside workers/keys.py, in Python or in Lua."""
    found = [
        f"{source.name}:{line}: {text[:60]!r}"
        for source in product()
        if source.name != "workers/keys.py"
        for line, text in texts(source)
        if KEY.search(text)
    ]
    for path in sorted((ROOT / "workers").rglob("*.lua")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if KEY.search(line.split("--")[0]):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:60]}")
    assert found == []


def test_no_file_is_long() -> None:
    """A file is at most 400 lines."""
    folders = ("policies", "workers", "tests", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files += [*(ROOT / "proofq").glob("*.py"), *(ROOT / "workers").rglob("*.lua")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}
