"""The written report: self-contained, safe with hostile names, and whole in both formats."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from PIL import Image

from harness.errors import HarnessError
from harness.markdown import markdown_text
from harness.reporting.render import WrittenReport, write_report
from tests.support.synthetic_run import synthetic_record

REPORTS = Path(__file__).parents[3] / "reports"
HOSTILE = "<script>alert(1)</script> | `x` [y](javascript:z) **b**"
SECTIONS = [
    "answer",
    "effects",
    "what-matters",
    "comparison",
    "trade-offs",
    "expected",
    "curves",
    "pictures",
    "variants",
    "labels",
    "failures",
    "missing",
    "cost",
    "provenance",
]


class Page(HTMLParser):
    """What the tests ask of a page: its tags, ids, headings and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute))]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> WrittenReport:
    record = synthetic_record(
        tmp_path_factory.mktemp("store"),
        failed=(("lab", 2),),
        titles={"lab": HOSTILE},
        links={"tracker": "https://wandb.ai/run", "evil": "javascript:alert(1)"},
    )
    return write_report(record, tmp_path_factory.mktemp("out"), search_path=[REPORTS])


@pytest.fixture(scope="module")
def html(written) -> str:
    return written.html.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def markdown(written) -> str:
    return written.markdown.read_text(encoding="utf-8")


# --- the page


def test_the_page_loads_nothing(page, html):
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base")]
    assert not page.all("srcset")
    assert all(source.startswith("data:image/png;base64,") for source in page.all("src"))
    outside = [
        attributes["href"]
        for tag, attributes in page.tags
        if not (attributes.get("href") or "#").startswith("#")
    ]
    assert set(outside) == {"https://wandb.ai/run"}
    assert not re.search(r"@import|url\(", html)


def test_sections_stand_in_order(page):
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == SECTIONS


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_ids_are_unique_and_every_link_inside_the_page_leads_somewhere(page):
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    targets = {href[1:] for href in page.all("href") if href.startswith("#")}
    assert targets <= set(ids)
    assert {"answer", "provenance"} <= targets
    assert any(target.startswith("trials-") for target in targets)


def test_pictures_and_charts_say_what_they_show(page):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(attributes.get("alt") for attributes in images)
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert charts
    assert all(attributes.get("role") == "img" for attributes in charts)
    assert all(
        set((attributes.get("aria-labelledby") or "x").split()) <= set(page.all("id"))
        for attributes in charts
    )


def test_tables_have_captions_and_scopes(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.tags if tag == "th")


def test_names_from_a_suite_are_text(page, html):
    assert html.count("<script>") == 1  # our own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "alert(1)" not in html[html.rindex("<script>") :]
    assert not [href for href in page.all("href") if "javascript:" in href.lower()]
    assert any("address refused" in text for text in page.texts)


def test_the_page_is_light_and_dark_and_prints(html):
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_everything_is_in_the_page_without_its_script(html):
    page = Page(re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
    said = " ".join(page.texts)
    assert "confirmed" in said
    assert "NonFiniteLossError: the loss became nan at step 96" in said
    # effects, what matters, metrics, loss terms, costs that differ: latency, training time, CPU hours
    assert sum(tag == "svg" for tag, _ in page.tags) == 2 * (1 + 1 + 5 + 4 + 3)


# --- the Markdown folder


def test_markdown_has_the_same_sections_in_the_same_order(markdown):
    heads = re.findall(r"^## (.*)$", markdown, flags=re.MULTILINE)
    assert heads == [
        "Answer",
        "Effects",
        "What matters",
        "Comparison",
        "Trade-offs",
        "Expected and actual",
        "Learning curves",
        "Pictures by epoch",
        "Variants",
        "Parts of the data",
        "Failed trials",
        "Missing values",
        "Cost",
        "Provenance",
    ]


def test_every_picture_of_the_markdown_lies_beside_it(written, markdown):
    paths = re.findall(r"\]\(((?:charts|pictures)/[^)]+)\)", markdown)
    assert len(paths) > 10
    for path in paths:
        file = written.markdown.parent / path
        if file.suffix == ".png":
            with Image.open(file) as picture:
                picture.verify()
        else:
            assert ET.parse(file).getroot().tag.endswith("svg")


def test_markdown_tables_are_whole(markdown):
    """A pipe in a name must not add a column."""
    lines = [re.sub(r"\\\\|\\\|", "", line) for line in markdown.splitlines()]
    rows = 0
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert line.count("|") == before.count("|"), line
            rows += 1
    assert rows > 50


def test_names_from_a_suite_are_text_in_markdown(markdown):
    assert "<script" not in markdown
    assert r"\[y\](javascript:z)" in markdown
    assert "[evil]" not in markdown
    assert "[tracker](https://wandb.ai/run)" in markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+ LAB", r"\+ LAB"),
        ("1. first", r"1\. first"),
        ("# head", r"\# head"),
        ("a | b", r"a \| b"),
        ("fixes #3", r"fixes \#3"),
        ("@team", "@\u200bteam"),
        ("a\nb", "a b"),
        ("<b>", "&lt;b&gt;"),
        ("lab_l1", r"lab\_l1"),
        ("−11.2 [−12.6, −9.8]", r"−11.2 \[−12.6, −9.8\]"),
    ],
)
def test_markdown_text(text, shown):
    assert markdown_text(text) == shown


@given(st.text())
def test_markdown_text_never_opens_a_tag_a_cell_or_a_line(text):
    shown = re.sub(r"\\.", "", markdown_text(text))
    assert not set(shown) & set("<>|`*[]\n")


# --- templates


def test_a_template_of_the_project_comes_before_the_bundled_one(tmp_path):
    own = tmp_path / "reports" / "chronicle"
    own.mkdir(parents=True)
    (own / "report.html.j2").write_text("mine: {{ view.title }}")
    record = synthetic_record(tmp_path / "store", steps=1, seeds=1, epochs=1)
    written = write_report(record, tmp_path / "out", search_path=[tmp_path / "reports", REPORTS])
    assert written.html.read_text() == "mine: Which loss terms does polygon colorization need?"
    assert written.markdown.read_text().startswith("# Which loss terms")


def test_a_template_may_not_name_what_the_view_lacks(tmp_path):
    own = tmp_path / "reports" / "broken"
    own.mkdir(parents=True)
    (own / "report.html.j2").write_text("{{ view.nonsense }}")
    (own / "report.md.j2").write_text("")
    record = synthetic_record(tmp_path / "store", steps=1, seeds=1, epochs=1)
    with pytest.raises(UndefinedError, match="nonsense"):
        write_report(record, tmp_path / "out", template="broken", search_path=[tmp_path / "reports", REPORTS])


@pytest.mark.parametrize("name", ["chronicel", "../reports/chronicle", "/etc"])
def test_an_unknown_template_is_refused_with_a_suggestion(tmp_path, name):
    record = synthetic_record(tmp_path / "store", steps=1, seeds=1, epochs=1)
    with pytest.raises(HarnessError, match="chronicle"):
        write_report(record, tmp_path / "out", template=name, search_path=[REPORTS])


@pytest.mark.parametrize(
    "shape",
    [
        {"seeds": 1},
        {"steps": 1, "claims": False},
        {"samples": False, "labels": False, "margins": {}},
        {"running": tuple((name, seed) for name in ("mse", "lpips", "ssim", "lab") for seed in range(5))},
        {"missing": (("mse", 0),), "epochs": 1, "reported": {}},
    ],
    ids=["one seed", "one variant", "no samples", "nothing complete", "one epoch"],
)
def test_odd_runs_are_written(tmp_path, shape):
    record = synthetic_record(tmp_path / "store", **{"epochs": 4, **shape})
    written = write_report(record, tmp_path / "out", search_path=[REPORTS])
    said = "".join(Page(written.html.read_text(encoding="utf-8")).texts)
    assert not re.search(r"\bnan\b|\bNone\b|\bNaT\b", said)
    assert not re.search(r"\bnan\b|\bNone\b|\bNaT\b", written.markdown.read_text(encoding="utf-8"))


def test_reporting_needs_neither_torch_nor_ray():
    code = "import sys, harness.reporting.render; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
