"""How verdicts look: a sign, a word and a tone for each, so that no colour stands alone."""

from __future__ import annotations

from harness.reporting.model import Verdict

VERDICTS = {
    "better": Verdict("✓", "better", "good"),
    "worse": Verdict("✕", "worse", "bad"),
    "equivalent": Verdict("=", "equivalent", "even"),
    "inconclusive": Verdict("?", "inconclusive", "open"),
    "described": Verdict("·", "described", "plain"),
    "confirmed": Verdict("✓", "confirmed", "good"),
    "refuted": Verdict("✕", "refuted", "bad"),
}


def chart_note(note: str) -> str:
    """Return what stands under a verdict in a chart, where a table has room for more words."""
    return note.replace("margin ", "±", 1)
