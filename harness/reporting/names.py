"""How the report calls, colours and addresses the variants of a plan."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from harness.plan import Plan
from harness.reporting.model import COLOURS, MARKS, Cell, Link, Row, Sentence


class Names:
    """One colour and one address per variant, the same in the whole report."""

    def __init__(self, plan: Plan) -> None:
        self._titles = {variant.name: variant.title for variant in plan.variants}
        self._order = {variant.name: index for index, variant in enumerate(plan.variants)}

    def knows(self, variant: str) -> bool:
        """Return whether the plan has the variant; `--only` may have left it out."""
        return variant in self._order

    def title(self, variant: str) -> str:
        """Return the name for people."""
        return self._titles[variant]

    def colour(self, variant: str) -> str:
        """Return the role of the variant's colour, `v1` to `v8`."""
        return f"v{self._order[variant] % COLOURS + 1}"

    def mark(self, variant: str) -> int:
        """Return the shape that tells the variant from others of its colour."""
        return self._order[variant] // COLOURS % MARKS

    def anchor(self, variant: str) -> str:
        """Return the address of the variant's section; the number keeps it unique."""
        return f"variant-{self._order[variant] + 1}-{slug(variant)}"

    def trials(self, variant: str) -> str:
        """Return the address of the variant's trials in the provenance."""
        return f"trials-{self._order[variant] + 1}-{slug(variant)}"

    def row(self, variant: str, cells: tuple[Cell, ...], *, label: str = "", link: str | None = None) -> Row:
        """Return the row of a variant, with its colour and mark; without a link, one to its trials.

        Args:
            variant: name of the variant.
            cells: after the first column.
            label: what stands in the first column, in place of the variant's title.
            link: address.
        """
        return Row(
            label or self.title(variant),
            cells,
            colour=self.colour(variant),
            mark=self.mark(variant),
            link=link or self.trials(variant),
        )

    def file(self, variant: str) -> str:
        """Return a file name for things of the variant."""
        return f"{self._order[variant] + 1}_{slug(variant)}"


def slug(text: str) -> str:
    """Return `text` as letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def web_link(title: str, address: str) -> Link:
    """Return a link; an address that is not http or https (`javascript:` ...) is refused."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return Link(title, None)
    safe = parts.scheme in ("http", "https") and bool(parts.netloc)
    return Link(title, address if safe else None)


def sentence(text: str, anchor: str | None = None) -> Sentence:
    """Return a sentence whose p values and intervals stay on one line."""
    unbroken = re.sub(r"\bp ([=<]) ", "p\u00a0\\1\u00a0", text)
    unbroken = re.sub(r"\[[^\[\]]*\]", lambda match: match.group().replace(" ", "\u00a0"), unbroken)
    return Sentence(unbroken, anchor)


def in_sentence(title: str) -> str:
    """Return a title as it stands inside a sentence: "colour error", but "PSNR" and "ΔE" as they are."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def listing(words: list[str]) -> str:
    """Return words joined for reading: "a", "a and b", "a, b and c"; "" for none."""
    return "".join(words) if len(words) < 2 else ", ".join(words[:-1]) + f" and {words[-1]}"
