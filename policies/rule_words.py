"""The words of a rule: what it says, as a clause, put together from its name as `policies.settlement` gives it.

A rule is "<class>.<response or bound>", or the event that is a rule by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proofq.policies import classes

#: What each response of `policies.classes` means, as the end of "the rule … says: ".
RESPONSES: Final[Mapping[str, str]] = {
    "retry": "such a failure is tried again after a pause, while its bound allows",
    "repair": "the agent may repair its output in another attempt, while attempts are left",
    "fail": "trying again would not help, so the task fails at once",
    "quarantine": "the task is taken out of circulation for a human to look at",
    "hold": "the task is held until a human has seen to the cause",
    "defer": "nobody is blamed, and the task waits before it is tried again",
    "requeue": "the task goes back to its queue at once, without counting the attempt",
    "cancel": "the task ends here because somebody asked for it",
    "gate": "the task goes back to its queue without counting the attempt, and the gate of its provider keeps it there",
    "unasked": "a closed gate kept the agent from asking anybody, so nobody is blamed, and the task waits",
}
#: What each bound of `policies.classes` means once it is reached.
BOUNDS: Final[Mapping[str, str]] = {
    "attempts": "the attempts that count are spent",
    "equal_crashes": "it crashed in the same way too often in a row",
    "deaths": "too many workers died while they held the task",
    "pickups": "it was picked up too often without ever running",
    "age": "it has waited longer than its max_age_s",
    "max_wait_s": "a longer wait was asked for than max_wait_s",
}
#: Where a class leads once its bound is reached.
_ENDS: Final[Mapping[str, str]] = {
    "fail": "the task fails",
    "quarantine": "the task is quarantined",
    "hold": "the task is held",
    "expire": "the task expires",
    "cancel": "the task is cancelled",
}
#: Rules that are no pair of a class and a response or bound.
_OTHER_RULES: Final[Mapping[str, str]] = {
    "budget.hold": "the task is held, since another attempt would only reach that bound again",
    "cancel.asked": "a cancel that was asked for wins over another run",
    "cancel": "somebody asked for the cancel",
    "ask_cancel": "whoever holds the task is asked to stop it",
    "expire": "a task that waits longer than its max_age_s expires",
    "hold": 'proofs that cannot tell hold the task, since "cannot tell" is not "absent"',
    "policy_error": "a policy of proofq's own raised, so the task is set aside rather than lost",
    "found": "the proofs hold although the attempt did not end well, and the agent says look_first",
    "verify": "every proof held when the world was read back",
    "finish_unproven": "the agent is declared as unproven, so its own word ends the task",
    "give_back": "an attempt cut short by its worker is given back and does not count",
    "enqueue": "a new task is queued",
    "enqueue_later": "a new task with a not_before waits until then",
    "adopt": "a job that plain RQ put into a queue of ours becomes a task",
    "adopt_later": "a job that plain RQ keeps until a time becomes a task that waits until then",
    "adopt_bad": "a job that plain RQ put into a queue of ours fails where its inputs or wishes cannot be met",
    "adopt_poison": "a job in a queue of ours that is no call of proofq.run is set aside with its reason",
    "enqueue_after": "a task with after waits until those tasks have ended in success",
    "met": "a task with after waits until all of those tasks have ended in success",
    "release": "a task is queued once all tasks that go before it have ended in success",
    "expire.after": "a task expires as soon as one that goes before it has ended without success",
    "replay_after": "who never ran since tasks go before it waits for them again when it is replayed",
    "mend": "what is shown and listed of a task follows from what its row says",
    "due": "a task whose time has come is queued",
    "lease": "the next task of a queue goes to a free slot",
    "trial": "it was there when workers died, and starts apart from others like it",
    "baseline": "what proofs will be compared with is written down before anything starts",
    "start": "an attempt runs once its start is confirmed",
    "claim": "what an agent says of itself is a claim, and proofs decide",
    "replay": "a human asked for another run, with all counters begun anew",
}


def clause(rule: str) -> str:
    """What a rule says, as a clause; its bare name for one that this version does not know."""
    if rule in _OTHER_RULES:
        return _OTHER_RULES[rule]
    name, _, part = rule.partition(".")
    if name not in classes.CLASSES:
        return rule
    if part == "max_wait_s":
        return f"{BOUNDS[part]}, so the task is held"
    if part in BOUNDS:
        return f"{BOUNDS[part]}, so {_ENDS[classes.of(name).ends_in]}"
    return RESPONSES.get(part, rule)
