"""Why a task is where it is, in words: what happened, which class, which rule, what next.

Pure text over facts. Each state has one function that says what happened and what comes next; the words of a rule are
those of `policies.rule_words`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proofq.policies import budget, classes, rule_words
from proofq.policies.lifecycle import STATES


@dataclass(frozen=True)
class Story:
    """What an explanation may look at. Times are ISO 8601 texts, '' where there is none.

    `event`, `reason`, `who` and `at` are those of the breadcrumb that led to `state`, `rule` the rule that chose it.
    `kind` is the class of the failure the task stands under, or of its last ended attempt ('' = none);
    `failure_reason` its sentence, `fingerprint` that of the failure it stands under. `taken_over`: the lease was taken
    from a dead or silent owner. `refused` is the last refused event, if that is the newest thing that happened, as
    (event, reason). `service`: what the live workers that declare the agent can do for a queued task: free, busy,
    suspended, draining, nobody where there are none, or paused; gate where only a gate or a cap keeps it waiting, and
    `gate` says why and what comes next;
    `ahead`: how many tasks stand before it in its queue. `proofs` are the (kind, outcome) of the last verdict.
    `after`: the (id, state) of the tasks that have yet to end in success before it may run.
    """

    id: str
    agent: str
    state: str
    attempt: int
    counted: int
    max_attempts: int
    event: str
    at: str
    who: str = ""
    reason: str = ""
    rule: str = ""
    kind: str = ""
    failure_reason: str = ""
    fingerprint: str = ""
    worker: str = ""
    host: str = ""
    not_before: str = ""
    expires_at: str = ""
    max_age_s: float = 0.0
    cancel_asked: bool = False
    taken_over: bool = False
    service: str = "free"
    gate: tuple[str, str] | None = None
    ahead: int = 0
    refused: tuple[str, str] | None = None
    proofs: Sequence[tuple[str, str]] = field(default_factory=tuple)
    after: Sequence[tuple[str, str]] = ()
    #: A sentence about the incident that its failure belongs to.
    incident: str = ""
    #: The gate that its attempt tries for all who wait there, as sentences call it.
    probes: str = ""


@dataclass(frozen=True)
class Explanation:
    """One paragraph, and its parts: the failure class and the rule (None where nothing failed), and what comes next."""

    text: str
    class_: str | None
    rule: str | None
    next: str


#: What a human does about a held task, by class.
_TO_DO: Final[Mapping[str, str]] = {
    "auth": "give its workers a credential that is accepted and start them anew",
    "quota": "wait for the plan's next window or buy more",
    "rate_limited": "wait until the provider takes requests again",
    "overloaded": "wait until the provider takes requests again",
    "handoff_broken": "give the receiver what it needs",
    "effect_unknown": "look whether what it began in the world is there, and say so",
    "budget": "raise the limit if the work is worth it",
}


def explain(story: Story) -> Explanation:
    """The paragraph for a task in any state. Never raises for a state of the table."""
    happened, then = _OF_STATE[story.state](story)
    sentences = [happened]
    if story.probes:
        sentences.append(f"It tries the gate of {story.probes}, and others wait there for what becomes of it.")
    if story.kind and story.state not in _BEGUN:
        sentences += [_class_sentence(story), *([story.incident] if story.incident else [])]
    if story.rule:
        sentences.append(f"Rule {story.rule}: {rule_words.clause(story.rule)}.")
    if story.refused is not None:
        sentences.append(f"Since then {story.refused[0]} was refused: {story.refused[1]}.")
    sentences.append(f"Next: {then}")
    kind = story.kind if story.kind and story.state not in _BEGUN else None
    return Explanation(" ".join(sentences), kind, story.rule or None, then)


# --- what happened and what comes next, by state -------------------------------------------------------------------


def _queued(story: Story) -> tuple[str, str]:
    if story.event == "give_back":
        happened = f"was given back to its queue at {story.at} without counting attempt {story.attempt}"
        happened += f": {story.reason}." if story.reason else "."
    elif story.event == "requeue":
        happened = f"went back to its queue at {story.at} after attempt {story.attempt}."
    elif story.event == "due":
        happened = f"has waited for its time and is queued since {story.at}."
    elif story.event == "release":
        happened = f"is queued since {story.at}: {story.reason}, and nothing else goes before it."
    elif story.event == "replay":
        happened = f"was replayed at {story.at}{_by(story)} and is queued."
    else:
        happened = f"is queued since {story.at}."
    happened = f"{_name(story)} {happened}"
    seen, then = _service(story)
    return f"{happened}{seen}", f"{then}; {_expiry(story)}"


def _service(story: Story) -> tuple[str, str]:
    """Why no slot has taken a queued task yet, and what will."""
    behind = f" It is number {story.ahead + 1} in its queue." if story.ahead else ""
    match story.service:
        case "paused":
            seen = f" The agent {story.agent} is paused, so none of its tasks is leased.{behind}"
            return seen, f"it waits until somebody resumes the agent (`proofq resume {story.agent}`)"
        case "gate" if story.gate is not None:
            seen, then = story.gate
            return f" {seen}{behind}", then
        case "nobody":
            seen = f" No live worker declares the agent {story.agent}.{behind}"
            return seen, "it waits for such a worker (`proofq worker` in the agent's project)"
        case "draining":
            seen = f" Every worker that declares {story.agent} is draining or still starting and takes no task.{behind}"
            return seen, "it waits for one that is ready (`proofq status` lists them; `proofq worker` starts another)"
        case "suspended":
            seen = f" Workers are suspended (`rq suspend`) and take no task.{behind}"
            return seen, "it waits until somebody says `rq resume`, or until the suspension ends by itself"
        case "full":
            seen = f" No worker that declares {story.agent} has room for it on its disk (disk_quota_mib).{behind}"
            return seen, "it waits for room there (`proofq status` says how much is taken), or for another worker"
        case "busy":
            seen = f" Every slot of the workers that declare {story.agent} is taken.{behind}"
            return seen, "the next slot that becomes free takes the first of its queue"
        case _:
            return behind, f"the next free slot of a worker that declares {story.agent} takes it"


def _leased(story: Story) -> tuple[str, str]:
    if story.taken_over:
        return _in_other_hands(story)
    happened = f"{_name(story)} was leased at {story.at}{_to(story)} for attempt {story.attempt}; nothing runs yet."
    return happened, _unless_cancelled(story, "its start is confirmed and it runs, or the start fails and is judged.")


def _running(story: Story) -> tuple[str, str]:
    if story.taken_over:
        return _in_other_hands(story)
    happened = f"{_name(story)} runs attempt {story.attempt} since {story.at}{_on(story)}."
    return happened, _unless_cancelled(story, "the agent claims to be done or fails, or its deadline ends it.")


def _claimed_done(story: Story) -> tuple[str, str]:
    if story.taken_over:
        return _in_other_hands(story)
    happened = f"The agent of {_name(story, start=False)} said at {story.at} that attempt {story.attempt} is done."
    return happened, _unless_cancelled(story, "its proofs read the world back and decide.")


def _verified(story: Story) -> tuple[str, str]:
    count = len(story.proofs)
    kinds = ", ".join(dict.fromkeys(kind for kind, _ in story.proofs))
    shown = f" by {count} proof{'s' if count > 1 else ''} ({kinds})" if count else ""
    happened = f"{_name(story)} was verified at {story.at} in attempt {story.attempt}{shown}."
    return happened, "nothing; this is the end, and the only success there is."


def _finished_unproven(story: Story) -> tuple[str, str]:
    happened = f"{_name(story)} finished at {story.at} in attempt {story.attempt} by its own word; nothing was proven."
    return happened, "nothing; this is the end. Declare proofs for the agent to have its work verified."


def _after(story: Story) -> tuple[str, str]:
    said = ", ".join(f"{one} ({state})" for one, state in story.after[:5])
    more = f" and {len(story.after) - 5} more" if len(story.after) > 5 else ""
    what = "task" if len(story.after) == 1 else "tasks"
    happened = f"{_name(story)} waits since {story.at} for {what} {said}{more}."
    then = "it is queued once they have ended in success, and expires as soon as one of them ends otherwise"
    return happened, f"{then}; {_expiry(story)}"


def _deferred(story: Story) -> tuple[str, str]:
    if story.after:
        return _after(story)
    if story.event == "met":
        happened = f"{_name(story)} waits for its time; {story.reason}, and nothing else goes before it."
    elif story.event in {"enqueue_later", "adopt_later"}:
        happened = f"{_name(story)} was enqueued at {story.at} for later."
    else:
        happened = f"{_name(story)} waits since {story.at} after attempt {story.attempt}.{_doubt(story)}"
    if story.not_before and "" < story.expires_at <= story.not_before:
        return happened, f"it expires at {story.expires_at}, before its time comes ({story.not_before})."
    shut = " (`proofq gate list` says what shuts it)" if story.rule.endswith(".unasked") else ""
    return happened, f"it is queued at {story.not_before or 'its time'}{shut}; {_expiry(story)}"


def _held(story: Story) -> tuple[str, str]:
    happened = f"{_name(story)} is held since {story.at} after attempt {story.attempt}.{_doubt(story)}"
    cause = _TO_DO.get(story.kind, "see to the cause")
    if any(outcome == "cannot_tell" for _, outcome in story.proofs):
        cause = f"see in `proofq show {story.id}` why its proofs could not tell"
    more = budget.more(story.fingerprint) if story.kind == "budget" else ""
    if more:
        return happened, f"{more}; `proofq replay {story.id}` lets it go at once; {_expiry(story)}"
    return happened, f"{cause}, then `proofq replay {story.id}`, or `proofq cancel {story.id}`; {_expiry(story)}"


def _failed(story: Story) -> tuple[str, str]:
    happened = f"{_name(story)} failed at {story.at} after {_attempts(story)}.{_doubt(story)}"
    return happened, f"nothing by itself; `proofq replay {story.id}` runs it again once the cause is gone."


def _quarantined(story: Story) -> tuple[str, str]:
    happened = f"{_name(story)} was quarantined at {story.at} after {_attempts(story)}.{_doubt(story)}"
    return happened, (
        f"nothing by itself; look at its evidence (`proofq show {story.id}`), "
        f"and `proofq replay {story.id}` runs it again once the cause is gone."
    )


def _cancelled(story: Story) -> tuple[str, str]:
    happened = f"{_name(story)} was cancelled at {story.at}{_by(story)} after {_attempts(story)}."
    return happened, f"nothing by itself; `proofq replay {story.id}` runs it after all."


def _expired(story: Story) -> tuple[str, str]:
    if story.rule == "expire.after":
        first = story.after[0][0] if story.after else "what goes before it"
        happened = f"{_name(story)} expired at {story.at} with a task that goes before it, and never ran."
        return happened, f"nothing by itself; `proofq replay {first}`, then `proofq replay {story.id}`: it waits again."
    age = f" of {story.max_age_s:g} s" if story.max_age_s else ""
    happened = f"{_name(story)} expired at {story.at} after {_attempts(story)}: it was older than its max_age_s{age}."
    return happened, f"nothing by itself; `proofq replay {story.id}` gives it the same age again."


_OF_STATE: Final[Mapping[str, Callable[[Story], tuple[str, str]]]] = {
    "queued": _queued,
    "leased": _leased,
    "running": _running,
    "claimed_done": _claimed_done,
    "verified": _verified,
    "finished_unproven": _finished_unproven,
    "deferred": _deferred,
    "held": _held,
    "failed": _failed,
    "quarantined": _quarantined,
    "cancelled": _cancelled,
    "expired": _expired,
}
#: States in which the class of an earlier attempt says nothing about the present one.
_BEGUN: Final = frozenset({"leased", "running", "claimed_done", "verified", "finished_unproven"})


# --- parts of sentences --------------------------------------------------------------------------------------------


def _name(story: Story, start: bool = True) -> str:
    return f"{'Task' if start else 'task'} {story.id} of agent {story.agent}"


def _class_sentence(story: Story) -> str:
    known = classes.of(story.kind)
    meaning = known.meaning if known.name == story.kind else STATES[story.state]
    if story.rule.endswith(".unasked"):
        meaning = "a gate was shut, and nobody was asked"
    if (story.state, story.kind) == ("expired", "no_progress"):
        # The class of who expires without any failure; perhaps nobody ever picked it up.
        meaning = "nothing came of it within its time"
    why = f", here: {_one_line(story.failure_reason)}" if story.failure_reason else ""
    return f"Class {story.kind} ({meaning}){why}."


def _in_other_hands(story: Story) -> tuple[str, str]:
    happened = f"Attempt {story.attempt} of {_name(story, start=False)} lost its worker at {story.at}: {story.reason}."
    if story.state == "claimed_done":
        return happened, "the agent had said that it is done, so another worker reads its proofs, and they decide."
    return happened, "another worker settles the attempt: by its proofs where the agent allows that, else as lost."


def _unless_cancelled(story: Story, then: str) -> str:
    return "its cancel was asked: its worker kills what runs and ends it." if story.cancel_asked else then


def _attempts(story: Story) -> str:
    if not story.attempt:
        return "no attempt"
    begun = f"{story.attempt} attempt{'s' if story.attempt > 1 else ''}"
    return f"{begun} ({story.counted} of {story.max_attempts} counted)"


def _doubt(story: Story) -> str:
    """The proofs that did not hold, named."""
    said = {"unverified": "found it not so", "cannot_tell": "could not tell"}
    found = [f"the {kind} proof {said[outcome]}" for kind, outcome in story.proofs if outcome in said]
    return f" In its last verdict {' and '.join(found)}." if found else ""


def _expiry(story: Story) -> str:
    return f"it expires at {story.expires_at}." if story.expires_at else "it waits without a bound."


def _by(story: Story) -> str:
    return f" by {story.who}" if story.who else ""


def _to(story: Story) -> str:
    return f" to worker {story.worker}" if story.worker else ""


def _on(story: Story) -> str:
    host = f" (host {story.host})" if story.host else ""
    return f" on worker {story.worker}{host}" if story.worker else ""


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
