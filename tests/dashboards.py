"""rq-dashboard's own program on a private Redis, as the extra `web` installs it, over HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import until


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Dashboard:
    """One running dashboard; use as a context manager. `folder` is where its log goes."""

    def __init__(self, url: str, folder: Path, *options: str) -> None:
        program = shutil.which("rq-dashboard", path=str(Path(sys.executable).parent))
        assert program, "the extra web is not installed"
        self.port = free_port()
        self._log = folder / "dashboard.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "--bind", "127.0.0.1", "--port", str(self.port), "--json", *options],
                cwd=folder, env={"PATH": os.environ["PATH"], "RQ_DASHBOARD_REDIS_URL": url},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Dashboard:
        try:
            until(lambda: self._answers() or self._process.poll() is not None, 30, "the dashboard")
            assert self._process.poll() is None, self._log.read_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def page(self, path: str) -> str:
        """The text of a page, which must answer 200."""
        status, body = self.get(path)
        assert status == 200, (path, status, body[-2000:])
        return body.decode()

    def document(self, path: str, method: str = "GET") -> Any:
        """The JSON of an endpoint, which must answer 200."""
        status, body = self.get(path, method)
        assert status == 200, (path, status, body[-2000:])
        return json.loads(body)
