"""The report in a real browser: fits a phone, loads nothing, and follows the colour scheme.

The page is put into a frame of the width under test; a script beside it writes
what it measures into the document, which Chromium then prints.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.reporting.render import write_report
from tests.support.synthetic_run import synthetic_record

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

REPORTS = Path(__file__).parents[2] / "reports"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
    "--window-size=1400,1000",
]
MEASURE = """
const frame = document.querySelector("iframe");
frame.onload = () => {
  const inner = frame.contentDocument, root = inner.documentElement;
  for (const fold of OPEN ? inner.querySelectorAll("details") : []) fold.open = true;
  const scrolls = element => element.closest(".scroll, nav ul") !== null;
  const box = element => element.getBoundingClientRect();
  const wide = [...inner.querySelectorAll("body *")].filter(element =>
    !scrolls(element) && !element.matches(".skip") && box(element).right > root.clientWidth + 0.5);
  const shown = selector => [...inner.querySelectorAll(selector)].filter(element => box(element).width > 0);
  const seen = {
    client: root.clientWidth, scroll: root.scrollWidth,
    wide: wide.map(element => element.tagName + "." + element.getAttribute("class")),
    ground: getComputedStyle(inner.body).backgroundColor,
    ink: getComputedStyle(inner.body).color,
    wide_charts: shown(".chart .wide").length, narrow_charts: shown(".chart .narrow").length,
    resources: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    scales: shown(".chart svg").map(svg => box(svg).width / svg.viewBox.baseVal.width),
    dots: shown(".dot").map(dot => getComputedStyle(dot).borderTopWidth),
    line: getComputedStyle(inner.querySelector(".forest svg [stroke='var(--good)']")).stroke,
  };
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
};
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    long = "a variant whose title is rather longer than anybody would wish for"
    record = synthetic_record(
        tmp_path_factory.mktemp("store"), failed=(("lab", 2),), titles={"ssim": long}, epochs=14
    )
    written = write_report(record, tmp_path_factory.mktemp("out"), search_path=[REPORTS])
    return written.html.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def insights(tmp_path_factory) -> str:
    record = synthetic_record(
        tmp_path_factory.mktemp("store"), failed=(("lab", 2),), images=True, overfitting=("ssim",), epochs=14
    )
    written = write_report(record, tmp_path_factory.mktemp("out"), "insights", [REPORTS])
    return written.html.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> str:
    """Return the page of two factors with four levels each: 16 variants."""
    record = synthetic_record(tmp_path_factory.mktemp("store"), depths=4, seeds=3, claims=False, epochs=4)
    written = write_report(record, tmp_path_factory.mktemp("out"), search_path=[REPORTS])
    return written.html.read_text(encoding="utf-8")


def measure(
    folder: Path, report: str, width: int, *, dark: bool = False, unfold: bool = False
) -> dict[str, Any]:
    page = folder / "page.html"
    content = json.dumps(report).replace("</", "<\\/")
    script = MEASURE.replace("OPEN", "true" if unfold else "false")
    page.write_text(
        f'<body><iframe style="width:{width}px;height:900px;border:0"></iframe>'
        f"<script>{script}frame.srcdoc = {content};</script></body>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    return seen


@pytest.mark.parametrize(
    ("width", "unfold"), [(320, True), (390, False), (390, True), (700, True), (1000, True), (1280, False)]
)
def test_the_page_never_scrolls_sideways(tmp_path, report, width, unfold):
    seen = measure(tmp_path, report, width, unfold=unfold)
    assert seen["client"] == width
    assert seen["scroll"] == seen["client"]
    assert seen["wide"] == []


@pytest.mark.parametrize("width", [400, 1280])
def test_a_page_of_sixteen_variants_never_scrolls_sideways(tmp_path, crossed, width):
    seen = measure(tmp_path, crossed, width, unfold=True)
    assert seen["scroll"] == seen["client"] == width
    assert seen["wide"] == []
    assert len(set(seen["dots"])) == 2, "the ninth variant and on have dots of another shape"


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_the_insights_never_scroll_sideways_and_load_nothing(tmp_path, insights, width, dark):
    seen = measure(tmp_path, insights, width, dark=dark, unfold=True)
    assert seen["scroll"] == seen["client"] == width
    assert seen["wide"] == []
    assert seen["resources"] == []
    assert seen["ground"] == ("rgb(20, 23, 26)" if dark else "rgb(251, 251, 250)")


def test_a_phone_gets_charts_drawn_for_it(tmp_path, report):
    seen = measure(tmp_path, report, 390)
    assert seen["wide_charts"] == 0
    assert seen["narrow_charts"] == 14
    assert min(seen["scales"]) >= 0.9


def test_a_desk_gets_the_wide_charts(tmp_path, report):
    seen = measure(tmp_path, report, 1280)
    assert seen["narrow_charts"] == 0
    assert seen["wide_charts"] == 14
    assert min(seen["scales"]) >= 0.9


def test_nothing_is_loaded(tmp_path, report):
    assert measure(tmp_path, report, 1280)["resources"] == []


def test_dark_and_light_follow_the_reader(tmp_path, report):
    light = measure(tmp_path, report, 1280)
    dark = measure(tmp_path, report, 1280, dark=True)
    assert (light["ground"], dark["ground"]) == ("rgb(251, 251, 250)", "rgb(20, 23, 26)")
    assert (light["line"], dark["line"]) == ("rgb(4, 114, 74)", "rgb(76, 199, 144)")
    assert light["ink"] != dark["ink"]
