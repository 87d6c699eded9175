"""Texts as they may be shown: signs that a terminal obeys, or that turn the reading around, as escapes."""

from __future__ import annotations

import re
import unicodedata

DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # overrides, isolates

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def is_text(value: str) -> bool:
    """Tell whether a text has no control characters, no halves of surrogate pairs, and nothing that
    turns the direction of what follows it: such a text can be shown, and reads as it is."""
    return all(
        sign in "\n\t" or (unicodedata.category(sign) not in ("Cc", "Cs") and sign not in DIRECTIONS)
        for sign in value
    )


def visible(text: str) -> str:
    """Return a text with every such sign as its escape, such as \\x1b; line feeds and tabs stay."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_json(document: str) -> str:
    """Return a JSON document that holds the same, with such signs as its own escapes: \\u009b."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
