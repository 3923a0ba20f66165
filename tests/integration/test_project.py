"""Projects: finding proofq.toml, reading it, importing its modules; every refusal with file and line."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Provider
from proofq.workers import modules, project
from proofq.workers.errors import BadInput, DeclarationError
from proofq.workers.project import Project

NOTE = """
[agents.note]
command = ["cp", "--", "{doc}", "{out}"]
inputs = { doc = "str", out = "str" }
proofs = [{ kind = "file", path = "{out}" }]
"""
AGENT = """
import proofq

@proofq.agent(unproven=True)
def NAME(ctx, doc: str):
    return {"from": __file__}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files of a project by path and text, and give its folder."""

    def write(toml: str | None = None, **files: str) -> Path:
        if toml is not None:
            (tmp_path / "proofq.toml").write_text(toml)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return write


def _load(folder: Path, **options: Any) -> Project:
    return project.load(folder, environ={}, **options)


# --- finding -------------------------------------------------------------------------------------------------------


def test_found_upwards(write: Write) -> None:
    """The nearest proofq.toml upwards is the project's, from any folder below."""
    root = write("")
    below = root / "a" / "b"
    below.mkdir(parents=True)
    assert project.find(below, {}) == root / "proofq.toml"
    (below / "proofq.toml").write_text("")
    assert project.find(below, {}) == below / "proofq.toml"
    assert _load(below).root == below


def test_named_by_the_variable(write: Write, tmp_path_factory: pytest.TempPathFactory) -> None:
    """PROOFQ_CONFIG wins over what is found, relative to the working directory."""
    root = write(None, other_DOT_toml=NOTE)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "proofq.toml").write_text("")
    assert project.find(elsewhere, {"PROOFQ_CONFIG": str(root / "other.toml")}) == root / "other.toml"
    found = project.load(root, environ={"PROOFQ_CONFIG": "other.toml"})
    assert (found.root, found.agents["note"].source) == (root, "other.toml:2")


def test_the_variable_names_no_file(tmp_path: Path) -> None:
    """A PROOFQ_CONFIG that names nothing is refused, not passed over."""
    with pytest.raises(DeclarationError, match=r"PROOFQ_CONFIG names .*nope, which is no file"):
        project.find(tmp_path, {"PROOFQ_CONFIG": "nope"})


def test_without_a_file(tmp_path: Path) -> None:
    """No proofq.toml: the folder is the project, the defaults hold, and there are no agents."""
    found = _load(tmp_path, import_modules=True)
    assert (found.root, found.config_path, found.agents, found.settings.slots) == (tmp_path, None, {}, 8)
    assert found.state_dir == tmp_path / ".proofq"


# --- reading -------------------------------------------------------------------------------------------------------


def test_everything_is_read(write: Write) -> None:
    """Settings, providers and command agents of one file."""
    root = write(
        "[worker]\nslots = 3\n[providers.anthropic]\nkey_env = 'ANTHROPIC_API_KEY'\n" + NOTE + "provider = 'anthropic'"
    )
    found = project.load(root, environ={"PROOFQ_DRAIN_S": "5"}, options={"meta_slots": 0})
    assert (found.settings.slots, found.settings.drain_s, found.settings.meta_slots) == (3, 5.0, 0)
    assert found.providers == {"anthropic": Provider("anthropic", "ANTHROPIC_API_KEY")}
    assert found.provider("openai") == Provider("openai")
    assert found.agents["note"].source == "proofq.toml:6"
    assert found.agents["note"].command == ("cp", "--", "{doc}", "{out}")


REFUSED: list[tuple[str, str]] = [
    ("[agents.note", "proofq.toml:1: not valid TOML: "),
    ("a = 1\na = 2", "proofq.toml:2: not valid TOML: "),
    ("x = [\n\n", "proofq.toml:3: not valid TOML: "),
    (
        "\n[agent.note]",
        "proofq.toml:2: unknown key 'agent'; known are modules, worker, retention, incidents, providers, agents",
    ),
    ("agents = 5", "proofq.toml:1: agents is a table; write [agents]"),
    ("[agents]\nnote = 5", "proofq.toml:2: agent note: an agent is a table; write [agents.note]"),
    ("[worker]\n\nslot = 1", "proofq.toml:3: [worker]: unknown key 'slot' of [worker]; known are slots, "),
    ("[worker]\nslots = 0", "proofq.toml:2: [worker]: slots is 0; it is a whole number from 1"),
    ("worker = 1", "proofq.toml:1: worker is a table"),
    ("modules = 'a'", "proofq.toml:1: modules is a list of names"),
    ("[providers.a]\ncooldown_s = -1", "proofq.toml:2: provider a: cooldown_s is -1"),
    ("[providers]\na = 1", "proofq.toml:2: provider a: a provider is a table"),
    (NOTE + "timeout = 5", "proofq.toml:6: agent note: unknown key 'timeout' of this agent; did you mean timeout_s?"),
    (NOTE + "\ntimeout_s = -5", "proofq.toml:7: agent note: timeout_s is -5; it is a number of seconds"),
    (NOTE + "timeout_s = inf", "proofq.toml:6: agent note: timeout_s is inf"),
    (NOTE + "timeout_s = 2020-01-01", "proofq.toml:6: agent note: timeout_s is datetime.date(2020, 1, 1)"),
    (NOTE + "function = 'a:b'", "proofq.toml:6: agent note: unknown key 'function' of this agent; a function decl"),
    (NOTE + "name = 'x'", "proofq.toml:6: agent note: unknown key 'name'"),
    (NOTE + "adapter = 'gemini'", "proofq.toml:6: agent note: adapter 'gemini' is not known; did you mean mini or gen"),
    (NOTE + "[agents.note.env]\nA = 'b'\nB = '{nope}'", "proofq.toml:8: agent note: env.B: unknown placeholder {nope}"),
    (NOTE + "[agents.NOTE]\nunproven = true\ncommand = ['a']", "proofq.toml:6: agent NOTE: already declared at "),
    (NOTE.replace('"{out}" }]', '"{o}" }]'), "proofq.toml:5: agent note: proof 1: unknown placeholder {o}"),
    (NOTE.replace('"str" }', '"text" }'), "proofq.toml:4: agent note: input out is 'text'"),
    (NOTE.replace("proofs", "# proofs"), "proofq.toml:2: agent note: it has no proofs"),
    (NOTE.replace("agents.note", 'agents."a b"'), "proofq.toml:2: agent 'a b': the name of this agent is broken"),
    (
        NOTE.replace("proofs", "# proofs")
        + "[[agents.note.proofs]]\nkind='json'\n\n"
        + "[[agents.note.proofs]]\nkind='http'",
        "proofq.toml:10: agent note: proof 2: a http proof is not built yet",
    ),
    (
        NOTE.replace('"{doc}", "{out}"]', '"{doc}",\n  "{out}",\n  "{x}"]'),
        "proofq.toml:5: agent note: command[4]: unknown placeholder {x}",
    ),
    (
        "[agents.a]\nunproven = true\ncommand = ['a']\ninputs_schema = 'nope.json'",
        "proofq.toml:4: agent a: inputs_schema: there is no file ",
    ),
]


@pytest.mark.parametrize(("toml", "sentence"), REFUSED)
def test_refused(write: Write, toml: str, sentence: str) -> None:
    """Everything refused is refused with the line it stands in."""
    with pytest.raises(DeclarationError) as caught:
        _load(write(toml))
    assert str(caught.value).startswith(sentence)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """No UTF-8 has its line; a folder called proofq.toml is no project."""
    (tmp_path / "proofq.toml").write_bytes(b"[worker]\nslots = 1 # \xff\n")
    with pytest.raises(DeclarationError, match=r"proofq\.toml:2: not UTF-8"):
        _load(tmp_path)
    (tmp_path / "proofq.toml").unlink()
    (tmp_path / "proofq.toml").mkdir()
    assert project.find(tmp_path, {}) != tmp_path / "proofq.toml"


def test_a_bad_variable_is_no_fault_of_the_file(write: Write) -> None:
    """A bad PROOFQ_* variable is named as what it is."""
    with pytest.raises(BadInput, match=r"^PROOFQ_SLOTS: slots is 'x'"):
        project.load(write(NOTE), environ={"PROOFQ_SLOTS": "x"})


# --- schemas in files ----------------------------------------------------------------------------------------------

SCHEMA = '{"type": "object", "properties": {"doc": {"type": "string"}}, "required": ["doc"]}'


def test_schemas_are_read_when_declared(write: Write) -> None:
    """Schemas of inputs and proofs that are named by path are read in, relative to the project or to a fixed cwd."""
    root = write(
        """
        [agents.a]
        command = ["a", "{doc}"]
        inputs_schema = "in.json"
        cwd = "{project}/deep"
        proofs = [{ kind = "json", schema = "out.json" }, { kind = "json", schema = "{project}/in.json" }]
        """,
        in_DOT_json=SCHEMA,
        deep__out_DOT_json='{"const": 1}',
        out_DOT_json='{"const": 2}',
    )
    spec = _load(root).agents["a"]
    assert spec.inputs_schema == json.loads(SCHEMA)
    assert [proof.options["schema"] for proof in spec.proofs] == [{"const": 1}, json.loads(SCHEMA)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"type": "object", "type": "object"}', "s.json: the key 'type' stands twice in one object"),
        ('{"a": NaN}', "s.json: NaN is no JSON number"),
        ("{} {}", "s.json: not one JSON document: Extra data"),
        ('{"type": "objekt"}', "s.json: not a valid JSON Schema at type"),
        ('{"$ref": "https://example.org/x"}', "s.json: $ref: 'https://example.org/x' is outside this schema"),
        ("[]", "s.json: a schema is an object"),
        ('{"title": "' + "x" * 300_000 + '"}', "s.json: it is longer than 262144 bytes"),
    ],
)
@pytest.mark.parametrize("key", ["inputs_schema", "schema"])
def test_schema_files_are_read_strictly(write: Write, key: str, text: str, sentence: str) -> None:
    """A file that is not one strict, valid, self-contained schema is refused with its name."""
    said = 'proofs = [{ kind = "json", schema = "s.json" }]' if key == "schema" else 'inputs_schema = "s.json"'
    root = write(f'[agents.a]\nunproven = true\ncommand = ["a"]\n{said}\n', s_DOT_json=text)
    with pytest.raises(DeclarationError) as caught:
        _load(root)
    assert str(caught.value).startswith("proofq.toml:4: agent a: ")
    assert sentence in str(caught.value)


def test_a_task_does_not_choose_the_schema(write: Write) -> None:
    """A schema that an input or the workdir decides would be one the agent can write."""
    root = write('[agents.a]\ncommand = ["a"]\nproofs = [{ kind = "json", schema = "{workdir}/s.json" }]')
    with pytest.raises(DeclarationError, match=r"proofq\.toml:3: agent a: proof 1: schema: the path of a "):
        _load(root)


# --- modules -------------------------------------------------------------------------------------------------------


def test_modules_declare_agents(write: Write) -> None:
    """Agents of modules by import path and by file, two files of one name, a package and what it imports."""
    root = write(
        'modules = ["flat", "a/same.py", "./b/same.py", "pack"]',
        flat_DOT_py=AGENT.replace("NAME", "one"),
        a__same_DOT_py=AGENT.replace("NAME", "two"),
        b__same_DOT_py=AGENT.replace("NAME", "three"),
        pack__init_DOT_py="",
        helper_DOT_py=AGENT.replace("NAME", "five"),
    )
    (root / "pack" / "__init__.py").write_text("import helper\nfrom . import inner\n")
    (root / "pack" / "inner.py").write_text(AGENT.replace("NAME", "four"))
    assert _load(root).agents == {}
    found = _load(root, import_modules=True)
    assert {name: spec.source for name, spec in found.agents.items()} == {
        "one": "flat.py:4",
        "two": "a/same.py:4",
        "three": "b/same.py:4",
        "four": "pack/inner.py:4",
        "five": "helper.py:4",
    }
    assert {name: spec.function for name, spec in found.agents.items() if name in ("one", "three")} == {
        "one": "flat:one",
        "three": "b/same.py:three",
    }
    assert found.functions["three"](None, "x") == {"from": str(root / "b/same.py")}
    again = _load(root, import_modules=True)
    assert (again.agents, dict(again.functions)) == (found.agents, dict(found.functions))
    assert project.preload(json.loads(json.dumps(found.preload_argument()))) == dict(found.functions)


def test_two_projects_in_one_process(tmp_path: Path) -> None:
    """Modules of one name in two projects are told apart."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "proofq.toml").write_text('modules = ["same_named"]')
        (tmp_path / name / "same_named.py").write_text(AGENT.replace("NAME", name))
    assert list(_load(tmp_path / "first", import_modules=True).agents) == ["first"]
    assert list(_load(tmp_path / "second", import_modules=True).agents) == ["second"]


BROKEN: list[tuple[str, str]] = [
    ("1 / 0", "proofq.toml:2: {root}/broken.py:3: importing ENTRY failed: ZeroDivisionError: division by zero"),
    ("raise SystemExit('no')", "proofq.toml:2: {root}/broken.py:3: importing ENTRY failed: SystemExit: no"),
    ("def f(:", "proofq.toml:2: {root}/broken.py:3: importing ENTRY failed: SyntaxError: "),
    ("import nowhere_to_be_found", "importing ENTRY failed: ModuleNotFoundError: No module named 'nowhere_to"),
    (
        "import proofq\n@proofq.agent(timeout=1)\ndef f(ctx): ...",
        "proofq.toml:2: {root}/broken.py:4: agent f: unknown key 'timeout' of this agent; did you mean timeout_s?",
    ),
    (
        "import proofq\n@proofq.agent(unproven=True, cwd='/')\nasync def f(ctx): ...",
        "{root}/broken.py:4: agent f: its attempts share a process",
    ),
    ("import proofq\nproofq.proofs.http('x')", "importing ENTRY failed: NotBuilt: A http proof is not built yet"),
]


@pytest.mark.parametrize("entry", ["broken", "broken.py"])
@pytest.mark.parametrize(("code", "sentence"), BROKEN)
def test_modules_that_cannot_be_imported(write: Write, entry: str, code: str, sentence: str) -> None:
    """Whatever a module raises is told with its file, its line and the cause; nothing half-imported stays."""
    root = write(f'\nmodules = ["{entry}"]', broken_DOT_py="#\n#\n" + code)
    for _again in range(2):
        with pytest.raises(DeclarationError) as caught:
            _load(root, import_modules=True)
        assert sentence.format(root=root).replace("ENTRY", entry) in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("nope", "proofq.toml:1: module nope is not found in "),
        ("nope.py", "proofq.toml:1: nope.py is no file in "),
        ("a b", "proofq.toml:1: 'a b' is no module; write an import path (my_agents) or a file (agents/a.py)"),
        ("", "proofq.toml:1: '' is no module"),
        ("deep/", "proofq.toml:1: deep/ is no file in "),
        ("queue", "proofq.toml:1: the module name queue is taken by "),
        ("sys", "proofq.toml:1: the module name sys is taken by Python itself"),
    ],
)
def test_modules_that_are_none(write: Write, entry: str, sentence: str) -> None:
    """A module that is not there, or whose name is Python's, is refused with the line that names it."""
    root = write(f'modules = ["{entry}"]', deep__x_DOT_py="", queue_DOT_py="", sys_DOT_py="")
    with pytest.raises(DeclarationError) as caught:
        _load(root, import_modules=True)
    assert str(caught.value).startswith(sentence)
    assert sys.modules["queue"].__file__ != str(root / "queue.py")


def test_one_agent_declared_twice(write: Write) -> None:
    """An agent of the file and one of a module may not have one name."""
    root = write('modules = ["twice.py"]\n' + NOTE, twice_DOT_py=AGENT.replace("NAME", "Note"))
    with pytest.raises(DeclarationError, match=r"twice\.py:4: agent Note: already declared at proofq\.toml:3 \(as"):
        _load(root, import_modules=True)


def test_python_proofs_are_looked_up(write: Write) -> None:
    """A python proof is found in the project by import path or file; one that is not there is refused."""
    root = write(
        """
        [agents.a]
        command = ["a"]
        proofs = [{ kind = "python", function = "proof_module:holds" }, { kind = "python", function = "p/q.py:holds" }]
        [agents.b]
        command = ["a"]
        proofs = [{ kind = "python", function = "proof_module:nope" }]
        """,
        proof_module_DOT_py="def holds(facts): return 1",
        p__q_DOT_py="def holds(facts): return 2",
    )
    assert _load(root).agents["b"].proofs[0].options == {"function": "proof_module:nope"}
    with pytest.raises(DeclarationError, match=r"proofq\.toml:5: agent b: proof_module has no function nope"):
        _load(root, import_modules=True)
    assert modules.resolve("proof_module:holds", root)(None) == 1
    assert modules.resolve("p/q.py:holds", root)(None) == 2


def test_a_module_may_print(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """What a module prints while it is imported does not get into a command's stdout."""
    _load(write('modules = ["loud.py"]', loud_DOT_py="print('hello')"), import_modules=True)
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("in_front", [False, True])
def test_a_project_shadows_nothing_of_ours(write: Write, in_front: bool) -> None:
    """Files of the project called like modules of proofq, of Python or of its libraries replace none of them."""
    trap = "raise SystemExit('a file of the project was imported instead')"
    names = ["workers", "policies", "queue", "logging", "jsonschema", "redis", "referencing", "click", "rq", "types"]
    root = write('modules = ["mine"]\n' + NOTE, mine_DOT_py=AGENT.replace("NAME", "mine"))
    for name in names:
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(trap)
    (root / "proofq.py").write_text(trap)
    code = f"""
import sys
from proofq.workers import project
if {in_front}:
    sys.path.insert(0, {str(root)!r})
print(*project.preload({{"root": {str(root)!r}, "config_path": {str(root / "proofq.toml")!r}}}))
import {", ".join(name for name in names if name not in ("workers", "policies"))}
import proofq.workers.connection
assert sys.path.index({str(root)!r}) == len(sys.path) - 1, sys.path
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
