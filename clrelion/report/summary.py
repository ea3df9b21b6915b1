"""The page ``<root>_report.html``: what came out of a run, for a browser, in one file."""

import base64
import html
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.io.atomic import replacing
from clrelion.report.run_record import IterationRecord, read_run

logger = logging.getLogger(__name__)

_NOT_ESTIMATED = 999.0

_STYLE = """
body { font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 0.9em; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.7em; text-align: right; }
img { max-width: 100%; }
"""


def make_report(root: str) -> Path:
    """Draw a run and write its page.

    Parameters
    ----------
    root
        Output root (``--o``) of the run; only its files are read.

    Returns
    -------
    pathlib.Path
        ``<root>_report.html``, which holds its figures; they are also ``<root>_report_*.png``.
        Without matplotlib the page has no figures, and one log line says so.

    Raises
    ------
    StarError
        There is no run with this root.
    """
    records = read_run(root)
    try:
        from clrelion.report.figures import draw_all

        figures = draw_all(root, records)
    except ImportError:
        logger.info("The report has no figures: pip install clrelion[report] (matplotlib)")
        figures = []
    path = Path(f"{root}_report.html")
    with replacing(path) as temporary:
        temporary.write_text(_page(root, records, figures), encoding="utf-8")
    return path


def _page(
    root: str, records: Sequence[IterationRecord], figures: Sequence[tuple[str, Path]]
) -> str:
    name = html.escape(root)
    last = records[-1]
    maps = "".join(f"<li><code>{html.escape(file)}</code></li>" for file in last.maps)
    pictures = "".join(
        f'<h2>{html.escape(title)}</h2>\n<img alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode("ascii")}">\n'
        for title, file in figures
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>\n'
        f"<style>{_STYLE}</style></head><body>\n<h1>{name}</h1>\n"
        f"<p>Resolution after the last iteration ({last.label}): "
        f"<b>{last.model.current_resolution_angst:.2f} Å</b>; box {last.model.ori_size} px of "
        f"{last.model.pixel_size_angst:.4g} Å.</p>\n<ul>{maps}</ul>\n"
        f"{pictures}<h2>Iterations</h2>\n{_table(records)}\n</body></html>\n"
    )


def _table(records: Sequence[IterationRecord]) -> str:
    head = (
        "iteration", "resolution (Å)", "size (px)", "HEALPix order", "shift step (Å)",
        "accuracy (deg)", "accuracy (Å)", "sigma shift (Å)", "largest probability", "classes (%)",
    )  # fmt: skip
    rows = [_cells("th", head)]
    for record in records:
        model, sampling = record.model, record.sampling
        rows.append(
            _cells(
                "td",
                (
                    record.label,
                    f"{model.current_resolution_angst:.2f}",
                    _if_known(model.current_size > 0, str(model.current_size)),
                    "" if sampling is None else str(sampling.healpix_order),
                    "" if sampling is None else f"{sampling.offset_step_angst:.2f}",
                    _accuracy(model.acc_rot_deg),
                    _accuracy(model.acc_trans_angst),
                    f"{model.sigma_offset_angst:.2f}",
                    _if_known(model.ave_pmax > 0, f"{model.ave_pmax:.3f}"),
                    " ".join(f"{100 * part:.1f}" for part in model.pdf_class),
                ),
            )
        )
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _accuracy(of_classes: NDArray[np.float64]) -> str:
    """Best accuracy of the classes; RELION's files have 999 where it was not estimated."""
    best = min(of_classes)
    return _if_known(best < _NOT_ESTIMATED, f"{best:.2f}")


def _if_known(is_known: bool, text: str) -> str:
    return text if is_known else "–"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"
