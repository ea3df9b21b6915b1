"""Tables of a benchmark, for people."""

from __future__ import annotations

from typing import Any

from clrelion.bench.ceilings import Ceilings
from clrelion.bench.ledger import IterationRecord, KernelSum
from clrelion.device.memory import format_bytes

_ROWS = (
    *("getImg", "getDiff", "convert", "store", "set-up"),
    *("accuracies", "maximization", "others"),
)


def format_table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown table: first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths))
    return "\n".join([line(head), rule + "|", *(line(row) for row in rows)])


def iteration_table(records: list[IterationRecord]) -> str:
    """Seconds of each row of each iteration; the first record is the set-up."""
    more = sorted({row for record in records for row in record.rows} - set(_ROWS))
    names = [*_ROWS[:-1], *more, "others"]
    head = ["iteration", *names, "expectation", "total", "launches", "copies", "to host"]
    rows = []
    for i, record in enumerate(records):
        rows.append(_iteration_row("start" if i == 0 else str(i), record, names))
    later = records[2:] or records[1:]
    if later:
        rows.append(_iteration_row("mean of 2..", _mean(later), names))
    return format_table(head, rows)


def _iteration_row(label: str, record: IterationRecord, names: list[str]) -> list[str]:
    cells = [f"{record.rows.get(name, 0.0):.3f}" for name in names]
    return [
        label, *cells, f"{record.expectation_seconds:.3f}", f"{record.seconds:.3f}",
        str(record.launches), str(record.transfers), format_bytes(record.to_host_bytes),
    ]  # fmt: skip


def _mean(records: list[IterationRecord]) -> IterationRecord:
    n = len(records)
    rows: dict[str, float] = {}
    for record in records:
        for name, seconds in record.rows.items():
            rows[name] = rows.get(name, 0.0) + seconds / n
    return IterationRecord(
        seconds=sum(r.seconds for r in records) / n,
        rows=rows,
        launches=round(sum(r.launches for r in records) / n),
        transfers=round(sum(r.transfers for r in records) / n),
        to_host_bytes=round(sum(r.to_host_bytes for r in records) / n),
    )


def sum_kernels(records: list[IterationRecord]) -> dict[str, KernelSum]:
    """Sums over all iterations, the longest first."""
    total: dict[str, KernelSum] = {}
    for record in records:
        for name, entry in record.kernels.items():
            into = total.setdefault(name, KernelSum())
            into.seconds += entry.seconds
            into.launches += entry.launches
            into.flops += entry.flops
            into.n_bytes += entry.n_bytes
    return dict(sorted(total.items(), key=lambda item: -item[1].seconds))


def kernel_table(kernels: dict[str, KernelSum], ceilings: Ceilings) -> str:
    """Device time, launches and rates of each kernel."""
    rows = []
    for name, entry in kernels.items():
        if entry.seconds <= 0:
            rows.append([name, "-", str(entry.launches), *["-"] * 5])
            continue
        gflops, gbs = 1e-9 * entry.flops / entry.seconds, 1e-9 * entry.n_bytes / entry.seconds
        counted = entry.flops > 0
        rows.append([
            name, f"{entry.seconds:.4f}", str(entry.launches),
            f"{1e6 * entry.seconds / entry.launches:.0f}",
            f"{gflops:.1f}" if counted else "-",
            f"{100 * gflops / _peak_gflops(name, ceilings):.1f}" if counted else "-",
            f"{gbs:.1f}", f"{100 * gbs / ceilings.copy_gbs:.1f}",
        ])  # fmt: skip
    head = ["kernel", "device s", "launches", "us each", "GFLOP/s", "% of peak", "GB/s",
            "% of copy"]  # fmt: skip
    return format_table(head, rows)


def _peak_gflops(kernel: str, ceilings: Ceilings) -> float:
    """The ceiling of a kernel: multiply-adds, or three products of halves on tensor cores."""
    if kernel.endswith("_tensor") and ceilings.tensor_gflops is not None:
        return ceilings.tensor_gflops / 3
    return ceilings.fma_gflops


def page(results: dict[str, Any], ceilings: Ceilings, records: dict[str, Any]) -> str:
    """Everything as one Markdown page.

    Parameters
    ----------
    results
        What goes into the JSON file: ``device``, ``date``, and by workload its ``summary``.
    ceilings
        Of the device.
    records
        Iteration records by workload.
    """
    parts = [
        f"# {results['device']}, {results['date']}",
        f"clrelion {results['version']}, driver {results['driver']}, precision "
        f"{results['precision']}. Ceilings measured in this run: {ceilings.text()}.",
    ]
    for name, found in records.items():
        summary = results["workloads"][name]["summary"]
        parts += [
            f"## {name}",
            f"{summary['iterations']} iterations in {summary['seconds']:.1f} s, resolution "
            f"{summary['resolution_angst']:.2f} A; device memory "
            f"{format_bytes(summary['device_bytes'])}, host memory "
            f"{format_bytes(summary['host_bytes'])}.",
            "Seconds:",
            iteration_table(found),
            "Kernels, all iterations (bytes: arguments once, unless clrelion/bench/work.py knows "
            "better):",
            kernel_table(sum_kernels(found), ceilings),
        ]
    return "\n\n".join(parts) + "\n"
