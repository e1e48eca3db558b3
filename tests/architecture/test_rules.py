"""The house rules, read off the syntax tree: who may import whom, and how long the reading path may be."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import READING_PATH

ROOT = Path(__file__).resolve().parent.parent.parent
HOUSE = ROOT / "nanodistil"
ROOMS = {"nanodistil": HOUSE, "kernels": HOUSE / "kernels", "weights": HOUSE / "weights"}


def files(room):
    """Python files of a room; those of the two rooms below are theirs."""
    return [
        p
        for p in sorted(ROOMS[room].rglob("*.py"))
        if not (room == "nanodistil" and p.relative_to(ROOMS[room]).parts[0] in ("kernels", "weights"))
    ]


def imported(path, top_level_only=False):
    """(module, name) for all that a file imports from a module; (module, None) for a module as a whole."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join([*here[: -node.level], *filter(None, [node.module])]) if node.level else node.module
            yield from ((module, alias.name) for alias in node.names)


def imports(path, top_level_only=False):
    """Modules a file imports, by their full names; what a name belongs to may be a module too."""
    found = list(imported(path, top_level_only))
    return {module for module, _ in found} | {f"{module}.{name}" for module, name in found if name}


@pytest.mark.parametrize("room", ["kernels", "weights"])
def test_low_rooms_know_neither_nanodistil_nor_each_other(room):
    for path in files(room):
        for module in imports(path):
            assert not f"{module}.".startswith("nanodistil.") or f"{module}.".startswith(f"nanodistil.{room}."), (
                f"{path}: {module}"
            )


@cache
def house():
    """What imports what, late imports and those for type checkers too: module -> modules."""
    names = {}
    for path in HOUSE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for one, path in names.items():
        found = ((f"{module}.{name}", module) for module, name in imported(path))
        graph[one] = {full if full in names else module for full, module in found} & names.keys() - {one}
    return graph


# Imports inside functions that close a circle, to be removed; nothing may be added.
LATE_CIRCLES = {
    ("nanodistil.cli.command", "nanodistil.cli"),
    ("nanodistil.training.finetune", "nanodistil.training.in_memory"),
}


def circle(graph):
    """The names of a circle, in order; None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return None


def test_imports_run_in_no_circle():
    """So there is a bottom to begin reading at."""
    straight = {one: {two for two in found if (one, two) not in LATE_CIRCLES} for one, found in house().items()}
    assert circle(straight) is None
    for one, two in LATE_CIRCLES:
        assert circle({**straight, one: {*straight[one], two}}), f"{one} -> {two} closes no circle: strike it out"


# Imports that run back up: old names of a folder, handed on from the one above. Nothing may be added.
BACK_UP = {("nanodistil.heads", "nanodistil.family.distilbert")}


def test_no_import_runs_back_up_between_folders():
    """A module that stands in no folder counts as one of its own."""

    def of_folders(without):
        graph = {}
        for one, found in house().items():
            for two in found:
                here, there = (".".join(module.split(".")[:2]) for module in (one, two))
                graph.setdefault(here, set()).update({there} - {here} if (one, two) not in without else ())
        return graph

    assert circle(of_folders(BACK_UP)) is None
    for edge in BACK_UP:
        assert circle(of_folders(BACK_UP - {edge})), f"{' -> '.join(edge)} runs in no circle: strike it out"


# Who may import whom among the rooms of kernels/.
BELOW = {
    "definitions": set(),
    "runtime": set(),
    "cpu": {"definitions", "runtime"},
    "gpu": {"definitions"},
    "instruments": {"definitions", "runtime", "cpu"},
}


def test_rooms_of_kernels_look_down_only():
    rooms = {path.name for path in ROOMS["kernels"].iterdir() if (path / "__init__.py").exists()}
    assert rooms == BELOW.keys()
    for room, below in BELOW.items():
        for path in (ROOMS["kernels"] / room).rglob("*.py"):
            reached = {module.split(".")[2] for module in imports(path) if module.startswith("nanodistil.kernels.")}
            assert reached <= below | {room}, path


def test_only_backend_reaches_for_kernels():
    for path in files("nanodistil"):
        names = imports(path)
        text = path.read_text(encoding="utf-8")
        if path.name != "backend.py":
            assert not any(n.startswith("nanodistil.kernels") for n in names), path
            assert "nanodistil.kernels." not in text.replace("nanodistil.kernels.*", ""), path


def test_the_library_does_not_know_its_command_line():
    for path in files("nanodistil"):
        if "cli" not in path.relative_to(ROOMS["nanodistil"]).parts and path.name != "__main__.py":
            assert not any(n.startswith("nanodistil.cli") for n in imports(path)), path


def test_model_does_not_know_its_backend():
    names = imports(ROOMS["nanodistil"] / "model.py")
    assert not any(n.split(".")[0] in ("numpy", "numba", "cupy") for n in names)
    text = (ROOMS["nanodistil"] / "model.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in ("numpy", "numba", "cupy")]


def test_only_verbs_and_lessons_reach_for_training_and_late():
    """Who answers does not pay for what trains."""
    for path in files("nanodistil"):
        room = path.relative_to(ROOMS["nanodistil"]).parts[0]
        if room != "training":
            late = room in ("cli", "lessons", "exercises", "page")  # where trials train, and scores have gradients
            names = imports(path, top_level_only=late)
            assert not any(n.startswith("nanodistil.training") for n in names), path


def test_fast_files_name_their_definitions():
    """A fast file's head quotes what it must compute, by a name that is there."""
    definitions = {
        path.name: {
            n.name
            for n in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(n, ast.FunctionDef | ast.ClassDef)
        }
        for path in (ROOMS["kernels"] / "definitions").glob("*.py")
    }
    quoted = 0
    for path in (ROOMS["kernels"] / "cpu").glob("*.py"):
        head = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for names, file in re.findall(r"(?:Definition: |; |;\n)([\w, ]+?) in (\w+\.py)", head):
            assert set(re.split(r", | and ", names)) <= definitions[file], (path, names)
            quoted += 1
    assert quoted >= 11


def test_kernels_take_few_arguments():
    """What travels together has a name: a Place, Sentences, QKV, ..."""
    for path in files("kernels"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                names = [name for name in names if name not in ("self", "typing_context")]
                assert len(names) <= 8, f"{path}: {node.name}({', '.join(names)})"


def test_numba_comes_late():
    """Kernels take its types and decorators from runtime/late.py; who needs more asks while compiling, in runtime/."""
    asking = {"late.py", "linking.py", "native.py"}
    for path in HOUSE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "numba" not in text or path.parent.name == "solutions":  # of exercises: nothing imports them
            continue
        at_once, ever = ({m.split(".")[0] for m in imports(path, top)} for top in (True, False))
        assert "numba" not in at_once, f"{path}: take it from runtime/late.py"
        assert "numba" not in ever or (path.parent.name == "runtime" and path.name in asking), path
        assert not re.search(r"""import_module\(["']numba""", text) or path.name == "late.py", path


def test_assembly_stands_in_one_file():
    """gpu/cuda/ptx.cuh is what the emulator of the tests replaces: assembly elsewhere would never be seen by it."""
    for path in sorted((ROOMS["kernels"] / "gpu" / "cuda").iterdir()):
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\basm\b", text) or path.name == "ptx.cuh", path
        assert set(re.findall(r"#include (.*)", text)) <= {f'"{p.name}"' for p in path.parent.glob("*.cuh")}, path


def test_no_catch_all_rooms():
    for room in ROOMS:
        assert not [p for p in files(room) if p.stem in ("utils", "util", "common", "helpers", "misc")]


def test_nothing_depends_on_the_links_at_the_top():
    """`kernels` and `weights` are there for the eye: a clone without links has two text files in their place."""
    for path in [*ROOT.rglob("*.py"), ROOT / "README.md", ROOT / "pyproject.toml"]:
        if ".venv" in path.parts or path == Path(__file__) or path.is_relative_to(ROOT / "kernels"):
            continue
        text = path.read_text(encoding="utf-8")
        for room in ("kernels", "weights"):
            assert not re.search(rf'ROOT / "{room}"|parents\[\d\] / "{room}|\]\({room}/', text), (path, room)


def test_the_reading_path_is_one_sitting():
    """Softmax, gelu and what attention is told included; 1,062 lines on 29 November 2026."""
    lines = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in READING_PATH}
    assert sum(lines.values()) < 1100, (sum(lines.values()), lines)


def test_lines_are_not_golfed():
    """The budget above is kept by saying less, not by longer lines."""
    for path in READING_PATH:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 120, f"{path}: {line}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
                if isinstance(body, list):
                    starts = [statement.lineno for statement in body]
                    assert len(starts) == len(set(starts)), f"{path}: two statements on a line"


IMPORT_PROBE = """
import sys
import nanodistil
heavy = [m for m in ("numpy", "numba", "cupy", "huggingface_hub", "safetensors", "torch") if m in sys.modules]
assert not heavy, heavy
nanodistil.DistilBertForMaskedLM, nanodistil.pipeline, nanodistil.DistilBertTokenizerFast
heavy = [m for m in ("numba", "cupy", "huggingface_hub", "torch") if m in sys.modules]
assert not heavy, heavy
"""

BLAS_IS_TOLD_FIRST = """
import sys
from importlib import import_module
from nanodistil.cli import VERBS, loading, main
for home in VERBS.values():
    import_module(home)
told = []
def tell(count):
    told.append((count, "numpy" in sys.modules))
    raise KeyboardInterrupt
loading.set_threads = tell
for line in "classify a", "fill-mask a", "embed a", "classify a --backend numpy --threads 3":
    assert main([*line.split(), "--quiet"]) == 130
assert told == [(1, False), (1, False), (1, False), (3, False)], told
"""

NO_NUMBA = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None  # importing either now fails
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "numba" else find(name, *a)
import nanodistil
print(nanodistil.pipeline("fill-mask", model="nanodistil-mini")("Hello I'm a [MASK] model.")[0]["token_str"])
"""


EVERY_KERNEL = """
import sys
from importlib import import_module
from pathlib import Path
for path in sorted(Path("nanodistil/kernels").rglob("*.py")):
    if path.parent.name in ("cpu", "instruments", "runtime"):
        import_module(".".join(path.with_suffix("").parts))
assert "llvmlite" in sys.modules and "numba" not in sys.modules
"""


@pytest.mark.skipif(find_spec("numba") is None, reason="is about when it is imported")
def test_importing_kernels_imports_no_numba():
    """Only the first compilation does: a type asked for while a module is read would cost each command 0.2 s."""
    result = subprocess.run([sys.executable, "-c", EVERY_KERNEL], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr


with_numba = pytest.mark.skipif(find_spec("numba") is None, reason="is about what stands beside compiled kernels")


@pytest.mark.parametrize("probe", [IMPORT_PROBE, pytest.param(BLAS_IS_TOLD_FIRST, marks=with_numba), NO_NUMBA])
def test_imports_are_lazy_and_numba_is_optional(probe):
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
