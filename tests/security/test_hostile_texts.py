"""Texts that somebody else wrote, in a report or on a terminal: they are shown, never obeyed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness import api
from tests.security.conftest import RUN, rewrite, rewrite_plan

TEXT = (
    "{{ 7*7 }}{% include '/etc/passwd' %}{{ ''.__class__.__mro__ }}${7*7}#{7*7}"
    "<script>alert(1)</script><img src=x onerror=alert(1)></style></title><!-- "
    "![x](http://evil.example/x) [y](javascript:alert(1)) `z` | a | \n\n# heading\n\n<!--"
    '&lt;b&gt; "\'onload=\' \x1b[2J\x9b31m\u202e\x00\uffff\\" + 7*7 + \\"'
)
ADDRESSES = [
    "javascript:alert(1)",
    "data:text/html,x",
    "JaVaScRiPt:x",
    " javascript:x",
    "//evil.example",
    "file:///etc/passwd",
]


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


KNOWN = {
    "a",
    "article",
    "b",
    "body",
    "caption",
    "code",
    "dd",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "head",
    "header",
    "html",
    "img",
    "li",
    "line",
    "main",
    "meta",
    "nav",
    "ol",
    "p",
    "path",
    "pre",
    "rect",
    "script",
    "section",
    "span",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "tspan",
    "ul",
}
"""Tags of an honest report."""


@pytest.fixture
def hostile(store: Path, run_file: Path, attempt_files: list[Path]) -> Path:
    """Return a store whose every free text is hostile."""

    def change(plan: dict[str, Any]) -> None:
        plan.update(
            question=TEXT, description=TEXT, notes=[TEXT], questions={"loss_terms": TEXT}, profile=TEXT
        )
        for variant in plan["variants"]:
            variant.update(title=TEXT, why=TEXT, links={f"{TEXT} {one}": one for one in ADDRESSES})
        for metric in plan["metrics"].values():
            metric.update(title=TEXT, symbol=TEXT, unit=TEXT, description=TEXT)

    def fail(row: dict[str, Any]) -> None:
        row.update(
            status="failed", error_class=TEXT, error=TEXT, failure=f'"{TEXT[:20]}"', host=TEXT, device=TEXT
        )

    rewrite_plan(run_file, change)
    rewrite(
        run_file, lambda row: row.update(command=TEXT, host=TEXT, git_commit=TEXT, versions='{"<b>": "<i>"}')
    )
    rewrite(attempt_files[0], fail)
    return store


def test_a_report_shows_hostile_texts_and_does_what_none_of_them_says(hostile, tmp_path):
    written = api.report(RUN, store=hostile, out=tmp_path)
    html, markdown = written.html.read_text(), written.markdown.read_text()
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= KNOWN
    assert [tag for tag, _ in page.tags].count("script") == 1  # the report's own
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    assert all(link.startswith(("#", "https://", "http://")) for link in links)
    assert not [link for link in links if "evil" in link]
    assert all(
        (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        for _, attributes in page.tags
    )
    assert "{{ 7*7 }}" in html
    assert "root:x" not in html + markdown
    assert "<class" not in html
    assert not re.search(r"<(script|img|style|b|i)\b", markdown.replace("<br>", ""))
    assert not re.search(r"(?<!\\)\]\((javascript:|http://evil)", markdown)
    assert "\n# heading" not in markdown


@pytest.mark.parametrize(
    "words",
    [
        ["verdicts"],
        ["query", "select error, host from attempts"],
        ["history"],
        ["compare", RUN, RUN],
    ],
)
def test_the_terminal_obeys_no_text_of_a_store(hostile, command, words):
    done = command(*words, "--store", str(hostile))
    assert not set(done.out + done.err) & set("\x1b\x9b\u202e\x07\x08")
