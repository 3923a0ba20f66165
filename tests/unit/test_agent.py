"""Declarations: what may stand, and the one sentence for what may not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import declaration
from proofq.policies.agent import AgentSpec, DeclarationProblem, Proof, Provider

NOTE: dict[str, Any] = {
    "name": "note",
    "command": ["cp", "--", "{doc}", "{out}"],
    "inputs": {"doc": "str", "out": "str"},
    "proofs": [{"kind": "file", "path": "{out}", "min_bytes": 1}],
}
SUMMARISE: dict[str, Any] = {
    "name": "summarise",
    "function": "my_agents:summarise",
    "inputs_schema": {"type": "object", "properties": {"out": {"type": "string"}}},
    "proofs": [Proof("file", {"path": "{out}"})],
}
GONE = object()


def _note(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**NOTE, **changes}.items() if value is not GONE}


def _refusal(raw: dict[str, Any]) -> DeclarationProblem:
    with pytest.raises(DeclarationProblem) as caught:
        declaration.check(raw, "proofq.toml:12")
    return caught.value


def test_defaults_are_the_contracts() -> None:
    """A declaration that says nothing more gets every documented default."""
    spec = declaration.check(NOTE, "proofq.toml:12")
    assert (spec.name, spec.kind, spec.lane, spec.adapter) == ("note", "command", "work", "generic")
    assert spec.source == "proofq.toml:12"
    assert (spec.timeout_s, spec.stall_after_s, spec.max_attempts, spec.max_age_s) == (3600, None, 3, 86400)
    assert (spec.cwd, spec.env, spec.pass_env, spec.stdin) == ("{workdir}", {}, (), None)
    assert (spec.look_first, spec.unproven, spec.reuse) == (False, False, 0)
    assert (spec.verify_wait_s, spec.proof_timeout_s, spec.unique_for_s) == (60, 20, 86400)
    assert spec.proofs == (Proof("file", {"path": "{out}", "min_bytes": 1}, must_change=False),)


def test_every_key_of_the_contract_is_read() -> None:
    """Each key that is built ends in the field of its name."""
    given = {
        "lane": "meta",
        "adapter": "claude",
        "provider": "anthropic",
        "timeout_s": 1.5,
        "stall_after_s": 0.5,
        "max_attempts": 7,
        "max_age_s": 9,
        "cwd": "{project}/x",
        "env": {"LOG": "{doc}"},
        "pass_env": ["LC_ALL"],
        "stdin": "{doc}",
        "look_first": True,
        "unproven": True,
        "verify_wait_s": 0,
        "proof_timeout_s": 3,
        "unique_for_s": 4,
        "proofs": [{"kind": "json", "schema": {"type": "object"}, "must_change": True}],
        # The rest does nothing yet, and may be said only as what it is when left out.
        "reuse": 0,
        "must_call": [],
        "up": {},
        "budget": {},
    }
    shown = declaration.check(_note(**given), "x:1").to_dict()
    for key in set(given) - {"proofs", "must_call", "up", "budget"}:
        assert shown[key] == given[key], key
    assert shown["proofs"] == [{"kind": "json", "options": {"schema": {"type": "object"}}, "must_change": True}]


def test_times_may_be_timedeltas() -> None:
    """Python may say a duration as a timedelta."""
    assert declaration.check({**SUMMARISE, "timeout_s": timedelta(minutes=2)}, "x.py:1").timeout_s == 120.0


def test_reuse_is_a_functions_and_part_of_its_version() -> None:
    """A number for a function, none for what is a process by itself; who says nothing has the version of before."""
    reused = declaration.check({**SUMMARISE, "reuse": 100}, "x.py:1")
    plain = declaration.check(SUMMARISE, "x.py:1")
    assert (reused.reuse, plain.reuse) == (100, 0)
    assert reused.version != plain.version == declaration.check({**SUMMARISE, "reuse": 0}, "x.py:1").version
    assert declaration.check(_note(reuse=0), "x:1").reuse == 0


def test_an_unproven_agent_may_have_no_proofs() -> None:
    """unproven = true is the one way to have none."""
    assert declaration.check(_note(proofs=GONE, unproven=True), "x:1").proofs == ()


@pytest.mark.parametrize("raw", [NOTE, SUMMARISE])
def test_round_trip(raw: dict[str, Any]) -> None:
    """A spec goes through JSON and comes back equal; the version is that of the declaration, not of its place."""
    spec = declaration.check(raw, "proofq.toml:12")
    again = AgentSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.version == spec.version == declaration.check(raw, "elsewhere.toml:99").version
    assert declaration.check({**raw, "timeout_s": 5}, "proofq.toml:12").version != spec.version


def test_a_newer_writers_keys_are_left_out() -> None:
    """A catalogue written by a later version can be read."""
    data = declaration.check(NOTE, "x:1").to_dict()
    data["shiny"] = 1
    data["proofs"][0]["shiny"] = 1
    assert AgentSpec.from_dict(data) == declaration.check(NOTE, "x:1")
    assert Provider.from_dict({"name": "a", "shiny": 1}) == Provider("a")


REFUSED: list[tuple[str, dict[str, Any], str, tuple[str | int, ...]]] = [
    ("unknown key", {"timeout": 5}, "unknown key 'timeout' of this agent; did you mean timeout_s?", ("timeout",)),
    ("no such key", {"colour": 5}, "unknown key 'colour' of this agent; known are ", ("colour",)),
    ("negative", {"timeout_s": -1}, "timeout_s is -1; it is a number of seconds, more than 0 ", ("timeout_s",)),
    ("zero", {"timeout_s": 0}, "timeout_s is 0; it is a number of seconds, more than 0 ", ("timeout_s",)),
    ("infinite", {"max_age_s": float("inf")}, "max_age_s is inf; ", ("max_age_s",)),
    ("not a number", {"verify_wait_s": float("nan")}, "verify_wait_s is nan; ", ("verify_wait_s",)),
    ("negative wait", {"verify_wait_s": -0.1}, "verify_wait_s is -0.1; it is a number of seconds, from 0 ", ()),
    ("endless", {"unique_for_s": 1e300}, "unique_for_s is 1e+300; ", ("unique_for_s",)),
    ("bool time", {"proof_timeout_s": True}, "proof_timeout_s is True; it is a number of seconds", ()),
    ("text time", {"timeout_s": "5"}, "timeout_s is '5'; it is a number of seconds", ("timeout_s",)),
    ("no attempts", {"max_attempts": 0}, "max_attempts is 0; it is a whole number from 1 ", ("max_attempts",)),
    ("half attempts", {"max_attempts": 1.5}, "max_attempts is 1.5; it is a whole number", ("max_attempts",)),
    ("lane", {"lane": "fast"}, 'lane is \'fast\'; it is "work" or "meta"', ("lane",)),
    ("broken provider", {"provider": "a b"}, "the name of this provider is broken; ", ("provider",)),
    ("no proofs", {"proofs": GONE}, "it has no proofs, so its success could not be read back; add proofs = ", ()),
    ("empty proofs", {"proofs": []}, "it has no proofs, ", ()),
    ("proofs a table", {"proofs": {"kind": "file"}}, "proofs is a list of proofs", ("proofs",)),
    ("proof a word", {"proofs": ["file"]}, "proof 1: a proof is a table, such as { kind = ", ("proofs", 0)),
    (
        "proof kind",
        {"proofs": [{"kind": "fil"}]},
        "proof 1: unknown kind of proof 'fil'; known are command, file, json, ",
        (),
    ),
    ("no kind", {"proofs": [{"path": "x"}]}, "proof 1: unknown kind of proof None; ", ("proofs", 0, "kind")),
    ("no path", {"proofs": [{"kind": "file"}]}, "proof 1: a file proof needs path", ("proofs", 0)),
    (
        "key of another kind",
        {"proofs": [NOTE["proofs"][0], {"kind": "json", "path": "x"}]},
        "proof 2: unknown key 'path' of a json proof; it takes must_change, schema",
        ("proofs", 1, "path"),
    ),
    ("min_bytes", {"proofs": [{"kind": "file", "path": "x", "min_bytes": "1"}]}, "proof 1: min_bytes is '1'; ", ()),
    ("min_bytes -1", {"proofs": [{"kind": "file", "path": "x", "min_bytes": -1}]}, "proof 1: min_bytes is -1; ", ()),
    ("min_bytes bool", {"proofs": [{"kind": "file", "path": "x", "min_bytes": True}]}, "proof 1: min_bytes is Tr", ()),
    (
        "contains ''",
        {"proofs": [{"kind": "file", "path": "x", "contains": ""}]},
        "proof 1: contains is ''; it is t",
        (),
    ),
    ("sha256", {"proofs": [{"kind": "file", "path": "x", "sha256": "abc"}]}, "proof 1: sha256 is 'abc'; it is 64 ", ()),
    ("same_ok", {"proofs": [{"kind": "file", "path": "x", "same_ok": 1}]}, "proof 1: same_ok is 1; it is true or ", ()),
    ("adapter", {"adapter": "claud"}, "adapter 'claud' is not known; it is one of generic, claude", ("adapter",)),
    ("adapter list", {"adapter": ["claude"]}, "adapter ['claude'] is not known", ("adapter",)),
    (
        "adapter of a function",
        {"command": GONE, "inputs": GONE, "function": "m:f", "adapter": "claude", "proofs": [{"kind": "json"}]},
        "an adapter reads what a command prints",
        ("adapter",),
    ),
    ("must_change", {"proofs": [{"kind": "json", "must_change": "no"}]}, "proof 1: must_change is 'no'; it is tru", ()),
    ("proof NUL", {"proofs": [{"kind": "file", "path": "a\0"}]}, "proof 1: path: it holds a NUL character", ()),
    (
        "function",
        {"proofs": [{"kind": "python", "function": "check"}]},
        "proof 1: function is 'check'; write \"mod",
        (),
    ),
    ("input function", {"proofs": [{"kind": "python", "function": "{doc}:f"}]}, "proof 1: function is '{doc}:f'", ()),
    (
        "schema",
        {"proofs": [{"kind": "json", "schema": {"type": "objekt"}}]},
        "proof 1: schema: not a valid JSON Schema at type: ",
        ("proofs", 0, "schema"),
    ),
    (
        "schema elsewhere",
        {"proofs": [{"kind": "json", "schema": {"$ref": "https://example.org/x"}}]},
        "proof 1: schema: $ref: 'https://example.org/x' is outside this schema and is never fetched; ",
        ("proofs", 0, "schema"),
    ),
    (
        "placeholder of a proof",
        {"proofs": [{"kind": "file", "path": "{outt}"}]},
        "proof 1: unknown placeholder {outt}; known are attempt, doc, out, project, task_id, taskdir, workdir; ",
        ("proofs", 0),
    ),
    (
        "brace of a proof",
        {"proofs": [{"kind": "file", "path": "{"}]},
        "proof 1: { opens no placeholder; ",
        ("proofs", 0),
    ),
    ("kind a list", {"proofs": [{"kind": []}]}, "proof 1: unknown kind of proof []", ("proofs", 0, "kind")),
    ("bool attempts", {"max_attempts": True}, "max_attempts is True; it is a whole number", ("max_attempts",)),
    ("look_first alone", {"look_first": True, "unproven": True, "proofs": []}, "look_first lets proofs ", ()),
    ("placeholder", {"command": ["cp", "{x}"]}, "command[1]: unknown placeholder {x}; ", ("command", 1)),
    ("placeholder of cwd", {"cwd": "{x}"}, "cwd: unknown placeholder {x}; ", ("cwd",)),
    ("placeholder of stdin", {"stdin": "{x}"}, "stdin: unknown placeholder {x}; ", ("stdin",)),
    ("placeholder of env", {"env": {"A": "{x}"}}, "env.A: unknown placeholder {x}; ", ("env", "A")),
    ("lone brace", {"command": ["echo", '{"a":1}']}, 'command[1]: {"a":1} opens no placeholder; write {{ ', ()),
    ("shell", {"command": "cp a b"}, "command is a list of a program and its arguments, such as ", ("command",)),
    ("no program", {"command": [""]}, "the program, the first element of command, is empty", ("command", 0)),
    ("empty command", {"command": []}, "command is a list of a program and its arguments", ("command",)),
    ("no command", {"command": GONE}, 'it has no command; add command = ["program", "argument"]', ()),
    ("number in command", {"command": ["sleep", 5]}, "command[1]: 5 is no text; write it in quotes", ("command", 1)),
    ("surrogate", {"cwd": "\ud800"}, "cwd: it holds half a surrogate pair", ("cwd",)),
    ("NUL", {"command": ["a", "b\0"]}, "command[1]: it holds a NUL character", ("command", 1)),
    ("two kinds", {"function": "a:b"}, "it has a command and a function; an agent is one of them", ("function",)),
    ("env number", {"env": {"A": 1}}, "env.A: 1 is no text; write it in quotes", ("env", "A")),
    ("env name", {"env": {"A=B": "1"}}, "env.A=B: 'A=B' is no name of an environment variable", ("env", "A=B")),
    ("our env", {"env": {"PROOFQ_OWNER": "x"}}, "env.PROOFQ_OWNER: names that start with PROOFQ_ are set by ", ()),
    ("Redis URL", {"pass_env": ["REDIS_URL"]}, "REDIS_URL is never passed to an agent; leave it out", ("pass_env", 0)),
    ("our Redis URL", {"pass_env": ["PROOFQ_REDIS_URL"]}, "pass_env[0]: names that start with PROOFQ_ are set", ()),
    ("empty cwd", {"cwd": ""}, "cwd is empty; leave it out for {workdir}", ("cwd",)),
    (
        "input type",
        {"inputs": {"doc": "string"}},
        "input doc is 'string'; a type is one of str int ",
        ("inputs", "doc"),
    ),
    ("input of ours", {"inputs": {"project": "str"}}, "input project is a placeholder of ours ", ("inputs", "project")),
    ("input name", {"inputs": {"a b": "str"}}, "input 'a b': a name is letters, digits, _ and -, ", ("inputs", "a b")),
    ("inputs twice", {"inputs_schema": {}}, "it has inputs and inputs_schema; keep one of them", ("inputs_schema",)),
    ("inputs a word", {"inputs": "doc"}, "inputs is a table of names and types", ("inputs",)),
    ("look_first weak", {"look_first": True}, "look_first lets proofs decide after an attempt that did not ", ()),
    ("flag", {"unproven": "yes"}, "unproven is 'yes'; it is true or false", ("unproven",)),
    ("broken name", {"name": "a b"}, "the name of this agent is broken; a name is 1 to 128 letters, ", ()),
    ("name with a line end", {"name": "note\n"}, "the name of this agent is broken; ", ()),
    ("no name", {"name": GONE}, "the name of this agent is broken; ", ()),
    ("long name", {"name": "a" * 129}, "the name of this agent is broken; ", ()),
]


@pytest.mark.parametrize(("raw", "sentence", "key"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(raw: dict[str, Any], sentence: str, key: tuple[str | int, ...]) -> None:
    """What may not stand is refused with a sentence, its place and the path of the bad key."""
    problem = _refusal(_note(**raw))
    assert problem.source == "proofq.toml:12"
    assert f": {sentence}" in str(problem)
    assert str(problem).startswith("proofq.toml:12: agent ")
    assert key in ((), problem.key)


NOT_BUILT: list[tuple[dict[str, Any], str]] = [
    ({"reuse": 1}, "reuse is for functions"),
    ({"reuse": False}, "reuse is for functions"),
    ({"must_call": ["x"]}, "must_call is for functions"),
    ({"must_call": "x"}, "must_call is a list"),
    ({"must_call": ["x", "x"]}, "must_call is a list"),
    ({"must_call": ["a b"]}, "the name of this step is broken"),
    ({"up": {"port": 1}}, "up is not built yet"),
    ({"budget": {"usd": 0}}, "usd is 0; it is a number above 0"),
    ({"budget": {"tokens": 1.5}}, "tokens is 1.5; it is a whole number above 0"),
    ({"budget": {"euro": 1}}, "unknown key 'euro' of this budget"),
    ({"budget": {"per": "day"}}, "it limits nothing"),
    ({"budget": {"usd": 1, "per": "week"}}, "per is 'week'; it is one of task, hour, day, month"),
    ({"budget": [{"usd": 1}, {"tokens": 1}]}, "two tables of it are for the same window"),
    ({"budget": "much"}, "a budget is a table"),
    *[
        ({"proofs": [{"kind": kind}]}, f"a {kind} proof is not built yet; use command, file, json, python, record")
        for kind in ("artifact", "http")
    ],
]


@pytest.mark.parametrize(("raw", "sentence"), NOT_BUILT)
def test_what_is_not_built_is_refused(raw: dict[str, Any], sentence: str) -> None:
    """What the contract names and this version lacks is refused with a sentence, never ignored."""
    assert sentence in str(_refusal(_note(**raw)))


@pytest.mark.parametrize("key", ["stdin", "inputs", "command"])
def test_a_function_has_no_keys_of_a_command(key: str) -> None:
    """stdin, inputs and command are keys of command agents alone."""
    assert _refusal({**SUMMARISE, key: {} if key == "inputs" else ["x"]}).key in ((key,), ("function",))


@pytest.mark.parametrize(
    "proof",
    [
        {"kind": "json"},
        {"kind": "python", "function": "checks:holds"},
        {"kind": "command", "argv": ["cmp", "a", "b"]},
        {"kind": "file", "path": "x", "sha256": "a" * 64},
        {"kind": "file", "path": "x", "json_schema": {}},
    ],
)
def test_look_first_with_proofs_of_completeness(proof: dict[str, Any]) -> None:
    """look_first stands where every proof implies that the work is complete, and only there."""
    assert declaration.check(_note(look_first=True, proofs=[proof]), "x:1").look_first
    _refusal(_note(look_first=True, proofs=[proof, {"kind": "file", "path": "x", "contains": "y"}]))
    record = {"kind": "record", "db": "x", "query": "select a from t", "equals": 1}
    _refusal(_note(look_first=True, proofs=[proof, record]))


def test_a_schemas_braces_are_no_placeholders() -> None:
    """A regular expression in an inline schema needs no doubled braces."""
    schema = {"type": "string", "pattern": "^[0-9]{4}$"}
    spec = declaration.check(_note(proofs=[{"kind": "json", "schema": schema}]), "x:1")
    assert spec.proofs[0].options == {"schema": schema}


def test_what_an_input_may_decide() -> None:
    """A digest may come with the task, and stdin may be empty rather than closed."""
    spec = declaration.check(_note(stdin="", proofs=[{"kind": "file", "path": "x", "sha256": "{doc}"}]), "x:1")
    assert (spec.stdin, spec.proofs[0].options["sha256"]) == ("", "{doc}")


def test_names_that_differ_in_case_are_refused_together() -> None:
    """Two agents of one name, or of one but for case, are refused with both places."""
    note, other = declaration.check(NOTE, "proofq.toml:3"), declaration.check(_note(name="NOTE"), "a.py:9")
    with pytest.raises(DeclarationProblem, match=r"a\.py:9: agent NOTE: already declared at proofq\.toml:3 \(as note;"):
        declaration.check_together([note, other])
    with pytest.raises(DeclarationProblem, match=r"agent note: already declared at proofq\.toml:3; rename"):
        declaration.check_together([note, note])
    assert list(declaration.check_together([note])) == ["note"]


PROVIDERS: list[tuple[Any, Any, str]] = [
    ("a b", {}, "the name of this provider is broken"),
    ("a", 5, "a provider is a table"),
    ("a", {"key": "X"}, "unknown key 'key' of this provider; did you mean key_env?"),
    ("a", {"key_env": "A B"}, "key_env: 'A B' is no name of an environment variable"),
    ("a", {"key_env": 5}, "key_env: '5' is no name"),
    ("a", {"cooldown_s": -1}, "cooldown_s is -1"),
]


@pytest.mark.parametrize(("name", "raw", "sentence"), PROVIDERS)
def test_refused_providers(name: Any, raw: Any, sentence: str) -> None:
    """A broken provider is refused as an agent is."""
    with pytest.raises(DeclarationProblem, match=r"x:1: provider ") as caught:
        declaration.check_provider(name, raw, "x:1")
    assert sentence in str(caught.value)


def test_a_provider() -> None:
    """A provider has a key and a cool-down, 30 s when not said."""
    assert declaration.check_provider("a", {"key_env": "A_KEY"}, "x:1") == Provider("a", "A_KEY", 30.0)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["note", "file", "json", "{doc}", "a:b", "work"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*NOTE, *declaration._KEYS["command"], *declaration._KEYS["function"], "$ref", "properties"])


@given(st.dictionaries(KEYS | st.text(max_size=5), ANYTHING, max_size=4), st.booleans())
def test_nothing_but_the_documented_error(changes: dict[str, Any], from_note: bool) -> None:
    """Whatever is declared either stands and survives JSON, or is refused by DeclarationProblem."""
    problem: DeclarationProblem | None = None
    try:
        spec = declaration.check({**NOTE, **changes} if from_note else changes, "x:1")
    except DeclarationProblem as error:
        problem = error
    if problem is None:
        assert AgentSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    else:
        assert str(problem).startswith("x:1: agent ")
