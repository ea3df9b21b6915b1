"""``make bench`` reads the Makefile's demo and the time tables of a log."""

from __future__ import annotations

import pytest

from clrelion.cli.parser import parse_refine
from tools import bench

LOG = """\
Auto-refine: Resolution= 27.321 Angstroms (no gain for 3 iter), current size 42 px
step                       seconds   share    calls
getImg                       0.022    2.4%        2
getDiff                      0.326   36.7%        8
others                       0.144   16.2%
total                        0.890
Estimated accuracy angles= 3.312 degrees; offsets= 2.190 Angstroms
getImg                       0.027    0.8%        2
others                       0.372   10.6%
total                        3.513
"""


def test_command_is_that_of_the_demo() -> None:
    options = parse_refine(["--o", "bench/run", *bench.demo_command()]).options
    assert options.particles_star == "examples/betagal/particles.star"
    assert options.symmetry == "D2"
    assert options.random_seed == 42
    assert options.device == "auto"


def test_rows_are_summed_over_iterations() -> None:
    rows = bench.rows_of(LOG)
    assert rows["getImg"] == pytest.approx(0.049)
    assert rows["getDiff"] == pytest.approx(0.326)
    assert rows["others"] == pytest.approx(0.516)
    assert rows["store"] == 0.0
    assert "total" not in rows
