"""Trackers in the provenance of a report, in HTML and in Markdown."""

from __future__ import annotations

import dataclasses
import re

import pytest

from harness.reporting.render import write_report
from harness.trackers.told import Told, to_text
from tests.support.synthetic_run import synthetic_record

TOLD = {
    "wandb": Told("1", "https://wandb.ai/run|(1)"),
    "evil": Told("2", "javascript:alert(1)"),
    "<b>": Told("3", "trackers/<script>", note="<i>broken</i>"),
}


def write(folder, trackers):
    record = synthetic_record(folder, steps=2, seeds=2, samples=False)
    trials = record.trials.assign(trackers=[trackers] + [None] * (len(record.trials) - 1))
    return write_report(dataclasses.replace(record, trials=trials), folder / "out")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tracked"), to_text(TOLD))


def test_the_page_links_what_is_an_address_and_shows_the_rest_as_text(written):
    html = written.html.read_text(encoding="utf-8")
    assert '<a href="https://wandb.ai/run|(1)" rel="noopener noreferrer">wandb</a>' in html
    assert not re.search(r"""(?:href|src)=["']?javascript:""", html)
    assert "address refused" in html
    assert "trackers/&lt;script&gt;" in html
    assert "<i>broken" not in html
    assert "&lt;i&gt;broken" in html


def test_the_markdown_does_the_same(written):
    markdown = written.markdown.read_text(encoding="utf-8")
    assert "[wandb](https://wandb.ai/run%7C%281%29)" in markdown
    assert "](javascript" not in markdown
    assert "evil (address refused)" in markdown
    assert "<i>broken" not in markdown


def test_a_run_without_trackers_has_no_column_for_them(tmp_path):
    assert "Trackers" not in write(tmp_path, None).html.read_text(encoding="utf-8")
