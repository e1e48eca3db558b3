"""What is built from the tree, also from one without links, as a clone on Windows or an unpacked zip may be."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SMOKE = """
import sys
sys.path.insert(0, sys.argv[1])
import nanodistil
assert nanodistil.__file__.startswith(sys.argv[1]), nanodistil.__file__
print(nanodistil.pipeline("fill-mask", model="nanodistil-mini")("Hello I'm a [MASK] model.")[0]["token_str"])
"""


@pytest.fixture(scope="module")
def plain_tree(tmp_path_factory):
    """What is committed, its links as git writes them where there are none: as files that hold the target's name."""
    if subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("not a git checkout")
    tree = tmp_path_factory.mktemp("clone") / "tree"
    subprocess.run(["git", "-c", "core.symlinks=false", "clone", "-q", ROOT, tree], check=True)
    assert not (tree / "kernels").is_symlink()
    return tree


def built(tree, out, kind):
    """The archive of this kind, built from the tree without a network."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    if "No module named 'setuptools'" in done.stderr or "`project.license` must be valid" in done.stderr:
        pytest.skip("no setuptools as pyproject.toml asks for is installed (extra [dev])")
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.mark.sweep
def test_a_tree_without_links_builds_a_wheel_and_an_sdist_that_answer(plain_tree, tmp_path):
    """The wheel of the tree, and that of the sdist unpacked, have every file of the package, and fill in a blank."""
    wheel = built(plain_tree, tmp_path, "wheel")
    with tarfile.open(built(plain_tree, tmp_path, "sdist")) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in Debian's 3.11.2
        archive.extractall(tmp_path / "sdist", **safely)
    (tmp_path / "again").mkdir()
    (inner,) = (tmp_path / "sdist").iterdir()
    again = built(inner, tmp_path / "again", "wheel")

    listed = subprocess.run(
        ["git", "ls-files", "nanodistil"], cwd=plain_tree, capture_output=True, text=True, check=True
    )
    for path in (wheel, again):
        with zipfile.ZipFile(path) as archive:
            assert set(listed.stdout.split()) <= set(archive.namelist())
            assert not [n for n in archive.namelist() if n.startswith(("kernels", "weights", "tests"))]
            archive.extractall(path.with_suffix(""))
        run = [sys.executable, "-c", SMOKE, str(path.with_suffix(""))]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.strip() == "new", done.stderr
