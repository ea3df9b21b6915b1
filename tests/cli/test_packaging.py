"""What wheel, sdist and recipe hold, and how they are numbered."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from clrelion.constants import VERSION

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, target: Path, kind: str) -> Path:
    """Build with hatchling as it is installed here, without network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = target.glob("clrelion-*")
    return made


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_wheel_holds_every_kernel_template(tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(build(ROOT, tmp_path, "wheel")).namelist())
    package = ROOT / "clrelion"
    wanted = [
        *package.rglob("*.cl.mako"), *package.rglob("*.py"), package / "py.typed",
        *package.glob("report/page.*"),
    ]  # fmt: skip
    assert len(wanted) > 20
    assert {str(path.relative_to(ROOT)) for path in wanted} <= names


def test_sdist_holds_what_a_packager_needs(tmp_path: Path) -> None:
    with tarfile.open(build(ROOT, tmp_path, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "Makefile",
        "mkdocs.yml", "conda/recipe.yaml", "tests/cli/test_packaging.py", "docs/index.md",
        "examples/betagal/particles.mrcs", "tools/try_wheel.sh", "clrelion/py.typed",
    }  # fmt: skip
    assert wanted <= names


def test_versions_follow_tags(tmp_path: Path) -> None:
    """A tagged commit has the tag's version; a clone without tags can be built, too."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    (clone / "clrelion").mkdir()
    (clone / "clrelion" / "__init__.py").write_text("")

    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        subprocess.run(command, cwd=clone, check=True, capture_output=True)

    def version(folder: str) -> str:
        return build(clone, tmp_path / folder, "wheel").name.split("-")[1]

    assert version("no_clone") == "0.1.0.dev0"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    assert version("no_tags") == "0.1.0.dev1"
    git("tag", "v1.2.3")
    assert version("tagged") == "1.2.3"
    git("commit", "-q", "--allow-empty", "-m", "y")
    assert version("later") == "1.2.4.dev1"


def test_version_is_that_of_the_installation() -> None:
    assert VERSION[0].isdigit()


def test_recipe_says_what_pyproject_says() -> None:
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    needed = {line.replace(" ", "") for line in recipe["requirements"]["run"]}
    assert set(project()["dependencies"]) <= needed
    assert needed - set(project()["dependencies"]) == {"python>=3.10", "pocl", "ocl-icd-system"}
    points = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert points == project()["scripts"]
    built_with = {line.replace(" ", "") for line in recipe["requirements"]["host"]}
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert set(system["requires"]) <= built_with


def test_table_of_options_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/options_table.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
