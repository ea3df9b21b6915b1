"""What the wheel and the documentation hold."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_holds_every_kernel_template(tmp_path: Path) -> None:
    """Build the wheel with hatchling as it is installed here, without network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "clrelion"
    wanted = [*package.rglob("*.cl.mako"), *package.rglob("*.py"), package / "py.typed"]
    assert len(wanted) > 20
    assert {str(path.relative_to(ROOT)) for path in wanted} <= names


def test_table_of_options_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/options_table.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
