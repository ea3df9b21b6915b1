"""The templates for Slurm: valid shell, RELION's variables, commands that clrelion understands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from clrelion.cli.parser import parse_refine
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.placement import device_of_rank

FOLDER = Path(__file__).resolve().parents[2] / "tools" / "slurm"
TEMPLATES = sorted(FOLDER.iterdir())
COMMAND = "clrelion_refine --i a.star --ref b.mrc --o External/job001/run --pipeline_control E/"
# What RELION's GUI puts in (conventions of RELION_QSUB_TEMPLATE).
VALUES = {
    "name": "External/job001/", "outfile": "External/job001/run.out", "threads": "6",
    "errfile": "External/job001/run.err", "queue": "gpu", "extra1": "2", "extra2": "4",
    "command": COMMAND,
}  # fmt: skip


def filled(template: Path) -> str:
    """Template with values in the places that are to be changed."""
    text = template.read_text(encoding="utf-8")
    for name, value in VALUES.items():
        text = text.replace(f"XXX{name}XXX", value)
    return re.sub(r"<([^<>\n ]+)>", r"\1", text)


def started(template: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Run a template with a stand-in for srun; give srun's options, and the command it starts."""
    stand_in = folder / "srun"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    script = folder / template.name
    script.write_text(filled(template))
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    environment |= {"SLURM_CPUS_PER_TASK": "8", "TMPDIR": str(folder)}
    done = subprocess.run(
        ["bash", str(script)], env=environment, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    first = next(i for i, word in enumerate(words) if word.startswith("clrelion"))
    return words[:first], words[first:]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_template(template: Path, tmp_path: Path) -> None:
    assert "XXX" not in filled(template)
    options, command = started(template, tmp_path)
    assert "--kill-on-bad-exit=1" in options
    parsed = parse_refine(command[1:], command[0]).options
    assert parsed.particles_star
    assert parsed.output_root
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", filled(template), re.MULTILINE))
    if "ntasks-per-node" in directives:
        assert directives["ntasks-per-node"] == directives["gpus-per-node"]
        assert int(directives["nodes"]) >= 1
    else:
        ranks = int(directives["ntasks"])
        taken = []
        for rank in range(ranks):
            comm = Communicator()
            comm.rank, comm.size, comm.local_rank, comm.local_size = rank, ranks, rank, ranks
            taken.append(device_of_rank(parsed.device, comm))
        assert taken == [f"gpu:{i}" for i in range(int(directives["gpus-per-node"]))] + ["cpu"]
