"""A thread's own connection: nothing is sent twice, no answer is taken for another one's, and it mends itself."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from proofq.policies import lifecycle
from proofq.workers import connection
from proofq.workers.errors import RedisUnavailable
from tests.heart import Heart, birth
from tests.servers import PrivateServer


@pytest.fixture
def heart(redis_server: PrivateServer, redis_client: redis.Redis) -> Heart:
    """A store as a worker has it, on a server that knows no script."""
    redis_client.script_flush()
    return Heart(connection.client(redis_server.url), own_connections=True)


def test_server_that_lost_its_scripts_is_given_them_again(heart: Heart, redis_client: redis.Redis) -> None:
    """As after a restart or a failover; the step is done once."""
    for task_id in ("a", "b"):
        heart.store.enqueue(birth(task_id))
        redis_client.script_flush()
    assert [task.id for task in heart.store.read_many(heart.store.newest(0, 9))] == ["b", "a"]
    assert heart.events("a") == ["enqueue"]


def test_broken_connection_fails_once(heart: Heart, redis_client: redis.Redis) -> None:
    """Whoever asked is told; the next call has a new connection."""
    heart.store.enqueue(birth("a"))
    redis_client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(RedisUnavailable):
        heart.store.enqueue(birth("b"))
    heart.store.enqueue(birth("c"))
    assert [task.state for task in heart.store.read_many(["a", "c"])] == [lifecycle.QUEUED] * 2


def test_refused_step_leaves_the_connection_sound(heart: Heart, redis_client: redis.Redis) -> None:
    """An error is an answer: what is asked next gets its own."""
    heart.store.enqueue(birth("a"))
    before: Any = redis_client.info("clients")["connected_clients"]
    with pytest.raises(redis.ResponseError):
        heart.runner("settle", ("", "no plan at all"))
    heart.enlist("o")
    assert heart.held().task.id == "a"
    assert redis_client.info("clients")["connected_clients"] == before


def test_each_thread_has_its_own_and_takes_it_along(heart: Heart, redis_client: redis.Redis) -> None:
    """One more connection per thread that lives, none of those that have ended."""

    def connections() -> int:
        return len(redis_client.client_list())

    def act(number: int) -> None:
        heart.store.enqueue(birth(f"t{number}"))
        meanwhile.append(connections())

    heart.store.enqueue(birth("a"))
    before, meanwhile = connections(), list[int]()
    for number in range(3):
        thread = threading.Thread(target=act, args=(number,))
        thread.start()
        thread.join()
    assert meanwhile == [before + 1] * 3
    assert connections() == before


def test_server_that_does_not_answer_is_given_up_in_time(
    redis_server: PrivateServer, redis_client: redis.Redis
) -> None:
    """The socket's own time-out ends the wait, as redis-py's would; the next call is answered."""
    heart = Heart(connection.client(redis_server.url, socket_timeout_s=0.3), own_connections=True)
    heart.store.enqueue(birth("a"))
    redis_server.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(RedisUnavailable):
            heart.store.enqueue(birth("b"))
        assert 0.2 < time.monotonic() - begun < 15
    finally:
        redis_server.resume()
    heart.enlist("o")
    assert heart.held().task.id == "a"
