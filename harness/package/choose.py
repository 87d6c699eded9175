"""Which attempt of a store a user means to export: a trial by its id, or a variant by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.analysis.wording import format_number, format_value
from harness.errors import HarnessError, did_you_mean
from harness.plan import PlannedTrial
from harness.store.read import RunRecord, StoreReader
from harness.store.write import Attempt

WeightsName = Literal["best", "last"]
SHORTEST_PREFIX = 4


@dataclass(frozen=True)
class Choice:
    """A complete attempt, and how it was chosen."""

    attempt: Attempt
    variant: str
    """As its run calls it."""
    suite: str | None
    """Of its run; none where the store no longer has the run."""
    among: tuple[tuple[int, float], ...]
    """Seed and value in the primary metric of every complete trial of the variant, the best first; empty
    where a trial was named by its id."""
    sentence: str


def choose(text: str, reader: StoreReader, *, run: str = "latest", seed: int | None = None) -> Choice:
    """Return the attempt that `text` names.

    Args:
        text: a variant of the run, or the beginning of a trial's id.
        reader: of the store.
        run: id, unique prefix or `latest`, whose variants are meant.
        seed: of the trial; of a variant the median seed when none.

    Raises:
        HarnessError: it names nothing, several trials, or a trial that is not complete.
    """
    known = [variant.name for variant in reader.plan(run).variants]
    if text in known:
        return _of_variant(reader.run(run, variants=[text]), reader, text, seed)
    ids = sorted(one for one in reader.tried if one.startswith(text)) if len(text) >= SHORTEST_PREFIX else []
    if len(ids) == 1:
        return _by_id(ids[0], reader, seed)
    if ids:
        raise HarnessError(
            f"'{text}' begins {len(ids)} ids of trials: {', '.join(ids[:10])}; give more of it"
        )
    raise HarnessError(
        f"'{text}' is no variant of run {reader.find_run(run)} and no trial of {reader.address}"
        f"{did_you_mean(text, known)}"
    )


def _by_id(trial_id: str, reader: StoreReader, seed: int | None) -> Choice:
    complete = [one for one in reader.attempts_of(trial_id) if one.status == "complete"]
    if not complete:
        raise HarnessError(f"trial {trial_id} has no complete attempt; `harness run` its suite again")
    attempt = complete[-1]
    if seed not in (None, attempt.seed):
        raise HarnessError(f"trial {trial_id} has seed {attempt.seed}, not {seed}; leave --seed out")
    suites = {str(row["run_id"]): str(row["suite"]) for row in reader.run_rows()}
    sentence = f"trial {trial_id}: variant {attempt.variant}, seed {attempt.seed}"
    return Choice(attempt, attempt.variant, suites.get(attempt.run_id), (), sentence)


def _of_variant(record: RunRecord, reader: StoreReader, variant: str, seed: int | None) -> Choice:
    planned = {trial.id: trial for trial in record.plan.trials if variant in trial.variants}
    values = _values(record, planned)
    run_id = record.run["run_id"]
    if not values:
        raise HarnessError(f"variant {variant} of run {run_id} has no complete trial; `harness run` it again")
    ranked = sorted(values, key=lambda one: (-_goodness(record, values[one]), planned[one].seed, one))
    chosen = ranked[len(ranked) // 2]  # of two in the middle the worse one
    if seed is not None:
        of_seed = [one for one in ranked if planned[one].seed == seed]
        if not of_seed:
            seeds = ", ".join(str(one) for one in sorted({planned[one].seed for one in ranked}))
            raise HarnessError(f"variant {variant} of run {run_id} has no seed {seed}; complete are {seeds}")
        chosen = of_seed[len(of_seed) // 2]
    [number] = record.trials.loc[record.trials["trial_id"] == chosen, "attempt"].tolist()
    attempt = reader.attempt(chosen, number)
    assert attempt is not None
    among = tuple((planned[one].seed, values[one]) for one in ranked)
    sentence = _sentence(record, variant, planned[chosen], values[chosen], among, median=seed is None)
    return Choice(attempt, variant, str(record.run["suite"]), among, sentence)


def _values(record: RunRecord, planned: dict[str, PlannedTrial]) -> dict[str, float]:
    """Return the last epoch's value in the primary metric of every complete trial, by id."""
    trials = record.trials[record.trials["trial_id"].isin(list(planned))]
    complete = set(trials.loc[trials["status"] == "complete", "trial_id"])
    metrics = record.metrics
    rows = metrics[
        (metrics["split"] == "validation")
        & (metrics["metric"] == record.plan.primary_metric)
        & metrics["label"].isna()
        & metrics["trial_id"].isin(list(complete))
    ]
    last = rows.sort_values("epoch").groupby("trial_id")["value"].last()
    return {str(trial_id): float(value) for trial_id, value in last.items()}


def _goodness(record: RunRecord, value: float) -> float:
    return record.plan.metrics[record.plan.primary_metric].improvement(value)


def _sentence(
    record: RunRecord,
    variant: str,
    trial: PlannedTrial,
    value: float,
    among: tuple[tuple[int, float], ...],
    *,
    median: bool,
) -> str:
    info = record.plan.metrics[record.plan.primary_metric]
    of_fold = "" if trial.fold is None else f", fold {trial.fold}"
    shown = f"{info.symbol} {format_value(info, value)}"
    start = f"variant {variant}, seed {trial.seed}{of_fold}: "
    if len(among) == 1:
        return f"{start}{shown}, the only complete trial"
    best, worst = (format_number(info, found) for found in (among[0][1], among[-1][1]))
    which = "the median" if median else "asked for"
    return f"{start}{shown}, {which} of {len(among)} trials from {best} to {worst}"
