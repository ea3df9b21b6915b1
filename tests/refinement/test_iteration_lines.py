"""What is told of an iteration."""

from __future__ import annotations

from clrelion.refinement.iteration_lines import rank_lines


def test_a_column_for_each_of_a_few_ranks() -> None:
    found = rank_lines([{"store": 0.5, "iteration": 1.0}, {"store": 0.25, "accuracies": 0.125}])
    assert [line.split() for line in found] == [
        ["seconds", "by", "rank", "0", "1"],
        ["store", "0.500", "0.250"],
        ["iteration", "1.000", "0.000"],
        ["accuracies", "0.000", "0.125"],
    ]


def test_many_ranks_are_summed_up() -> None:
    found = rank_lines([{"store": float(rank)} for rank in range(9)])
    assert found[0].split()[-3:] == ["least", "mean", "most"]
    assert found[1].split() == ["store", "0.000", "4.000", "8.000"]
