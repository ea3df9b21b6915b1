"""Write docs/options.md from the table of options.

Usage: python tools/options_table.py [--check]      --check: only see whether it is up to date
"""

import argparse
import sys
from pathlib import Path

from clrelion.cli.parser import default_text, is_switch
from clrelion.cli.relion_flags import DEVICE_FLAGS, IGNORED, REFUSED
from clrelion.options import RefineOptions, flags
from clrelion.options.rules import describe_allowed

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"

HEAD = """\
# Options

<!-- Made by tools/options_table.py from clrelion/options; do not edit. -->

All options of `clrelion_refine`. They are RELION's, spelled as RELION spells them; the last
column of a group gives the name in `clrelion.options.RefineOptions`. A number option whose
default is *off* is switched off by -1. `none` in the column *default* means that the program
chooses.

What counts with `--continue`: options marked **c** always come from the command line, those
marked **o** from the command line if given there (**o3**: not in auto-refine), all others from
the files of the run that is continued.
"""

MARKS = {"stored": "", "override": "o", "override_class3d": "o3", "command": "c"}


def cell(text: str) -> str:
    """Escape what would end a cell of a table."""
    return text.replace("|", "\\|")


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    group = ""
    for name, flag in flags().items():
        if flag.group != group:
            group = flag.group
            lines += [
                f"\n## {group}\n",
                "| option | default | allowed | meaning | continue | field |",
                "|---|---|---|---|---|---|",
            ]
        field = RefineOptions.model_fields[name]
        spellings = ", ".join(f"`--{spelling}`" for spelling in (flag.name, *flag.aliases))
        default = "" if is_switch(name) else default_text(name).strip("[]") or "none"
        allowed = "" if is_switch(name) else describe_allowed(field)
        lines.append(
            f"| {spellings} | {cell(default)} | {allowed} | {cell(flag.help)} "
            f"| {MARKS[flag.continuation]} | `{name}` |"
        )
    lines += ["\n## RELION's ways to choose a device\n", "| option | meaning |", "|---|---|"]
    lines += [f"| `--{name}` | {cell(text)} |" for name, text in DEVICE_FLAGS.items()]
    lines += ["\n## Accepted without effect\n", "| option | why |", "|---|---|"]
    lines += [f"| `--{name}` | {cell(ignored.note)} |" for name, ignored in IGNORED.items()]
    lines += [
        "\n## Out of scope\n",
        "Refused by name, unless the value is the default. Families: `--helical_*`,",
        "`--multibody_*`, `--grad_*`, `--sgd_*`, `--som_*`, `--blush*`, `--movie_*`.\n",
        "| option | default | why |",
        "|---|---|---|",
    ]
    for name, refused in REFUSED.items():
        default = "off" if refused.default is None else refused.default or '""'
        lines.append(f"| `--{name}` | {default} | {cell(refused.reason)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        if PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE.name} is out of date: run python tools/options_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
