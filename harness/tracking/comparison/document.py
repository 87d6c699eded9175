"""A comparison of two runs as one JSON document (docs/comparing.md)."""

from __future__ import annotations

from typing import Any

from harness.analysis.plain_json import plain_value
from harness.tracking.comparison.model import MetricComparison, RunComparison, VariantComparison

SCHEMA = 1  # raised when a key changes its meaning or goes; new keys are no change


def comparison_document(found: RunComparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    plain: dict[str, Any] = plain_value(found)
    plain["metrics"] = [_metric(one) for one in found.metrics]
    return {"schema": SCHEMA, **plain}


def _metric(found: MetricComparison) -> dict[str, Any]:
    variants = [_variant(one) for one in found.variants]
    plain: dict[str, Any] = plain_value({"metric": found.info, "margin": found.margin, "variants": variants})
    return plain


def _variant(found: VariantComparison) -> dict[str, Any]:
    """Return a comparison with its outcome in the place of the verdict, which has no word for `unchanged`."""
    plain: dict[str, Any] = plain_value(found.comparison)
    rest: dict[str, Any] = plain_value(found)
    del rest["comparison"], plain["same_trials"]
    return {**plain, "verdict": rest.pop("outcome"), **rest}
