"""Incidents by chat, mail or pager through apprise: the optional extra `notify`."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from typing import Any, Final

from proofq.workers.notify import Notice

#: More than these is a list by mistake.
MOST: Final = 20
_TYPES: Final = {"critical": "failure", "error": "failure", "warning": "warning", "info": "info"}


class Undelivered(Exception):
    """Some of the services did not take it. Says how many, and nothing of their URLs."""


class AppriseSink:
    """Sends to each of these URLs. ValueError for one that apprise does not know, and where apprise is missing; its
    words hold no part of a URL."""

    name = "apprise"
    once = False

    def __init__(self, urls: str) -> None:
        if importlib.util.find_spec("apprise") is None:
            raise ValueError("apprise is not installed; pip install 'proofq[notify]'")
        found = [each for each in re.split(r"[\s,]+", urls) if each]
        if len(found) > MOST:
            raise ValueError(f"{len(found)} notification URLs are set; at most {MOST}")
        # It logs what it tries, hosts and all; what went wrong is told by whoever sends.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            # It uses a module of Python's that is about to go; that is between the two.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._services = [_service(number, url) for number, url in enumerate(found, 1)]

    def send(self, notice: Notice) -> None:
        """To each in turn. Undelivered when one of them does not take it; the others have it."""
        kind = _TYPES.get(notice.level, "failure")
        failed = sum(
            not service.notify(title=notice.title, body=notice.body, notify_type=kind) for service in self._services
        )
        if failed:
            raise Undelivered(f"{failed} of {len(self._services)}")


def _service(number: int, url: str) -> Any:
    import apprise

    service = apprise.Apprise.instantiate(url)
    if service is None:
        raise ValueError(f"notification URL number {number} is none that apprise knows")
    return service
