"""The house: who may import whom, what must come without torch, and the names of the façade."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flow
import seqhdr

ROOTS = {"seqhdr": Path(seqhdr.__file__).parent, "flow": Path(flow.__file__).parent}

# Lowest first. A room imports only from rooms on lower rows, and from itself.
ROWS = (
    ("seqhdr.errors",),
    ("seqhdr.color", "flow"),
    ("seqhdr.media",),
    ("seqhdr.model",),
    ("seqhdr.quality", "seqhdr.classic"),
    ("seqhdr.train", "seqhdr.farm", "seqhdr.export"),
    ("seqhdr.pipeline",),
    ("seqhdr.api", "seqhdr.api_classic", "seqhdr.api_report", "seqhdr.api_train"),
    ("seqhdr.progress",),
    ("seqhdr.cli_options",),
    ("seqhdr.cli_classic", "seqhdr.cli_report", "seqhdr.cli_train"),
    ("seqhdr.cli",),
    ("seqhdr.__main__",),
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}


def modules() -> dict[str, Path]:
    found = {}
    for name, root in ROOTS.items():
        for path in sorted(root.rglob("*.py")):
            parts = [name, *path.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return "flow" if module.split(".")[0] == "flow" else ".".join(module.split(".")[:2])


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Our own modules that a file imports, as full module names; what only the type checker sees is left out."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and is_type_checking(child):
                continue
            if isinstance(child, ast.FunctionDef) and not inside_functions:
                continue
            yield child
            yield from walk(child)

    for node in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            # ``from seqhdr import api`` names a module, ``from seqhdr.api import run`` a thing inside one.
            names = [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ROOTS)


def test_the_walk_sees_the_imports() -> None:
    assert "seqhdr.media.shot" in set(imports(MODULES["seqhdr.api"]))
    assert "seqhdr.api" in set(imports(MODULES["seqhdr.cli"]))
    assert "seqhdr.api" not in set(imports(MODULES["seqhdr.cli"], inside_functions=False))
    assert "seqhdr.pipeline.verify" not in set(imports(MODULES["seqhdr.cli"]))


@pytest.mark.parametrize("module", [m for m in MODULES if m != "seqhdr"])
def test_a_room_imports_only_from_rows_below(module: str) -> None:
    room = room_of(module)
    assert room in LEVEL, f"{room} has no place in the house: give it a row"
    for imported in imports(MODULES[module]):
        other = room_of(imported)
        if other != room:
            assert other in LEVEL, f"{module} imports {imported}"
            assert LEVEL[other] < LEVEL[room], f"{module} imports {imported}"


def test_the_facade_imports_nothing_heavy_at_once() -> None:
    assert set(imports(MODULES["seqhdr"])) == {"seqhdr.errors"}


def test_flow_stands_alone() -> None:
    for module, path in MODULES.items():
        if room_of(module) == "flow":
            assert not [name for name in imports(path) if name.split(".")[0] != "flow"]


def test_flow_comes_in_through_one_door() -> None:
    doors = [m for m, p in MODULES.items() if m.startswith("seqhdr") and any(i.startswith("flow") for i in imports(p))]
    assert len(doors) == 1, f"flow is imported by {doors}"


def test_no_circles() -> None:
    graph = {module: {i for i in imports(path) if i != module} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way[way.index(module) :], module))
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return ran.stdout


LIGHT = (
    "seqhdr",
    "seqhdr.cli",
    "seqhdr.cli_report",
    "seqhdr.cli_train",
    "seqhdr.progress",
    "seqhdr.errors",
    "seqhdr.media.shot",
    "seqhdr.media.frames",
    "seqhdr.media.exr",
    "seqhdr.media.cuts",
    "seqhdr.media.inspect",
    "seqhdr.model.tiles",
    "seqhdr.quality.page",
    "seqhdr.quality.plots",
    "seqhdr.quality.thumbnails",
    "seqhdr.quality.viewer",
)


def test_what_a_farm_imports_comes_without_torch() -> None:
    code = f"""
import importlib, json, sys
heavy = []
for name in {LIGHT!r}:
    importlib.import_module(name)
    if "torch" in sys.modules:
        heavy.append(name)
        break
print(json.dumps(heavy))
"""
    assert json.loads(python(code)) == []


def test_help_comes_without_anything_that_is_slow_to_import() -> None:
    code = """
import sys
sys.argv = ["seqhdr", "--help"]
from seqhdr.cli import main
try:
    main()
finally:
    heavy = {"torch", "cv2", "numpy", "OpenImageIO", "PyOpenColorIO", "scenedetect"} & sys.modules.keys()
    print("HEAVY", sorted(heavy))
"""
    out = python(code)
    assert "Usage" in out
    assert "HEAVY []" in out


def test_the_facade_s_names() -> None:
    assert seqhdr.__all__ == sorted(seqhdr.__all__)
    assert dir(seqhdr) == seqhdr.__all__
    for name in seqhdr.__all__:
        assert getattr(seqhdr, name) is not None
    with pytest.raises(AttributeError, match="module 'seqhdr' has no attribute 'nonsense'"):
        _ = seqhdr.nonsense


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("seqhdr")])
def test_every_module_says_what_it_gives(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree)
    lists = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    for node in lists:
        names = ast.literal_eval(node.value)
        assert list(names) == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n)), module
