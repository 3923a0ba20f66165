"""HTTP clients without an SDK, whole and in pieces, each asked to raise for a status."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.sdks.sdk_clients import TIMEOUT_S, Client


def _ask_httpx(url: str) -> Any:
    import httpx

    return httpx.get(url, timeout=TIMEOUT_S, follow_redirects=True).raise_for_status().json()


def _stream_httpx(url: str) -> Any:
    import httpx

    with httpx.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=True) as answer:
        answer.raise_for_status()
        return json.loads(b"".join(answer.iter_bytes()))


def _ask_httpx2(url: str) -> Any:
    import httpx2

    return httpx2.get(url, timeout=TIMEOUT_S, follow_redirects=True).raise_for_status().json()


def _ask_httpx_async(url: str) -> Any:
    import httpx

    async def ask() -> Any:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=True) as client:
            return (await client.get(url)).raise_for_status().json()

    return asyncio.run(ask())


def _ask_requests(url: str) -> Any:
    import requests

    answer = requests.get(url, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.json()


def _stream_requests(url: str) -> Any:
    import requests

    # Not closed: what is classified is an error whose answer still hangs on the network.
    answer = requests.get(url, timeout=TIMEOUT_S, stream=True)
    answer.raise_for_status()
    return json.loads(b"".join(answer.iter_content(16)))


def _ask_requests_retrying(url: str) -> Any:
    import requests
    import urllib3

    retry = urllib3.Retry(1, status_forcelist=[429, 500, 502, 503, 504, 529], respect_retry_after_header=False)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        answer = session.get(url, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()


def _ask_urllib3(url: str) -> Any:
    import urllib3

    retry = urllib3.Retry(0, status_forcelist=[401, 403, 408, 429, 500, 502, 503, 504, 524, 529])
    with urllib3.PoolManager(retries=retry, timeout=TIMEOUT_S) as pool:
        return pool.request("GET", url).json()


def _ask_urllib(url: str) -> Any:
    import urllib.request

    # Not closed: an HTTPError holds the answer, whose body is on the network still.
    return json.load(urllib.request.urlopen(url, timeout=TIMEOUT_S))


def _ask_aiohttp(url: str) -> Any:
    return _aiohttp(url, sock_read=TIMEOUT_S, sock_connect=TIMEOUT_S)


def _ask_aiohttp_total(url: str) -> Any:
    return _aiohttp(url, total=TIMEOUT_S)


def _aiohttp(url: str, **timeouts: float) -> Any:
    import aiohttp

    async def ask() -> Any:
        timeout = aiohttp.ClientTimeout(**timeouts)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(url) as answer,
        ):
            return await answer.json()

    return asyncio.run(ask())


CLIENTS: dict[str, Client] = {
    "httpx": Client("openai", _ask_httpx, _stream_httpx),
    "httpx2": Client("openai", _ask_httpx2),
    "httpx async": Client("openai", _ask_httpx_async),
    "requests": Client("openai", _ask_requests, _stream_requests),
    "requests retrying": Client("openai", _ask_requests_retrying),
    "urllib3": Client("openai", _ask_urllib3),
    "urllib": Client("openai", _ask_urllib),
    # A broken chunk that comes apart from the head is lost on it, and it waits for the rest for ever.
    "aiohttp": Client("openai", _ask_aiohttp, without=frozenset({"chunk"})),
    "aiohttp total": Client("openai", _ask_aiohttp_total, without=frozenset({"chunk"})),
}
