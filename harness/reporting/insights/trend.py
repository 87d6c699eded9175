"""The qualitative trend: what the best variant and the reference predict as training goes on."""

from __future__ import annotations

from harness.analysis.values import is_usable
from harness.analysis.wording import format_trial, format_value, metric_name
from harness.plan import PlannedTrial
from harness.reporting.curves import primary_metric
from harness.reporting.model import Frame, Strip
from harness.reporting.names import Names
from harness.reporting.pictures import Samples
from harness.store.read import RunRecord

SHARES = (0.25, 0.5)  # of the epochs, beside the first and the last
TILES = 4


def trend_strips(
    record: RunRecord, names: Names, samples: Samples, variants: tuple[str, ...]
) -> tuple[Strip, ...]:
    """Return a strip for each of the variants that has pictures."""
    strips = (_strip(record, names, samples, variant) for variant in variants if samples.epochs(variant))
    return tuple(strip for strip in strips if strip.frames)


def trend_note(record: RunRecord, samples: Samples, variants: tuple[str, ...]) -> str:
    """Return whose pictures and values they are."""
    trials = {format_trial(trial) for variant in variants if (trial := samples.trial(variant))}
    info = record.plan.metrics[primary_metric(record.plan)]
    return (
        f"The same validation images everywhere, as one trial of each variant ({', '.join(sorted(trials))}) "
        "paints them at the first epoch, at a quarter, at half and at the end; under them "
        f"{metric_name(info)} of that trial over all validation images."
    )


def chosen_epochs(epochs: list[int]) -> list[int]:
    """Return the first and the last of the epochs, and those nearest to a quarter and to half of the last."""
    last = epochs[-1]
    between = [min(epochs, key=lambda epoch: (abs(epoch - share * last), epoch)) for share in SHARES]
    return sorted({epochs[0], *between, last})


def _strip(record: RunRecord, names: Names, samples: Samples, variant: str) -> Strip:
    trial = samples.trial(variant)
    assert trial is not None, "a variant with pictures has a trial"
    moments = [(f"epoch {epoch}", "prediction", epoch) for epoch in chosen_epochs(samples.epochs(variant))]
    asked = [("input", "input", None), *moments, ("target", "target", None)]
    frames = [
        Frame(title, _value(record, trial, epoch), picture)
        for title, name, epoch in asked
        if (picture := samples.column(variant, name, epoch, TILES))
    ]
    return Strip(names.title(variant), names.colour(variant), names.mark(variant), tuple(frames))


def _value(record: RunRecord, trial: PlannedTrial, epoch: int | None) -> str:
    """Return the primary metric of a trial after an epoch; nothing where it has no finite value."""
    if epoch is None:
        return ""
    info = record.plan.metrics[primary_metric(record.plan)]
    table = record.metrics
    rows = table[
        (table["trial_id"] == trial.id)
        & (table["split"] == "validation")
        & (table["metric"] == info.name)
        & table["label"].isna()
        & (table["epoch"] == epoch)
    ]
    values = rows["value"][is_usable(rows["value"])]
    return f"{metric_name(info)} {format_value(info, float(values.iloc[-1]))}" if len(values) else ""
