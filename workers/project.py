"""A project: the folder of proofq.toml, what that file says, and the agents its modules declare.

Without a proofq.toml the project is the working directory and has no agents.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from proofq.policies import declaration, phrases, toml_lines
from proofq.policies.agent import AgentSpec, DeclarationProblem, Provider
from proofq.workers import adapter_plugins, modules, schema_files
from proofq.workers.declare import Agent, declared
from proofq.workers.errors import DeclarationError
from proofq.workers.settings import Settings, resolve, resolve_incidents, resolve_retention

CONFIG_NAME = "proofq.toml"
_KEYS = ("modules", "worker", "retention", "incidents", "providers", "agents")


@dataclass(frozen=True)
class Project:
    """One project as it was read. All paths are absolute."""

    root: Path
    #: None where there is no proofq.toml.
    config_path: Path | None
    settings: Settings
    providers: Mapping[str, Provider] = field(default_factory=dict)
    #: Command agents, and the function agents of `modules` if they were imported.
    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    #: The function of every function agent in `agents`, by the agent's name.
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        """Where everything of the project lives that is not in Redis. It may not exist yet."""
        return self.settings.state_dir

    def provider(self, name: str) -> Provider:
        """Give a provider; one that proofq.toml does not declare has no key and the default times."""
        return self.providers.get(name) or Provider(name)

    def preload_argument(self) -> dict[str, Any]:
        """Give what `preload` needs to find this project in another process: plain JSON."""
        return {"root": str(self.root), "config_path": None if self.config_path is None else str(self.config_path)}


def find(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """Give the path of the proofq.toml that PROOFQ_CONFIG names, else of the nearest upwards from `start` (the cwd).

    None when there is none. Raises DeclarationError when PROOFQ_CONFIG names no file.
    """
    named = (os.environ if environ is None else environ).get("PROOFQ_CONFIG")
    here = _folder(start)
    if named:
        path = here / named
        if not path.is_file():
            raise DeclarationError(f"PROOFQ_CONFIG names {path}, which is no file; name a proofq.toml or unset it.")
        return path.resolve()
    for folder in (here, *here.parents):
        if os.path.isfile(folder / CONFIG_NAME):  # noqa: PTH113 - False, not an error, where we may not look
            return folder / CONFIG_NAME
    return None


def load(
    start: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
    import_modules: bool = False,
) -> Project:
    """Read the project found from `start`. `options` are settings given on the command line (None: not given).

    Modules are imported only with `import_modules`; then every python proof is looked up too. Raises DeclarationError
    with file and line for anything refused, BadInput for a bad variable or option.
    """
    environ = os.environ if environ is None else environ
    return _load(_folder(start), find(start, environ), environ, options, import_modules)


def locate(start: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Project:
    """Say where the project found from `start` lives, without reading what its proofq.toml declares.

    For whoever only looks at tasks or stops them: a mistake in a declaration must not blind an operator.
    Raises DeclarationError when PROOFQ_CONFIG names no file, BadInput for a bad variable.
    """
    environ = os.environ if environ is None else environ
    config_path = find(start, environ)
    root = _folder(start) if config_path is None else config_path.parent
    return Project(root, config_path, resolve(root, {}, environ))


def preload(argument: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Give the function of every function agent by its name, imported here. For the forkserver.

    `argument` is `Project.preload_argument()`. Raises DeclarationError.
    """
    # Not in front, wherever it came from: what we import late must not be a file of the user's. Importing appends it.
    sys.path[:] = [folder for folder in sys.path if folder != argument["root"]]
    config = argument["config_path"]
    project = _load(Path(argument["root"]), None if config is None else Path(config), os.environ, None, True)
    # What each child that fails would do again.
    phrases.prepare()
    if project.providers:
        # For `ctx.call`: here once, instead of in each attempt that calls.
        importlib.import_module("proofq.workers.calling")
    return dict(project.functions)


def _load(
    here: Path,
    config_path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, object] | None,
    import_modules: bool,
) -> Project:
    if config_path is None:
        return Project(here, None, resolve(here, {}, environ, options))
    config = _Config(config_path)
    table = config.table("worker")
    settings = resolve(config.root, table, environ, options, lambda key: f"{config.where(('worker', key))}: [worker]")
    kept = resolve_retention(
        config.table("retention"), environ, lambda key: f"{config.where(('retention', key))}: [retention]"
    )
    told = resolve_incidents(
        config.table("incidents"), environ, lambda key: f"{config.where(('incidents', key))}: [incidents]"
    )
    settings = dataclasses.replace(settings, retention=kept, incidents=told)
    names = config.modules()
    specs = config.agents()
    functions: dict[str, Callable[..., Any]] = {}
    if import_modules:
        for index, name in enumerate(names):
            for agent in config.load_module(name, index):
                if agent.function not in functions.values():
                    specs.append(config.located(agent.spec))
                    functions.setdefault(agent.name, agent.function)
    agents = config.together(specs)
    if import_modules:
        config.check_python_proofs(agents.values())
    return Project(config.root, config_path, settings, config.providers(), agents, names, functions)


class _Config:
    """One proofq.toml, and where in it each key stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.parent
        try:
            text = path.read_bytes().decode("utf-8")
            self.raw = tomllib.loads(text)
        except OSError as error:
            raise DeclarationError(f"{path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise DeclarationError(f"{path.name}:{line}: not UTF-8; save the file as UTF-8.") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            line_said = re.search(r"at line (\d+)", str(error))
            last = text.count("\n") + 1
            line = int(line_said[1]) if line_said else last
            raise DeclarationError(f"{path.name}:{line}: not valid TOML: {error}.") from error
        self.lines = toml_lines.lines(text)
        for key in self.raw:
            if key not in _KEYS:
                raise DeclarationError(f"{self.where((key,))}: unknown key {key!r}; known are {', '.join(_KEYS)}.")

    def where(self, path: toml_lines.Path) -> str:
        """Give "proofq.toml:12" of a key, or of the nearest table around it."""
        line = toml_lines.line_of(self.lines, path)
        return self.path.name if line is None else f"{self.path.name}:{line}"

    def table(self, key: str) -> dict[str, Any]:
        table = self.raw.get(key, {})
        if not isinstance(table, dict):
            raise DeclarationError(f"{self.where((key,))}: {key} is a table; write [{key}].")
        return table

    def modules(self) -> tuple[str, ...]:
        names = self.raw.get("modules", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DeclarationError(f'{self.where(("modules",))}: modules is a list of names, such as ["my_agents"].')
        return tuple(dict.fromkeys(names))

    def providers(self) -> dict[str, Provider]:
        found: dict[str, Provider] = {}
        for name, raw in self.table("providers").items():
            path = ("providers", name)
            found[name] = self.checked(path, functools.partial(declaration.check_provider, name, raw, ""))
        return found

    def agents(self) -> list[AgentSpec]:
        found: list[AgentSpec] = []
        for name, raw in self.table("agents").items():
            path = ("agents", name)
            if not isinstance(raw, dict):
                raise DeclarationError(f"{self.where(path)}: agent {name}: an agent is a table; write [agents.{name}].")
            found.append(self.checked(path, functools.partial(self.agent, name, raw)))
        return found

    def agent(self, name: str, raw: dict[str, Any]) -> AgentSpec:
        source = self.where(("agents", name))
        for key, hint in (
            ("name", "it is the table's own"),
            ("function", "a function declares itself with @proofq.agent in a module named in modules"),
        ):
            if key in raw:
                raise DeclarationProblem(f"agent {name}: unknown key {key!r} of this agent; {hint}", key=(key,))
        try:
            adapter_plugins.make_known(raw.get("adapter"))
        except DeclarationProblem as problem:
            raise DeclarationProblem(f"agent {name}: {problem.message}", key=problem.key) from problem
        raw = dict(raw, name=name)
        schema_file = raw.get("inputs_schema")
        if isinstance(schema_file, str):
            try:
                raw["inputs_schema"] = schema_files.read(schema_file, [self.root], f"agent {name}: inputs_schema")
            except DeclarationProblem as problem:
                raise DeclarationProblem(problem.message, key=("inputs_schema",)) from problem
        return schema_files.inlined(declaration.check(raw, source), self.root)

    def located(self, spec: AgentSpec) -> AgentSpec:
        """A function agent as the project sees it: source relative to the project, schemas of files read."""
        path, _, line = spec.source.rpartition(":")
        if Path(path).is_relative_to(self.root):
            path = str(Path(path).relative_to(self.root))
        spec = dataclasses.replace(spec, source=f"{path}:{line}")
        try:
            return schema_files.inlined(spec, self.root)
        except DeclarationProblem as problem:
            raise DeclarationError(f"{spec.source}: {problem.message}") from problem

    def load_module(self, name: str, index: int) -> list[Agent[..., Any]]:
        before = len(declared())
        try:
            module = modules.load(name, self.root)
        except DeclarationError as error:
            raise DeclarationError(f"{self.where(('modules', index))}: {error}") from error
        return _declared_by(module, before)

    def together(self, specs: Iterable[AgentSpec]) -> dict[str, AgentSpec]:
        try:
            return declaration.check_together(specs)
        except DeclarationProblem as problem:
            raise DeclarationError(str(problem)) from problem

    def check_python_proofs(self, specs: Iterable[AgentSpec]) -> None:
        for spec in specs:
            for proof in spec.proofs:
                if proof.kind == "python":
                    try:
                        modules.resolve(proof.options["function"], self.root)
                    except DeclarationError as error:
                        raise DeclarationError(f"{spec.source}: agent {spec.name}: {error}") from error

    def checked(self, path: tuple[str, str], build: Callable[[], Any]) -> Any:
        """Give what `build` gives; a problem gets the line of the key it names."""
        try:
            return build()
        except DeclarationProblem as problem:
            raise DeclarationError(f"{self.where((*path, *problem.key))}: {problem.message}") from problem


#: Agents declared while a module was imported the first time, by the module's name: later imports run nothing.
_by_module: dict[str, list[Agent[..., Any]]] = {}


def _declared_by(module: ModuleType, before: int) -> list[Agent[..., Any]]:
    """Give the agents that importing the module declares: in itself, in its submodules, in what it imports."""
    name = module.__name__
    new = declared()[before:]
    if new:
        _by_module[name] = new
    inside = [each for each in declared() if f"{each.function.__module__}.".startswith(f"{name}.")]
    taken_in = [each for each in vars(module).values() if isinstance(each, Agent)]
    found = dict.fromkeys([*inside, *_by_module.get(name, []), *taken_in])
    return [each for each in found if modules.is_live(each.function)]


def _folder(start: Path | None) -> Path:
    try:
        return Path(os.path.abspath(start or Path.cwd()))  # noqa: PTH100 - links on the way up are kept
    except FileNotFoundError as error:
        raise DeclarationError("The working directory does not exist any more; change to one that does.") from error
