"""How numbers are written, in generated sentences and in reports alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.stats import ALPHA
from harness.analysis.values import Replicate, value_count
from harness.config import MetricInfo
from harness.plan import Plan, PlannedTrial

MINUS = "\u2212"  # the typographic minus, as wide as a plus
MOST_DECIMALS = 8
CORRECTED = "corrected for training sets that folds share (Nadeau and Bengio 2003)"


def format_number(info: MetricInfo, value: float) -> str:
    """Return a value with the decimals of its metric and no unit but the percent sign: "8.6", "52%"."""
    sign = "%" if info.percent else ""
    return _fixed(_shown(info, value), info.decimals) + sign


def format_value(info: MetricInfo, value: float) -> str:
    """Return a value with its unit: "22.0 dB", "52%"."""
    return format_number(info, value) + _unit(info)


def format_exactly(info: MetricInfo, value: float) -> str:
    """Return a value that somebody wrote, with its unit and every digit: "0.125", "22.0 dB"."""
    shown = _shown(info, value)
    enough = (n for n in range(info.decimals, MOST_DECIMALS) if math.isclose(round(shown, n), shown))
    return f"{_fixed(shown, next(enough, MOST_DECIMALS))}{'%' if info.percent else _unit(info)}"


def format_half_width(info: MetricInfo, half_width: float) -> str:
    """Return half the width of an interval as it stands beside a mean: "±1.1"."""
    return "±" + _fixed(_shown(info, half_width), info.decimals)


def format_difference(
    info: MetricInfo, difference: float, *, signed: bool = True, resolution: float | None = None
) -> str:
    """Return a difference of two values: "−11.2", "+0.5 dB", "+3 points" for percentages.

    Args:
        info: the metric.
        difference: in the unit in which the metric is stored.
        signed: show a plus before what is positive.
        resolution: half the width of the interval beside it; the first digit of it is
            shown, even where the metric's own decimals would hide it.
    """
    decimals = _decimals(info, abs(difference) if resolution is None else resolution)
    unit = (" point" if _is_one(info, difference, decimals) else " points") if info.percent else _unit(info)
    return _fixed(_shown(info, difference), decimals, signed=signed) + unit


def format_interval(info: MetricInfo, low: float, high: float, *, signed: bool = True) -> str:
    """Return an interval of a difference without its unit: "[−12.6, −9.8]"."""
    decimals = _decimals(info, (high - low) / 2)
    ends = (_fixed(_shown(info, end), decimals, signed=signed) for end in (low, high))
    return f"[{', '.join(ends)}]"


def format_effect(
    info: MetricInfo, difference: float, low: float | None, high: float | None, *, signed: bool = True
) -> str:
    """Return a difference and its interval, "−11.2 [−12.6, −9.8]"; the difference alone without one."""
    if low is None or high is None:
        return format_difference(info, difference, signed=signed)
    written = format_difference(info, difference, signed=signed, resolution=(high - low) / 2)
    return f"{written} {format_interval(info, low, high, signed=signed)}"


def format_level(info: MetricInfo, mean: float, low: float | None, high: float | None) -> str:
    """Return a mean and its interval: "8.6 [8.1, 9.1]", "22.0 [21.4, 22.6] dB", "52 [48, 55]%".

    Without an interval it is the mean alone.
    """
    if low is None or high is None:
        return format_value(info, mean)
    decimals = _decimals(info, (high - low) / 2)
    interval = format_interval(info, low, high, signed=False)
    return f"{_fixed(_shown(info, mean), decimals)} {interval}{'%' if info.percent else _unit(info)}"


def format_significant(value: float) -> str:
    """Return a positive number with three significant digits: "1.19", "12.4", "325"."""
    return _fixed(value, max(0, 2 - math.floor(math.log10(value))))


def format_effect_size(d: float) -> str:
    """Return a difference in standard deviations: "−3.35", "+0.20"."""
    return _fixed(d, 2, signed=True)


def format_p(p: float, alpha: float = ALPHA) -> str:
    """Return "p = 0.0004" or "p < 0.0001"; digits are added until `alpha` lies on the right side."""
    if p < 0.0001:
        return "p < 0.0001"
    decimals = 2 if p >= 0.1 else 3 if p >= 0.001 else 4
    while (round(p, decimals) < alpha) != (p < alpha):
        decimals += 1
    return f"p = {p:.{decimals}f}"


def counted(n: int, noun: str) -> str:
    """Return "1 run", or "3 runs": a number and a noun whose plural ends in s."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def format_seeds(n: int) -> str:
    """Return "1 seed" or "5 seeds"."""
    return counted(n, "seed")


def format_replicates(replicates: Sequence[Replicate]) -> str:
    """Return "5 seeds", with folds "5 folds x 1 seed"; "14 folds over 3 seeds" where some are absent."""
    seeds = {replicate.seed for replicate in replicates}
    folds = {replicate.fold for replicate in replicates}
    if folds <= {None}:
        return format_seeds(len(replicates))
    whole = len(replicates) == len(seeds) * len(folds)
    if whole:
        return f"{counted(len(folds), 'fold')} x {format_seeds(len(seeds))}"
    return f"{counted(len(replicates), 'fold')} over {format_seeds(len(seeds))}"


def name_replicates(replicates: Sequence[Replicate]) -> str:
    """Return which replicates they are: "seed 2", "seeds 0, 2", "seed 0 folds 1, 2; seed 1 fold 0"."""
    folds: dict[int, list[int]] = {}
    for seed, fold in replicates:
        folds.setdefault(seed, []).extend([] if fold is None else [fold])
    if not any(folds.values()):
        return _named("seed", list(folds))
    return "; ".join(f"seed {seed} {_named('fold', found)}" for seed, found in folds.items())


def format_scale(plan: Plan) -> str:
    """Return what every variant of a plan is repeated over: "5 seeds", or "3 seeds x 5 folds"."""
    seeds = format_seeds(len(plan.seeds))
    return seeds if plan.folds is None else f"{seeds} x {counted(plan.folds, 'fold')}"


def over_replicates(plan: Plan) -> str:
    """Return what means are taken over: "seeds", or "seeds and folds"."""
    return "seeds" if plan.folds is None else "seeds and folds"


def format_pairs(replicates: Sequence[Replicate], folds: int | None) -> str:
    """Return "2 paired seeds", with folds "2 paired folds"."""
    return counted(value_count(replicates), f"paired {replicate_noun(folds)}")


def format_trial(trial: PlannedTrial) -> str:
    """Return what tells a trial from the others of its variant: "seed 2", with folds "seed 2 fold 0"."""
    return f"seed {trial.seed}" if trial.fold is None else f"seed {trial.seed} fold {trial.fold}"


def replicate_noun(folds: int | None) -> str:
    """Return what a value of a variant comes from: a "seed", or with cross-validation a "fold"."""
    return "seed" if folds is None else "fold"


def format_duration(seconds: float) -> str:
    """Return "420 ms", "3.2 s", "65 s", "4 min 10 s" or "1 h 5 min"; "–" for none that is finite."""
    if not math.isfinite(seconds):
        return "–"
    if round(seconds, 2) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return _two_units(whole, 60, "min", "s")
    return _two_units(round(seconds / 60), 60, "h", "min")


def metric_name(info: MetricInfo) -> str:
    """Return what a sentence calls a metric: its symbol, or its title where that is a clipped word (Acc)."""
    return info.title if info.symbol.istitle() else info.symbol


def _named(noun: str, numbers: Sequence[int]) -> str:
    return f"{noun}{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _two_units(count: int, size: int, large: str, small: str) -> str:
    whole, rest = divmod(count, size)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def _fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def _shown(info: MetricInfo, value: float) -> float:
    return 100 * value if info.percent else value


def _unit(info: MetricInfo) -> str:
    return f" {info.unit}" if info.unit and not info.percent else ""


def _decimals(info: MetricInfo, smallest: float) -> int:
    """Return the metric's decimals, or as many as show the first digit of `smallest`."""
    if smallest == 0:
        return info.decimals
    first_digit = -math.floor(math.log10(_shown(info, smallest)))
    return min(max(info.decimals, first_digit), MOST_DECIMALS)


def _is_one(info: MetricInfo, value: float, decimals: int) -> bool:
    return _fixed(abs(_shown(info, value)), decimals) == "1"
