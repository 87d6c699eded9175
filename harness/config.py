"""The frozen models of one trial, and the base that every component's Config shares."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from harness.canonical import content_hash


class Frozen(BaseModel):
    """Immutable, keyword-only, unknown keys refused; a string under a field documents it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ComponentConfig(Frozen):
    """Parameters of a component that a suite picks by `name`."""

    name: str
    """Name in the registry."""


class DataConfig(ComponentConfig):
    """Parameters that every data set has."""

    size: int = Field(ge=1)
    """Height and width of a picture in pixels."""
    train_size: int = Field(ge=1)
    """Samples to train on."""
    validation_size: int = Field(ge=1)
    """Samples to validate on."""


class LossConfig(Frozen):
    """Parameters of one loss term; in a suite a bare number stands for the weight."""

    weight: float = Field(ge=0)
    """Factor of the term in the total; a term of weight 0 is dropped."""


class TrainConfig(Frozen):
    """How long and how a trial trains."""

    epochs: int = Field(ge=1, le=1_000_000)
    """Passes over the training set."""
    batch_size: int = Field(ge=1, le=1_000_000)
    """Samples of one optimizer step, over all processes and accumulation steps."""
    accumulation: int = Field(default=1, ge=1)
    """Micro-batches that one optimizer step is split into; must divide `batch_size`."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest L2 norm of the gradient; none leaves it as it is."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the exponential moving average of the weights, kept in fp32; none switches it off.
    With it, validation, samples and the kept weights are those of the average."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Epochs without a better primary metric after which training ends; none trains to the end."""
    augment: tuple[Literal["hflip", "vflip"], ...] = ()
    """Random changes of the training images, the same for input and target, drawn from
    (seed, epoch, index): `hflip` and `vflip` mirror with probability one half."""
    determinism: Literal["strict", "warn", "off"] = "strict"
    """`strict` raises on an operation that does not repeat, `warn` names it, `off` asks for none."""

    @field_validator("augment")
    @classmethod
    def _in_alphabetical_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse repeats, which would cancel out, and sort: the order does not change a picture."""
        if len(set(names)) < len(names):
            raise ValueError("each change once at most")
        return tuple(sorted(names))


class TrialSpec(Frozen):
    """Everything that changes the results of one trial, and nothing that does not."""

    task: str
    data: SerializeAsAny[DataConfig]
    model: SerializeAsAny[ComponentConfig]
    loss: dict[str, SerializeAsAny[LossConfig]]
    """Loss terms by name, in alphabetical order."""
    optimizer: SerializeAsAny[ComponentConfig]
    schedule: SerializeAsAny[ComponentConfig]
    train: TrainConfig
    primary_metric: str
    """Metric that picks the best checkpoint and that early stopping watches."""
    perceptual_weights: Literal["published", "random"]
    """Weights of the feature networks in perceptual losses and metrics: `published`, or `random`,
    drawn from one fixed seed; the random ones are recorded under names that end in `_rand`."""
    strategy: Literal["single"] = "single"
    """How a trial spreads over processes."""
    world_size: int = Field(default=1, ge=1)
    seed: int = Field(ge=0)

    def trial_id(self) -> str:
        """Return the content hash that names this trial in every store."""
        return content_hash(self.model_dump(mode="json"))


class MetricInfo(Frozen):
    """What a figure means: enough to print, compare and judge it without computing it."""

    name: str
    title: str
    """What a reader calls it, for instance "Colour error"."""
    symbol: str
    """Short form for tables and charts, for instance "ΔE"."""
    unit: str = ""
    direction: Literal["higher", "lower"]
    """Which way is better."""
    range: tuple[float | None, float | None]
    """Smallest and largest possible value; none where there is no bound."""
    decimals: int = 3
    """Digits after the point in a table."""
    percent: bool = False
    """Show as a percentage (the stored value stays a fraction)."""
    description: str
    """One sentence: how it is computed, over what, and the source of the formula."""
    theme: Literal["structure", "colour", "pixel", "perceptual"]
    """Where observations about it belong in a report."""

    def improvement(self, difference: float) -> float:
        """Return `difference` with the sign turned so that positive is better."""
        return difference if self.direction == "higher" else -difference
