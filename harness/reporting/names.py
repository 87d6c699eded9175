"""How the report calls, colours and addresses the variants of a plan."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from harness.plan import Plan
from harness.reporting.model import COLOURS, MARKS, Link, Sentence


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
    """Return words joined for reading: "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"


def count(number: int, noun: str) -> str:
    """Return "1 seed", "5 seeds"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
