"""From an exception, or a finished process, to a `Failure`: by duck typing alone, never raising, never touching the
network.

Classification runs in the process that saw the exception, since many errors do not survive pickling. Every error of the
chain is judged by itself, with a strength: a word that names the failure beats a status, that a type's name, that an
errno, that a phrase. The strongest judgement wins, the outermost where several are as strong. No SDK is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proofq.policies import (
    classes,
    error_chain,
    error_facts,
    error_kind,
    error_names,
    exits,
    fingerprints,
    looking,
    output,
    redaction,
    waits,
)
from proofq.policies.error_facts import ErrorFacts
from proofq.policies.error_kind import Strength
from proofq.policies.failure import PHASES, Failure

#: Longest reason, in characters: an exception's text can be a whole document.
MAX_REASON = 1000

#: Other words for phases of an attempt, seen from a request to a provider.
_PHASES: Final = {"request": "inputs", "response": "output"}


@dataclass(frozen=True)
class Judgement:
    """What one error of a chain says by itself."""

    facts: ErrorFacts
    kind: str
    source: str
    strength: Strength
    retry_after_s: float | None = None
    note: str = ""


def classify(error: object, phase: str | None = None, now: float | None = None) -> Failure:
    """The failure that an exception as raised, or a finished `subprocess.CompletedProcess`, stands for.

    `phase` ("inputs", "start", "run", "output", "proof"; also "request", "response") says where it happened; `now`, in
    seconds since 1970, helps to read waits that are said as a time of day. Never raises, never blocks; what fits no
    rule is `unknown`, with a fingerprint.
    """
    phase = _PHASES.get(phase, phase) if isinstance(phase, str) else None
    phase = phase if phase in PHASES else None
    try:
        if isinstance(error, BaseException):
            return _of_exception(error, phase, now)
        if isinstance(looking.attribute(error, "returncode"), int):
            return _of_process(error, phase, now)
        return Failure("unknown", f"nothing is known about a {type(error).__name__}", phase=phase)
    except Exception as problem:  # noqa: BLE001 - whatever an alien object does when it is looked at
        reason = f"could not be classified: {type(problem).__name__}"
        return Failure("unknown", reason, phase=phase, fingerprint=fingerprints.of_parts(type(error).__name__))


# --- processes -----------------------------------------------------------------------------------------------------


def _of_process(done: object, phase: str | None, now: float | None) -> Failure:
    """A `CompletedProcess` or what looks like one. Exit 0 is no failure whatever was printed."""
    code = looking.attribute(done, "returncode")
    if code == 0:
        return Failure("unknown", "exited with code 0, which is no failure", phase=phase)
    streams, program = _streams(done), _program(done)
    exit_code = code if code > 0 else None
    return exits.classify_exit(exit_code, -code if code < 0 else None, phase, "", streams, program, now)


def _streams(done: object) -> tuple[str, ...]:
    found = (looking.attribute(done, name) for name in ("stdout", "stderr"))
    return tuple(_tail(one) for one in found if isinstance(one, str | bytes | bytearray))


def _tail(stream: str | bytes | bytearray) -> str:
    kept = stream[-4 * looking.MAX_TEXT :]
    return kept if isinstance(kept, str) else bytes(kept).decode("utf-8", "replace")


def _program(done: object) -> str:
    argv = looking.attribute(done, "args")
    if isinstance(argv, list | tuple) and argv:
        argv = argv[0]
    return looking.text(argv or "").rpartition("/")[2]


# --- the chain -----------------------------------------------------------------------------------------------------


def _of_exception(error: BaseException, phase: str | None, now: float | None) -> Failure:
    judged = [_judge(one, one is error, phase, now) for one in error_chain.walk(error)]
    best = _chosen(judged)
    wait = best.retry_after_s
    if wait is None and best.kind in classes.WAITS:
        # An outer error may carry the headers of the inner one that said what happened, and the other way round.
        wait = next((one.retry_after_s for one in judged if one.retry_after_s is not None), None)
    print_ = fingerprints.of_error(error)
    return Failure(best.kind, _reason(error, best), best.source, phase, wait, print_)


def _chosen(judged: Sequence[Judgement]) -> Judgement:
    """The strongest, the outermost of several; of what happened at once: a refused key, then credit, then waits."""
    if any(one.note for one in judged):
        # The call that opens a breaker was made, and its error stands behind the breaker's.
        asked = [one for one in judged if not one.note and one.strength >= Strength.NAME and one.source == "provider"]
        judged = asked or judged
    best = max(judged, key=lambda one: one.strength)
    if best.strength <= Strength.BUG:
        # Only what the error itself says: which bug was behind a bug is the same to everybody.
        return judged[0]
    if any(error_chain.is_group(one.facts.error) for one in judged):
        sure = [one for one in judged if one.strength >= Strength.NAME]
        for kind in ("auth", "quota"):
            best = next((one for one in sure if one.kind == kind), best)
            if best.kind == kind:
                return best
        waiting = [one for one in sure if one.retry_after_s is not None]
        return max(waiting, key=lambda one: one.retry_after_s or 0.0, default=best)
    return _refined(best, judged)


def _refined(best: Judgement, judged: Sequence[Judgement]) -> Judgement:
    """A wrapper's name says "time-out" or "connection"; the error it wraps says which of them."""
    if best.strength != Strength.NAME or best.kind not in ("timeout", "network"):
        return best
    wanted = error_names.UNSENT if best.kind == "timeout" else error_names.READ_TIMEOUTS | error_names.NOT_SENDABLE
    return next((one for one in judged if wanted.intersection(one.facts.names)), best)


# --- one error -----------------------------------------------------------------------------------------------------


def _judge(error: BaseException, outermost: bool, phase: str | None, now: float | None) -> Judgement:
    try:
        facts = error_facts.read(error)
        found = _ours(facts, outermost) or _of_a_store(facts) or _of_the_host(facts) or _of_a_process(facts, phase, now)
        return found or _of_a_provider(facts, outermost, phase, now)
    except Exception:  # noqa: BLE001 - somebody else's object, in a way nobody thought of
        return Judgement(ErrorFacts(error, (), frozenset()), "unknown", "task", Strength.NOTHING)


def _ours(facts: ErrorFacts, outermost: bool) -> Judgement | None:
    """Our own errors. That inputs were bad or a proof failed is only believed of the error itself."""
    if "proofq" not in facts.packages:
        return None
    if "RedisUnavailable" in facts.names:
        return Judgement(facts, "infrastructure", "store", Strength.WORD)
    if "BudgetReached" in facts.names:
        return Judgement(facts, "budget", "task", Strength.WORD)
    if "EffectUnknown" in facts.names:
        return Judgement(facts, "effect_unknown", "task", Strength.WORD)
    inside = looking.attribute(facts.error, "failure") if "ErrorInside" in facts.names else None
    if isinstance(inside, Failure):
        return Judgement(facts, inside.kind, inside.source, Strength.WORD, inside.retry_after_s)
    kind = "bad_input" if "BadInput" in facts.names else "unverified" if "NotProven" in facts.names else None
    return Judgement(facts, kind, "task", Strength.WORD) if kind and outermost else None


def _of_a_store(facts: ErrorFacts) -> Judgement | None:
    found = error_kind.of_store(facts)
    if found is None:
        return None
    locks = bool(facts.packages & error_names.HOST_PACKAGES)
    return Judgement(facts, found[0], "task" if found[0] == "crash" else "host" if locks else "store", found[1])


def _of_the_host(facts: ErrorFacts) -> Judgement | None:
    code = looking.attribute(facts.error, "errno")
    if "MemoryError" in facts.names or facts.error.args == ("can't start new thread",):
        return Judgement(facts, "resource", "host", Strength.NAME)
    if "OSError" not in facts.names or not isinstance(code, int):
        return None
    if code in exits.HOST_ERRNOS:
        return Judgement(facts, "infrastructure", "host", Strength.NAME)
    return Judgement(facts, "resource", "host", Strength.NAME) if code in exits.RESOURCE_ERRNOS else None


def _of_a_process(facts: ErrorFacts, phase: str | None, now: float | None) -> Judgement | None:
    """A program that an agent ran: its last words say more than that it failed, or that it took too long."""
    if "CalledProcessError" in facts.names and isinstance(looking.attribute(facts.error, "returncode"), int):
        found = _of_process(facts.error, phase, now)
        strength = Strength.BUG if found.kind in ("crash", "unknown") else Strength.NAME
        return Judgement(facts, found.kind, found.source, strength, found.retry_after_s)
    if "TimeoutExpired" in facts.names and (said := output.classify_output(_streams(facts.error), now)) is not None:
        return Judgement(facts, said.kind, exits.source_of(said.kind), Strength.NAME, said.retry_after_s)
    return None


def _of_a_provider(facts: ErrorFacts, outermost: bool, phase: str | None, now: float | None) -> Judgement:
    names = frozenset(facts.names)
    wait = _wait(facts, now)
    if names & error_names.BREAKERS:
        note = "an open breaker of our own, nobody was asked"
        return Judgement(facts, "overloaded", "host", Strength.WORD, wait, note)
    if names & error_names.CANCELLED and not names & error_names.TIMEOUTS:
        # Below another error it is only how that one was brought about.
        strength = Strength.WORD if outermost else Strength.NOTHING
        return Judgement(facts, "cancelled", "task", strength)
    kind, strength = error_kind.of_facts(facts, phase)
    source = _source(facts, kind)
    return Judgement(facts, kind, source, strength, wait if kind in classes.WAITS else None)


def _source(facts: ErrorFacts, kind: str) -> str:
    """A time-out or an output that fits no schema is the provider's only where a provider was spoken to."""
    remote = facts.remote or facts.status is not None or bool(error_names.PROVIDER_TIMEOUTS.intersection(facts.names))
    # Some raise Python's own TimeoutError or JSONDecodeError: then the place where they did says who was spoken to.
    remote = remote or looking.innermost_package(facts.error) in error_names.PROVIDERS
    return exits.source_of(kind, remote or kind not in ("timeout", "malformed_output"))


def _wait(facts: ErrorFacts, now: float | None) -> float | None:
    """Headers, then the body, then attributes, then prose: the first that says anything."""
    found = waits.of_headers(facts.headers, now)
    for body in facts.bodies:
        found = waits.of_body(body, now) if found is None else found
    for value in facts.asked:
        found = waits.of_value(value) if found is None else found
    return waits.of_text(facts.text, now) if found is None and facts.remote else found


# --- words for a human ---------------------------------------------------------------------------------------------


def _reason(error: BaseException, best: Judgement) -> str:
    text = _line(error)
    if best.facts.error is not error:
        text = f"{text}; because of {_line(best.facts.error)}"
    return f"{best.note}: {text}"[:MAX_REASON] if best.note else text[:MAX_REASON]


def _line(error: BaseException) -> str:
    try:
        # A text of megabytes is cut before anything is done with it.
        said = redaction.without_keys(" ".join(str(error)[: looking.MAX_TEXT].split()))
    except Exception:  # noqa: BLE001 - somebody else's __str__
        said = "(its text cannot be made)"
    # Lone surrogates would break whoever stores the reason as UTF-8.
    said = said.encode("utf-8", "backslashreplace").decode("utf-8")
    name = fingerprints.type_name(error)
    return f"{name}: {said}"[:MAX_REASON] if said else name
