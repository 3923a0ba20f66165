"""`proofq drain`, `pause` and `resume`: what an operator does to workers and agents."""

from __future__ import annotations

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import DeclarationError, Refused


@command("drain", "proofq drain build-7-3f9c1b2a", short="Let a worker finish what it runs and leave.")
@click.argument("name")
def drain(output: Output, name: str) -> None:
    """Let the worker called NAME finish what it runs and leave, wherever it is: the same as a TERM to its pid.

    It takes no further task; what runs may end within its drain_s, the rest is given back uncounted, and the worker
    exits with 0. This command does not wait for that: `proofq workers` shows it draining, then gone. `proofq workers`
    lists the names. Exit 1 for a name that no live worker has.
    """
    from proofq.workers import draining, lanes, producer, roster, session

    store = session.open_store().store
    owners = roster.worker(store, name)
    deaf = next((one for one in owners if not one.release), None)
    if deaf is not None:
        raise Refused(f"The worker {name} is too old to hear a drain; send TERM to pid {deaf.pid} on {deaf.host}.")
    who = producer.whoami("cli")
    asked = lanes.merged(one for one in owners if draining.ask(store, one, who))
    if not asked:
        raise Refused(f"The worker {name} has left meanwhile.")
    if output.as_json:
        output.items(
            {"name": one.name, "lane": one.lane, "host": one.host, "pid": one.pid, "tasks": list(one.tasks)}
            for one in asked
        )
        return
    count = sum(len(one.tasks) for one in asked)
    output.line(f"drain of {name} asked for; it holds {count} task{'' if count == 1 else 's'}")


@command("pause", "proofq pause note", short="Lease no more tasks of an agent.")
@click.argument("agent")
def pause(output: Output, agent: str) -> None:
    """Lease no more tasks of AGENT, on any worker, until `proofq resume AGENT`; it outlives restarts.

    Its tasks stay queued, may be enqueued and cancelled, and expire at their max_age_s, for which the pause counts.
    Attempts that run go on. Pausing what is paused changes nothing.
    """
    _turn(output, agent, to_pause=True)


@command("resume", "proofq resume note", short="Lease tasks of a paused agent again.")
@click.argument("agent")
def resume(output: Output, agent: str) -> None:
    """Lease tasks of AGENT again, in the order in which they wait. Resuming what is not paused changes nothing."""
    _turn(output, agent, to_pause=False)


def _turn(output: Output, agent: str, *, to_pause: bool) -> None:
    from proofq.workers import pausing, producer, roster, session

    try:
        opened = session.open_session()
    except DeclarationError:
        # Whoever stops an agent in a hurry need not mend the project first: its workers and tasks know the name.
        opened = session.open_store()
    name = roster.known(opened, agent)
    if to_pause:
        changed = pausing.pause(opened.store, name, producer.whoami("cli"))
    else:
        changed = pausing.resume(opened.store, name)
    now = pausing.paused(opened.store).get(name)
    if output.as_json:
        since = {"since": None, "by": None} if now is None else now.to_dict()
        output.items([{**since, "agent": name, "paused": now is not None, "changed": changed}])
    elif to_pause:
        output.line(f"{name} is paused{'' if changed else ' already'}; `proofq resume {name}` ends it")
    else:
        output.line(f"{name} is resumed" if changed else f"{name} was not paused")
