"""The sections of docs/ablations.md, written from the files in ablations/.

`python -m tests.support.ablation_pages` puts them in their place.
"""

import json
import re
import textwrap
from pathlib import Path

from harness.document import read_document
from harness.planning.build import components_with

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ablations"
PAGE = ROOT / "docs" / "ablations.md"
BEGIN = "<!-- written from ablations/ by `python -m tests.support.ablation_pages` -->"
WIDTH = 118
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def sections():
    """Return the part of the page that comes from the files."""
    return "\n".join([BEGIN, *map(section, NAMES)])


def section(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    ablation = read_document(FOLDER / f"{name}.yaml").value
    lines = [f"\n### `{name}`", "", ablation["question"], remark(text), "", *what_it_varies(ablation)]
    for option, about in ablation.get("options", {}).items():
        lines.append(f"- option `{option}`, {about['help']}; default `{plain(about['default'])}`")
    for path in ablation.get("requires", ()):
        lines.append(f"- needs `{path}`: {', '.join(components_with(*path.split('.')))}")
    return "\n".join(lines)


def remark(text):
    """Return the comment at the head of a file, without its first line."""
    comment = re.match(r"(?:#.*\n)+", text)[0].splitlines()[1:]
    words = " ".join(line.removeprefix("#").strip() for line in comment)
    return textwrap.fill(words, WIDTH, break_on_hyphens=False, break_long_words=False)


def what_it_varies(ablation):
    if "each" in ablation:
        return [f"- design `{ablation['design']}` over each of `{ablation['each']}`"]
    if "path" in ablation:
        verb = "multiplies" if "scale" in ablation else "sets"
        return [f"- {verb} `{ablation['path']}`"]
    return [
        f"- `{name}`: {level['title']}{'; ' * ('why' in level)}{level.get('why', '')}"
        for name, level in ablation["levels"].items()
    ]


def plain(value):
    return re.sub(r'"([\w.-]+)"', r"\1", json.dumps(value))


if __name__ == "__main__":
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    PAGE.write_text(f"{written}{sections()}\n", encoding="utf-8")
