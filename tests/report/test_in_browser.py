"""The page in headless Chromium: it fits the screen, its script runs, its plots zoom."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.report.summary import make_report
from tests.report.written_run import write_auto_refine

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if
     (found := shutil.which(name))), None,
)  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PHONE, LAPTOP = (390, 844), (1280, 800)

# Runs in the page, then leaves what it found in the title.
PROBE = """
<script>(() => {
const found = {errors: window.faults || []};
const svg = document.querySelector('[data-key="resolution"] svg.plot');
const box = svg.getBoundingClientRect(), unit = box.width / 460;
const at = (x, y) => ({clientX: box.left + x * unit, clientY: box.top + y * unit, pointerId: 1,
                       pointerType: "mouse", bubbles: true, cancelable: true});
const send = (name, x, y) => svg.dispatchEvent(new PointerEvent(name, at(x, y)));
svg.setPointerCapture = () => {};
const ticks = () => [...svg.querySelectorAll(".tick.y")].map(t => t.textContent);
const view = () => svg.querySelector(".data").getAttribute("viewBox");
found.width = [document.documentElement.scrollWidth, innerWidth];
found.unzoomed = [ticks(), view()];
send("pointermove", 180, 100);
found.tip = document.querySelector(".tip").innerText;
send("pointerdown", 100, 50); send("pointermove", 200, 150); send("pointerup", 250, 200);
found.zoomed = [ticks(), view(), svg.classList.contains("zoomed")];
const reset = svg.closest(".card").querySelector(".reset");
found.reset_shown = !reset.hidden;
reset.click();
found.back = [ticks(), view(), svg.classList.contains("zoomed")];
svg.dispatchEvent(new WheelEvent("wheel", {...at(250, 100), deltaY: -300, ctrlKey: true}));
found.wheel = view();
document.querySelector(".panels img").click();
found.dialog = document.querySelector("dialog").open;
found.svg_text = plain(svg).length;
found.csv = tableCsv(document.querySelector('[data-key="resolution"] table'));
document.title = JSON.stringify(found);
})();
</script></body>"""
FAULTS = (
    "<head><script>window.faults = []; addEventListener('error', "
    "e => window.faults.push(e.message));</script>"
)


def chromium(folder: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={folder / 'profile'}", "--no-first-run", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(write_auto_refine(tmp_path_factory.mktemp("run")))


def probe(page: Path, folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    """What the probe finds in a frame of some size: windows are not narrower than 500 px."""
    text = page.read_text(encoding="utf-8").replace("</body>", PROBE).replace("<head>", FAULTS)
    frame = (
        f'<iframe width="{size[0]}" height="{size[1]}" style="border:0" '
        f'srcdoc="{html.escape(text)}" '
        'onload="document.title = this.contentDocument.title"></iframe>'
    )
    (folder / "probe.html").write_text(f"<title></title>{frame}", encoding="utf-8")
    dom = chromium(
        folder, "--window-size=1400,900", "--virtual-time-budget=1000", "--dump-dom",
        f"file://{folder / 'probe.html'}",
    )  # fmt: skip
    title = re.search("<title>(.*?)</title>", dom, re.S)
    assert title is not None, dom[:500]
    found: dict[str, Any] = json.loads(html.unescape(title[1]))
    return found


def test_zoom_values_and_pictures(page: Path, tmp_path: Path) -> None:
    found = probe(page, tmp_path, LAPTOP)
    assert found["errors"] == []
    assert found["width"][0] <= found["width"][1] == LAPTOP[0]
    # the script and the drawing agree on where the ticks are
    assert found["back"] == [*found["unzoomed"], False]
    assert "Iteration 1" in found["tip"]
    assert "31.3" in found["tip"]
    ticks, view, is_zoomed = found["zoomed"]
    assert is_zoomed
    assert found["reset_shown"]
    assert set(ticks) != set(found["unzoomed"][0])
    x, y, width, height = map(float, view.split())
    np.testing.assert_allclose([x, y, width, height], [44, 38, 150, 150], atol=0.5)
    assert found["wheel"] not in (found["unzoomed"][1], view)
    assert found["dialog"]
    assert found["svg_text"] > 1000
    assert found["csv"].startswith("Iteration,Resolution (Å),Image size (px)\n0,60.00,16\n")


def test_fits_a_phone(page: Path, tmp_path: Path) -> None:
    found = probe(page, tmp_path, PHONE)
    assert found["errors"] == []
    assert found["width"][0] <= found["width"][1] == PHONE[0]


def test_shows_and_prints(page: Path, tmp_path: Path) -> None:
    from PIL import Image

    picture, print_out = tmp_path / "page.png", tmp_path / "page.pdf"
    chromium(tmp_path, "--window-size=1280,2000", f"--screenshot={picture}", f"file://{page}")
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[:2] == (2000, 1280)
    colours, counts = np.unique(pixels[::4, ::4].reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 100
    assert counts.max() < 0.8 * counts.sum()
    blue = (np.abs(pixels.astype(int) - (37, 99, 168)) < 25).all(-1)  # curves in light colours
    assert blue.sum() > 500
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={print_out}", f"file://{page}")
    assert print_out.read_bytes().startswith(b"%PDF")
