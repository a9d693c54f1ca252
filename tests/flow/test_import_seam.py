"""Another distribution may have installed a package called ``flow``: it is noticed, and the error says what to do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flow
from seqhdr.model import motion

NAMES = ("DisFlow", "FlowEstimator", "RaftFlow", "occluded", "rotation_flow", "view_rays", "warp")
IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from seqhdr.errors import UsageError
try:
    import seqhdr.model.motion
except ImportError as error:
    print(isinstance(error, UsageError), error.exit_code, "torch" in sys.modules)
    print(error)
"""


def import_with(folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", IMPORT, folder], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def fake(folder: Path, text: str) -> Path:
    place = folder / "flow" / "__init__.py"
    place.parent.mkdir()
    place.write_text(text)
    return place


def test_ours_passes_through() -> None:
    for name in NAMES:
        assert getattr(motion, name) is getattr(flow, name)
    assert flow.PACKAGE_ID == "seqhdr-flow"


def test_a_foreign_package_is_refused(tmp_path: Path) -> None:
    place = fake(tmp_path, "def warp(image, flow_px):\n    return image\n")
    kind, *message = import_with(tmp_path)
    assert kind == "True 2 False"
    assert len(message) == 1
    assert str(place) in message[0]
    assert "uninstall or rename it" in message[0]
    assert "pip install --force-reinstall seqhdr" in message[0]


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    fake(tmp_path, "").unlink()
    # A folder hides nothing as long as the real package is found, so take that away.
    code = IMPORT.replace("from seqhdr.errors", "import seqhdr\nsys.meta_path.insert(0, Only())\nfrom seqhdr.errors")
    finder = (
        "import importlib.machinery\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flow':\n"
        "            return importlib.machinery.PathFinder.find_spec(name, [sys.argv[1]])\n"
    )
    command = [sys.executable, "-c", code.replace("import sys\n", "import sys\n" + finder, 1), str(tmp_path)]
    kind, message = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert kind == "True 2 False"
    assert str(tmp_path / "flow") in message


def test_another_version_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    fake(
        tmp_path,
        "PACKAGE_ID = 'seqhdr-flow'\nDisFlow = FlowEstimator = RaftFlow = occluded = warp = view_rays = None\n",
    )
    kind, message = import_with(tmp_path)
    assert kind == "True 2 False"
    assert "has no rotation_flow;" in message


def test_a_package_that_does_not_import_is_named(tmp_path: Path) -> None:
    fake(tmp_path, "import surely_not_installed\n")
    kind, message = import_with(tmp_path)
    assert kind == "True 2 False"
    assert "cannot be imported (No module named 'surely_not_installed')" in message


def imports_flow(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if any(name.split(".")[0] == "flow" for name in names):
            return True
    return False


def test_there_is_one_seam() -> None:
    package = Path(motion.__file__).parents[1]
    assert [p.name for p in sorted(package.rglob("*.py")) if imports_flow(p)] == ["motion.py"]


def test_flow_comes_without_torchvision() -> None:
    code = "import sys, flow; print(hasattr(flow, 'RaftFlow'), 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_flow_stands_alone() -> None:
    for path in Path(flow.__file__).parent.glob("*.py"):
        assert "seqhdr" not in {
            (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
        }


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_exported(name: str) -> None:
    assert name in flow.__all__
    assert name in motion.__all__
