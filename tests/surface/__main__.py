"""`python -m tests.surface`: switches mechanisms off one by one, and asks that the test of each turns red.

In copies of the repository: without a patch every test of the table is green; with its patch a test fails by an
assertion of its own. A patch that does not apply any more is as red as a test that stays green.
"""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.surface.copy import Copy, NotApplied, Ran, copied
from tests.surface.table import Row, rows


class _Copies:
    """As many copies as are tried at once; whoever tries borrows one."""

    def __init__(self, count: int, stack: ExitStack) -> None:
        self._free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(stack.enter_context(copied()))

    @contextmanager
    def one(self) -> Iterator[Copy]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)


def _green(copies: _Copies, tests: Sequence[str]) -> tuple[bool, str]:
    """Whether the tests are green without a patch, and what they said."""
    with copies.one() as copy:
        ran = copy.run(*tests)
    return ran.green, f"{ran.passed} passed" if ran.green else _last(ran)


def _red(copies: _Copies, row: Row) -> tuple[bool, str]:
    """Whether the patch turns the row's test red, and by which assertion; else why not."""
    with copies.one() as copy:
        try:
            with copy.patched(row.patch):
                ran = copy.run(row.test)
        except NotApplied as problem:
            return False, f"{row.patch.name} does not apply: {problem}"
    if ran.red:
        return True, ran.failures[0].splitlines()[0][:100]
    if ran.green:
        return False, "its test stays green although the mechanism is off"
    return False, f"its test broke instead of failing (pytest exited with {ran.code}): {_last(ran)}"


def _last(ran: Ran) -> str:
    return " | ".join([*ran.errors, *ran.failures])[:500] or ran.output[-500:]


def _told(what: str, look: Callable[[], tuple[bool, str]]) -> bool:
    begun = time.monotonic()
    held, said = look()
    print(f"{'ok ' if held else 'BAD'} {what:<44} {time.monotonic() - begun:6.1f} s  {said}", flush=True)
    return held


def main() -> int:
    """Try the rows named, or all; 0 when every mechanism is shown by its test."""
    parser = argparse.ArgumentParser(prog="python -m tests.surface", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tried at once (default 2)")
    parser.add_argument("ids", nargs="*", metavar="ID", help="rows of tests/surface/table.toml (default: all)")
    options = parser.parse_args()
    wanted = [row for row in rows() if not options.ids or row.id in options.ids]
    if missing := set(options.ids) - {row.id for row in wanted}:
        parser.error(f"no such row: {', '.join(sorted(missing))}")
    with ExitStack() as stack, ThreadPoolExecutor(options.jobs) as pool:
        copies = _Copies(options.jobs, stack)
        tests = sorted({row.test for row in wanted})
        green = pool.submit(_told, "every test, without a patch", partial(_green, copies, tests))
        shown = [*pool.map(lambda row: _told(row.id, partial(_red, copies, row)), wanted)]
        print(f"{sum(shown)} of {len(shown)} mechanisms are shown by their tests")
        return 0 if green.result() and all(shown) else 1


if __name__ == "__main__":
    sys.exit(main())
