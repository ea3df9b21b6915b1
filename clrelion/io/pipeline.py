"""RELION's pipeline files: job markers, the abort request and the list of output nodes."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from clrelion.errors import AbortRequested
from clrelion.io.star_writer import StarTable, write_star

_ABORT_NOW = "RELION_JOB_ABORT_NOW"
_SUCCESS = "RELION_JOB_EXIT_SUCCESS"
_FAILURE = "RELION_JOB_EXIT_FAILURE"
_ABORTED = "RELION_JOB_EXIT_ABORTED"
_OUTPUT_NODES = "RELION_OUTPUT_NODES.star"


_NODE_NUMBERS = (
    # (words that the label has, number): the first that fits
    (("DensityMap", "halfmap"), 10),
    (("DensityMap", "postprocess"), 11),
    (("DensityMap",), 6),
    (("Mask3D",), 7),
    (("ParticleGroupMetadata",), 3),
    (("OptimiserData",), 9),
    (("ProcessData", "postprocess"), 14),
)
_UNKNOWN_NODE = 99


def node_number(label: str) -> int:
    """Number that RELION 3.1 has for a type of node, e.g. 6 for a 3D reference."""
    words = label.split(".")
    fitting = (number for needed, number in _NODE_NUMBERS if set(needed) <= set(words))
    return next(fitting, _UNKNOWN_NODE)


class PipelineControl:
    """Marker files of a job started by RELION's pipeline (``--pipeline_control DIR/``).

    Parameters
    ----------
    directory
        The job's folder; None (no ``--pipeline_control``) makes every method do nothing.

    Notes
    -----
    Specification E 6.1; conventions of RELION's GUI.
    """

    def __init__(self, directory: str | os.PathLike[str] | None) -> None:
        self._directory = Path(directory) if directory else None

    def start(self) -> None:
        """Remove markers of an earlier run, which the GUI would take for this one's."""
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            for name in (_ABORT_NOW, _SUCCESS, _FAILURE, _ABORTED):
                (self._directory / name).unlink(missing_ok=True)

    def check_abort(self) -> None:
        """Stop if the user asked for it.

        Raises
        ------
        AbortRequested
            ``RELION_JOB_ABORT_NOW`` lies in the job's folder.
        """
        if self._directory is not None and (self._directory / _ABORT_NOW).exists():
            raise AbortRequested(
                f"{self._directory / _ABORT_NOW}: the job was asked to stop; "
                "it can be continued from its last optimiser file"
            )

    def mark_success(self) -> None:
        """Tell the pipeline that the job is done."""
        self._mark(_SUCCESS)

    def mark_failure(self) -> None:
        """Tell the pipeline that the job failed."""
        self._mark(_FAILURE)

    def mark_aborted(self) -> None:
        """Tell the pipeline that the job stopped on request, which is thereby dealt with."""
        if self._directory is not None:
            (self._directory / _ABORT_NOW).unlink(missing_ok=True)
        self._mark(_ABORTED)

    def write_output_nodes(self, nodes: Iterable[tuple[str, str]]) -> None:
        """Write ``RELION_OUTPUT_NODES.star``.

        Parameters
        ----------
        nodes
            File and type label, such as ``DensityMap.mrc.relion.class3d``. RELION reads labels
            since 4.0; the numbers of 3.1 are written beside them.
        """
        pairs = list(nodes)
        if self._directory is None or not pairs:
            return
        files, labels = (list(column) for column in zip(*pairs, strict=True))
        table = StarTable(
            "output_nodes",
            {
                "rlnPipeLineNodeName": files,
                "rlnPipeLineNodeTypeLabel": labels,
                "rlnPipeLineNodeType": np.array([node_number(label) for label in labels]),
            },
        )
        write_star(self._directory / _OUTPUT_NODES, [table])

    def _mark(self, name: str) -> None:
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / name).touch()
