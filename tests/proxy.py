"""A way to a server that loses replies: the request is carried out, its answer never arrives."""

from __future__ import annotations

import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType


class LosingProxy:
    """A unix socket in front of the server's. Once `lose_next` was called, the next script's reply is dropped and its
    connection closed; `lost` counts them. That a script is not loaded yet is no reply of it."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._folder = Path(tempfile.mkdtemp(prefix="pq-"))
        self._armed = 0
        self.lost = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / "s"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"unix://{self._folder / 's'}"

    def lose_next(self, replies: int = 1) -> None:
        """Drop the reply of so many scripts from now on."""
        self._armed = replies

    def __enter__(self) -> LosingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that sits in accept() is not woken by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            asked = b""
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if client in ready:
                    data = client.recv(1 << 20)
                    if not data:
                        return
                    asked += data
                    server.sendall(data)
                if server in ready:
                    reply = server.recv(1 << 20)
                    if not reply:
                        return
                    if self._armed and b"EVALSHA" in asked and not reply.startswith(b"-NOSCRIPT"):
                        self._armed -= 1
                        self.lost += 1
                        return
                    asked = b""
                    client.sendall(reply)
