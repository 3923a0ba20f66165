"""A file of captured output while it grows: what was added since, though its front moves away at its cap."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path
from typing import Final

#: Most that is read in one go, in bytes.
CHUNK: Final = 256 * 1024
#: So many of the last bytes that were read are looked for where the file was moved.
ANCHOR: Final = 4096


def open_regular(path: Path) -> int:
    """A descriptor of a file that an agent may have replaced by anything: a pipe must not block us, a link not lead
    elsewhere. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


class Growing:
    """One stream of one attempt, read as text from `tail_bytes` before its end on (None: from its beginning).

    The file is written in place: what was kept moves to its front once it is full. What had been read is found again by
    its last bytes. Output that repeats itself to the byte can be told from what it repeats by nothing.
    """

    def __init__(self, path: Path, tail_bytes: int | None = None) -> None:
        self.path = path
        #: Whether anything was dropped from the file before it was read, since this was asked last.
        self.lost = False
        self._tail_bytes = tail_bytes
        self._fd = -1
        self._offset = 0
        self._anchor = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def there(self) -> bool:
        """Whether the file has been there to be read."""
        return self._fd >= 0

    def read(self) -> str:
        """What has come since; "" for nothing. Raises OSError where it may not be read."""
        if self._fd < 0 and not self._open():
            return ""
        if not self._in_place():
            self._find_again()
        data = os.pread(self._fd, CHUNK, self._offset)
        if not data or not self._in_place():
            # Moved under this very read: the next one finds where.
            return ""
        self._offset += len(data)
        self._anchor = (self._anchor + data)[-ANCHOR:]
        return self._decoder.decode(data)

    def rest(self) -> str:
        """The end of a character that never came whole."""
        return self._decoder.decode(b"", final=True)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = open_regular(self.path)
        except FileNotFoundError:
            return False
        if self._tail_bytes is not None:
            self._offset = max(0, os.fstat(self._fd).st_size - self._tail_bytes)
            before = min(ANCHOR, self._offset)
            self._anchor = os.pread(self._fd, before, self._offset - before)
        return True

    def _in_place(self) -> bool:
        begin = self._offset - len(self._anchor)
        if os.fstat(self._fd).st_size < self._offset:
            return False
        return os.pread(self._fd, len(self._anchor), begin) == self._anchor

    def _find_again(self) -> None:
        whole = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        at = whole.rfind(self._anchor)
        self.lost = self.lost or at < 0
        if at < 0:
            self._anchor = b""
        self._offset = max(0, at) + len(self._anchor)
