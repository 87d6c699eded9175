"""From the view model to files: one HTML page, and a folder with Markdown and its pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from harness.catalog import template_names
from harness.errors import HarnessError, did_you_mean
from harness.markdown import markdown_text
from harness.reporting.charts.draw import Chart, draw
from harness.reporting.charts.sheet import Drawing, inline, read_palette, standalone
from harness.reporting.model import Picture, View
from harness.reporting.view import build_view
from harness.store.read import RunRecord
from harness.tracking.history.model import History
from harness.visible import visible

Folder = Path | Traversable
STYLE = "_style.css"
MOST_NAME = 200  # characters of a file's name, those of its end apart


@dataclass(frozen=True)
class WrittenReport:
    """Where a report was written."""

    html: Path
    """One file that needs no other."""
    markdown: Path
    """`report.md` in a folder with its charts and pictures."""


def write_report(
    record: RunRecord,
    out: Path,
    template: str | None = None,
    search_path: Sequence[Folder] | None = None,
    history: History | None = None,
) -> WrittenReport:
    """Judge a run and write its report.

    Args:
        record: the run.
        out: folder for `report.html` and `markdown/report.md`; made where it is missing.
        template: name of the template; none for the one that the suite asks for.
        search_path: folders of templates, the first that has a file wins; none for the
            bundled ones alone.
        history: of the primary metric up to this run; none leaves the section out.

    Raises:
        HarnessError: no such template.
    """
    folders = [files("harness.reports")] if search_path is None else search_path
    return render(build_view(record, history), template or record.plan.report.template, folders, out)


def render(view: View, template: str, search_path: Sequence[Folder], out: Path) -> WrittenReport:
    """Write a view model with a template.

    Raises:
        HarnessError: no such template.
    """
    source = _Templates(search_path)
    known = template_names(search_path)
    if template not in known:
        raise HarnessError(f"no report template '{template}'{did_you_mean(template, known)}")
    css = source.read(STYLE)
    desk = _Desk(css)
    html = _html_environment(source, desk).get_template(f"{template}/report.html.j2")
    markdown = _markdown_environment(source, desk).get_template(f"{template}/report.md.j2")
    written = WrittenReport(html=out / "report.html", markdown=out / "markdown" / "report.md")
    _write(written.html, html.render(view=view, style=Markup(css)).encode())
    _write(written.markdown, _tidy(markdown.render(view=view)).encode())
    for name, content in desk.files.items():
        _write(written.markdown.parent / name, content)
    return written


def render_page(template: str, values: Mapping[str, Any], search_path: Sequence[Folder], file: Path) -> None:
    """Write one HTML file that needs no other: a template that is given `values` and the style sheet.

    Raises:
        HarnessError: the file cannot be written.
    """
    source = _Templates(search_path)
    css = source.read(STYLE)
    page = _html_environment(source, _Desk(css)).get_template(template)
    _write(file, page.render(**values, style=Markup(css)).encode())


# --- templates by name


class _Templates(BaseLoader):
    """Templates from several folders; the first folder that has a file wins."""

    def __init__(self, folders: Sequence[Folder]) -> None:
        self.folders = folders

    def read(self, name: str) -> str:
        """Return the text of a file.

        Raises:
            TemplateNotFound: no folder has it.
        """
        for folder in self.folders:
            file = folder.joinpath(*name.split("/"))
            if file.is_file():
                return file.read_text(encoding="utf-8")
        raise TemplateNotFound(name)

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        """Return what Jinja asks of a loader."""
        return self.read(template), template, lambda: True


@dataclass
class _Desk:
    """Draws each chart once, and keeps the files that the Markdown folder needs."""

    css: str
    files: dict[str, bytes] = field(default_factory=dict)
    drawings: dict[str, Drawing] = field(default_factory=dict)

    def drawing(self, chart: Chart) -> Drawing:
        if chart.name not in self.drawings:
            self.drawings[chart.name] = draw(chart)
        return self.drawings[chart.name]

    def chart_inline(self, chart: Chart) -> Markup:
        """Return both forms of a chart; the style sheet shows one of them."""
        drawing = self.drawing(chart)
        forms = {"wide": drawing.wide, "narrow": drawing.narrow}
        parts = [
            Markup('<div class="{0}">{1}</div>').format(
                form, inline(svg, f"{chart.name}-{form}", chart.title, chart.description)
            )
            for form, svg in forms.items()
        ]
        return Markup("").join(parts)

    def chart_file(self, chart: Chart) -> Markup:
        """Keep the wide form as a file and return its address."""
        name = f"charts/{_file_name(chart.name)}.svg"
        svg = standalone(self.drawing(chart).wide, read_palette(self.css), chart.title)
        self.files[name] = svg.encode()
        return Markup(name)

    def picture_file(self, picture: Picture) -> Markup:
        """Keep a picture as a file and return its address."""
        name = f"pictures/{_file_name(picture.name)}.png"
        self.files[name] = picture.png
        return Markup(name)


# --- environments: in both, every value is escaped unless it is Markup


def _html_environment(source: _Templates, desk: _Desk) -> Environment:
    environment = _environment(source, finalize=_visible_value)
    environment.globals["chart"] = desk.chart_inline
    return environment


def _markdown_environment(source: _Templates, desk: _Desk) -> Environment:
    environment = _environment(source, finalize=_markdown_value)
    environment.globals.update(chart=desk.chart_file, image=desk.picture_file, address=_markdown_address)
    return environment


def _environment(source: _Templates, finalize: Any) -> Environment:
    return Environment(
        loader=source,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )


def _visible_value(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _markdown_value(value: Any) -> Any:
    return value if hasattr(value, "__html__") else Markup(markdown_text(visible(str(value))))


def _markdown_address(url: str) -> Markup:
    """Return an address that cannot close its Markdown link."""
    for sign, code in (("(", "%28"), (")", "%29"), ("<", "%3C"), (">", "%3E"), (" ", "%20"), ("|", "%7C")):
        url = url.replace(sign, code)
    return Markup(url)


def _tidy(text: str) -> str:
    """Leave one empty line where templates leave several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _file_name(text: str) -> str:
    """Return a name without anything that leads to another folder: names of metrics come from the store."""
    return re.sub(r"[^\w.+-]", "_", text)[:MOST_NAME]


def _write(path: Path, content: bytes) -> None:
    """Write a file in the place of what stood there; a link there is replaced, not followed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise HarnessError(f"cannot write the report: {path}: {error.strerror or error}") from error
