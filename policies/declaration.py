"""Whether a declaration may stand: what a user wrote in, an AgentSpec or a Provider out, or one sentence
why not.

Everything the contract names and this version does not have is refused here, never ignored.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from proofq.policies import budget_declared, caps_declared, input_schema, placeholders, proof_options
from proofq.policies import declared as values
from proofq.policies.adapters import ADAPTERS
from proofq.policies.agent import AgentSpec, DeclarationProblem, Proof, Provider
from proofq.policies.wiring import MAX_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proofq.policies.agent import JSON

#: What any agent may say, the keys that are not built yet included: they are refused by their own sentence.
_COMMON = frozenset(
    {"name", "lane", "adapter", "provider", "inputs_schema", "cwd", "env", "pass_env", "proofs", "look_first"}
    | {"unproven", "timeout_s", "max_attempts", "max_age_s", "verify_wait_s", "proof_timeout_s", "unique_for_s"}
    | {"stall_after_s", "reuse", "must_call", "up", "budget", "max_running", "rate", "weight"}
)
_KEYS = {
    "command": _COMMON | {"command", "stdin", "inputs"},
    "function": _COMMON | {"function"},
}
#: Keys of the contract that do nothing yet; each may be given only as what it is when left out.
_NOT_BUILT: dict[str, tuple[JSON, ...]] = {
    "up": ({}, None),
}


def check(raw: Mapping[str, JSON], source: str, parameters: dict[str, JSON] | None = None) -> AgentSpec:
    """Give the spec of one declared agent. Raises DeclarationProblem with `source` and the path of the
    bad key.

    `raw` has the keys of the contract's [agents.x], and `name`; a function agent has `function`
    ("module:qualname") and the `inputs_schema` of its parameters, or `parameters` is that schema and is
    not checked again. `inputs_schema` is the schema itself, files are read by the caller. Proofs are Proof
    objects or tables. Times are numbers of seconds or timedeltas.
    """
    try:
        return _Reader(raw, parameters).spec(source)
    except DeclarationProblem as problem:
        message = f"agent {values.shown_name(raw.get('name'))}: {problem.message}"
        raise DeclarationProblem(message, source, problem.key) from problem


def check_provider(name: JSON, raw: JSON, source: str) -> Provider:
    """Give one declared provider. Raises DeclarationProblem."""
    try:
        values.name(name, "provider")
        if not isinstance(raw, dict):
            raise DeclarationProblem('a provider is a table, such as { key_env = "SOME_API_KEY" }')
        known = {each.name for each in fields(Provider)} - {"name"}
        values.known_keys(raw, frozenset(known), "provider")
        key_env = raw.get("key_env")
        if key_env is not None:
            values.variable(key_env, ("key_env",))
        usual = Provider(name)
        return Provider(
            name,
            key_env,
            values.seconds(raw, "cooldown_s", usual.cooldown_s),
            values.count(raw, "min_calls", usual.min_calls),
            values.seconds(raw, "window_s", usual.window_s),
            values.share(raw, "failure_rate", usual.failure_rate),
            values.seconds(raw, "slow_call_s", 1.0) if raw.get("slow_call_s") is not None else None,
            values.seconds(raw, "probe_s", usual.probe_s),
            budget_declared.read(raw.get("budget"), task=False),
            caps_declared.max_running(raw),
            caps_declared.rate(raw),
        )
    except DeclarationProblem as problem:
        message = f"provider {values.shown_name(name)}: {problem.message}"
        raise DeclarationProblem(message, source, problem.key) from problem


def check_together(specs: Iterable[AgentSpec]) -> dict[str, AgentSpec]:
    """Give the agents of a project by name. Raises DeclarationProblem for two whose names are one but for case."""
    found: dict[str, AgentSpec] = {}
    for spec in specs:
        other = found.get(spec.name.lower())
        if other is not None:
            differ = "" if other.name == spec.name else f" (as {other.name}; names that differ only in case are one)"
            raise DeclarationProblem(
                f"agent {spec.name}: already declared at {other.source}{differ}; rename one of them",
                spec.source,
            )
        found[spec.name.lower()] = spec
    return {spec.name: spec for spec in found.values()}


class _Reader:
    """One declaration being read, key by key."""

    def __init__(self, raw: Mapping[str, JSON], parameters: dict[str, JSON] | None = None) -> None:
        self.raw = raw
        self.parameters = parameters
        self.inputs: frozenset[str] = frozenset()

    def spec(self, source: str) -> AgentSpec:
        raw = self.raw
        name = values.name(raw.get("name"), "agent")
        kind = self.kind()
        values.known_keys(raw, _KEYS[kind], "agent")
        self.check_built()
        schema = self.inputs_schema()
        self.inputs = input_schema.names(schema)
        proofs = self.proofs()
        unproven = self.flag("unproven")
        look_first = self.flag("look_first")
        if not proofs and not unproven:
            raise DeclarationProblem(
                'it has no proofs, so its success could not be read back; add proofs = [{ kind = "file", '
                'path = "{out}" }], say, or declare it unproven = true'
            )
        if look_first and not all(proof.implies_completeness for proof in proofs or [Proof("none")]):
            raise DeclarationProblem(
                "look_first lets proofs decide after an attempt that did not end well, so each must imply that the "
                "work is complete: sha256, json_schema, json, command or python, since a size or a substring also "
                "holds for half-done work, and a record may have been so before",
                key=("look_first",),
            )
        default = AgentSpec(name=name, kind=kind)
        return AgentSpec(
            name=name,
            kind=kind,
            source=source,
            lane=self.lane(),
            command=self.command() if kind == "command" else (),
            function=raw.get("function"),
            adapter=self.adapter(kind),
            provider=self.provider(),
            inputs_schema=schema,
            timeout_s=values.seconds(raw, "timeout_s", default.timeout_s),
            stall_after_s=None if raw.get("stall_after_s") is None else values.seconds(raw, "stall_after_s", 0.0),
            max_attempts=values.count(raw, "max_attempts", default.max_attempts),
            max_age_s=values.seconds(raw, "max_age_s", default.max_age_s),
            cwd=self.template("cwd", default.cwd),
            env=self.env(),
            pass_env=self.pass_env(),
            stdin=None if raw.get("stdin") is None else self.template("stdin", "", may_be_empty=True),
            proofs=proofs,
            look_first=look_first,
            unproven=unproven,
            reuse=self.reuse(kind),
            must_call=self.must_call(kind, look_first),
            budget=budget_declared.read(raw.get("budget"), task=True),
            max_running=caps_declared.max_running(raw),
            rate=caps_declared.rate(raw),
            weight=values.count(raw, "weight", default.weight),
            verify_wait_s=values.seconds(raw, "verify_wait_s", default.verify_wait_s, zero=True),
            proof_timeout_s=values.seconds(raw, "proof_timeout_s", default.proof_timeout_s),
            unique_for_s=values.seconds(raw, "unique_for_s", default.unique_for_s),
        )

    def kind(self) -> Any:
        kinds = [kind for kind in ("command", "function") if self.raw.get(kind) is not None]
        if len(kinds) == 2:
            raise DeclarationProblem("it has a command and a function; an agent is one of them", key=("function",))
        if not kinds:
            raise DeclarationProblem('it has no command; add command = ["program", "argument"]')
        return kinds[0]

    def check_built(self) -> None:
        for key, nothing in _NOT_BUILT.items():
            if key in self.raw and (isinstance(self.raw[key], bool) or self.raw[key] not in nothing):
                raise DeclarationProblem(f"{key} is not built yet; leave it out", key=(key,))

    def inputs_schema(self) -> dict[str, JSON]:
        if self.parameters is not None:
            return self.parameters
        sugar, schema = self.raw.get("inputs"), self.raw.get("inputs_schema")
        if sugar is not None and schema is not None:
            raise DeclarationProblem("it has inputs and inputs_schema; keep one of them", key=("inputs_schema",))
        where = "inputs" if schema is None else "inputs_schema"
        try:
            return input_schema.from_sugar(sugar or {}) if schema is None else input_schema.from_schema(schema)
        except DeclarationProblem as problem:
            raise DeclarationProblem(problem.message, key=(where, *problem.key)) from problem

    def proofs(self) -> tuple[Proof, ...]:
        declared = self.raw.get("proofs", [])
        if not isinstance(declared, list | tuple):
            raise DeclarationProblem("proofs is a list of proofs", key=("proofs",))
        found: list[Proof] = []
        for index, each in enumerate(declared):
            try:
                proof = proof_options.check(each)
                self.check_names(placeholders.names_in(dict(proof.options)))
            except (DeclarationProblem, placeholders.PlaceholderProblem) as problem:
                path = problem.key if isinstance(problem, DeclarationProblem) else ()
                message = problem.message if isinstance(problem, DeclarationProblem) else str(problem)
                raise DeclarationProblem(f"proof {index + 1}: {message}", key=("proofs", index, *path)) from problem
            found.append(proof)
        return tuple(found)

    def lane(self) -> Any:
        lane = self.raw.get("lane", "work")
        if lane not in ("work", "meta"):
            raise DeclarationProblem(f'lane is {lane!r}; it is "work" or "meta"', key=("lane",))
        return lane

    def adapter(self, kind: str) -> str:
        adapter = self.raw.get("adapter", "generic")
        if adapter not in tuple(ADAPTERS):
            raise DeclarationProblem(
                f"adapter {adapter!r} is not known; it is one of {', '.join(ADAPTERS)}", key=("adapter",)
            )
        if kind == "function" and adapter != "generic":
            raise DeclarationProblem(
                "an adapter reads what a command prints, and this is a function; leave it out", key=("adapter",)
            )
        return str(adapter)

    def provider(self) -> str | None:
        provider = self.raw.get("provider")
        if provider is not None:
            try:
                values.name(provider, "provider")
            except DeclarationProblem as problem:
                raise DeclarationProblem(problem.message, key=("provider",)) from problem
        return provider

    def command(self) -> tuple[str, ...]:
        declared = self.raw.get("command")
        if not isinstance(declared, list | tuple) or not declared:
            raise DeclarationProblem(
                'command is a list of a program and its arguments, such as ["cp", "--", "{doc}", "{out}"]; '
                "it never goes through a shell",
                key=("command",),
            )
        command = tuple(self.checked(each, ("command", index)) for index, each in enumerate(declared))
        if not command[0]:
            raise DeclarationProblem("the program, the first element of command, is empty", key=("command", 0))
        return command

    def env(self) -> dict[str, str]:
        declared = self.raw.get("env", {})
        if not isinstance(declared, dict):
            raise DeclarationProblem('env is a table, such as { LOG = "error" }', key=("env",))
        for name in declared:
            values.variable(name, ("env", str(name)))
        return {name: self.checked(value, ("env", name)) for name, value in declared.items()}

    def pass_env(self) -> tuple[str, ...]:
        declared = self.raw.get("pass_env", [])
        if not isinstance(declared, list | tuple):
            raise DeclarationProblem('pass_env is a list of names, such as ["LC_ALL"]', key=("pass_env",))
        for index, name in enumerate(declared):
            values.variable(name, ("pass_env", index))
            if name == "REDIS_URL":
                raise DeclarationProblem("REDIS_URL is never passed to an agent; leave it out", key=("pass_env", index))
        return tuple(declared)

    def template(self, key: str, default: str, *, may_be_empty: bool = False) -> str:
        text = self.checked(self.raw.get(key, default), (key,))
        if not text and not may_be_empty:
            raise DeclarationProblem(f"{key} is empty; leave it out for {default}", key=(key,))
        return text

    def checked(self, text: JSON, key: tuple[str | int, ...]) -> str:
        """Give a template back, if it is text whose placeholders are known."""
        try:
            used = placeholders.names(values.text(text))
            self.check_names(used)
        except (DeclarationProblem, placeholders.PlaceholderProblem) as problem:
            message = problem.message if isinstance(problem, DeclarationProblem) else str(problem)
            raise DeclarationProblem(f"{values.path_of(key)}: {message}", key=key) from problem
        return str(text)

    def check_names(self, used: Iterable[str]) -> None:
        unknown = placeholders.unknown(used, self.inputs)
        if unknown:
            raise DeclarationProblem(
                f"unknown placeholder {{{unknown[0]}}}; known are "
                f"{', '.join(sorted(self.inputs | placeholders.BUILTIN))}; write {{{{ where a brace is meant"
            )

    def must_call(self, kind: str, look_first: bool) -> tuple[str, ...]:
        steps = self.raw.get("must_call", [])
        known = isinstance(steps, list | tuple) and all(isinstance(name, str) for name in steps)
        if not known or len(steps) > MAX_STEPS or len(set(steps)) < len(steps):
            raise DeclarationProblem(
                f'must_call is a list of the names of steps, each once and {MAX_STEPS} at most, such as ["write"]',
                key=("must_call",),
            )
        for name in steps:
            values.name(name, "step")
        if steps and kind == "command":
            raise DeclarationProblem(
                "must_call is for functions, whose steps say @proofq.step; what goes on inside a command nobody here "
                "can hear, so name in its proofs what each of its steps leaves behind",
                key=("must_call",),
            )
        if steps and look_first:
            raise DeclarationProblem(
                "look_first lets proofs decide after an end that nobody saw, and then nobody knows what must_call asks "
                "for; keep one of them",
                key=("must_call",),
            )
        return tuple(steps)

    def reuse(self, kind: str) -> int:
        reuse = self.raw.get("reuse", 0)
        if reuse == 0 and not isinstance(reuse, bool):
            return 0
        if kind == "command":
            raise DeclarationProblem(
                "reuse is for functions, whose process can be given another task; a command is a process each, so "
                "leave it out",
                key=("reuse",),
            )
        return values.count(self.raw, "reuse", 0)

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            raise DeclarationProblem(f"{key} is {value!r}; it is true or false", key=(key,))
        return value
