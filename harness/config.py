"""The frozen models of one trial, and the base that every component's Config shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from harness.canonical import content_hash

IDENTITY = "identity"
"""Context of a serialisation that leaves out what is no part of a trial's identity."""


class Frozen(BaseModel):
    """Immutable, keyword-only, unknown keys refused; a string under a field documents it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ComponentConfig(Frozen):
    """Parameters of a component that a suite picks by `name`."""

    name: str
    """Name in the registry."""

    def idle(self) -> tuple[str, ...]:
        """Return the settings that have no effect beside the others.

        They are written as their defaults, so that they set no two trials apart.
        """
        return ()

    def whereabouts(self) -> tuple[str, ...]:
        """Return the settings that say where something lies, beside others that say what it is.

        They are kept with a trial, which has to find it, and are no part of its identity.
        """
        return ()

    @model_serializer(mode="wrap")
    def _idle_as_default(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo[Any]
    ) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name in self.idle():
            field = type(self).model_fields[name]
            default = field.get_default(call_default_factory=True)
            if field.exclude_if is not None and field.exclude_if(default):
                written.pop(name, None)
            else:
                written[name] = default
        if info.context == IDENTITY:
            for name in self.whereabouts():
                written.pop(name, None)
        return written


def _pair(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _single(value: tuple[int, int]) -> int | tuple[int, int]:
    return value[0] if value[0] == value[1] else value


Side = Annotated[int, Field(ge=1, le=10_000)]
Size = Annotated[
    tuple[Side, Side],
    BeforeValidator(_pair),
    PlainSerializer(_single),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]
"""Height and width in pixels; in a suite one number stands for a square, and is written so again."""


class DataConfig(ComponentConfig):
    """Parameters that every data set has."""

    size: Size
    """Height and width of a picture in pixels; one number for a square."""
    train_size: int = Field(ge=1)
    """Samples to train on."""
    validation_size: int = Field(ge=1)
    """Samples to validate on."""

    def parts(self) -> tuple[DataConfig, ...]:
        """Return the settings of the data sets that this one is made of; none for most."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the results has to know of the data, such as files left out."""
        return ()


class ModelConfig(ComponentConfig):
    """Parameters that every model has."""

    def check(self, height: int, width: int) -> str | None:
        """Return why the model does not take pictures of `height` x `width` pixels, or none."""
        return None

    def trained(self) -> Self:
        """Return the settings of the same model for weights that are loaded once it is built.

        Building it then reads no file and asks no cache: it works on a machine that has none of them.
        """
        return self


class TrackerConfig(ComponentConfig):
    """Parameters that every tracker has."""

    finish_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Longest time that the end of a trial waits for the tracker; then the tracker is ended."""
    pictures: bool = True
    """Whether the sample pictures of every epoch are sent, beside the numbers."""


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
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32. `fp16` scales the loss so that
    small gradients do not vanish, and leaves out the steps whose gradient overflows."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the exponential moving average of the weights, kept in fp32; none switches it off.
    With it, validation, samples and the kept weights are those of the average."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Epochs without a better primary metric after which training ends; none trains to the end."""
    augment: tuple[SerializeAsAny[ComponentConfig], ...] = ()
    """Random changes of the training images, the same for input and target, drawn from
    (seed, epoch, index); applied in alphabetical order of their names, whatever the order written."""
    balance: str | None = None
    """Kind of label, such as `colour`, whose values are drawn equally often in training; none draws
    every sample once an epoch."""
    determinism: Literal["strict", "warn", "off"] = "strict"
    """`strict` raises on an operation that does not repeat, `warn` names it, `off` asks for none."""


StrategyName = Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"]
ZERO: tuple[StrategyName, ...] = ("zero1", "zero2", "zero3")
SHARDED: tuple[StrategyName, ...] = ("fsdp", "zero3")
"""Strategies under which no process holds the whole weights between steps."""


class StrategyConfig(Frozen):
    """How one trial spreads over processes."""

    name: StrategyName = "single"
    """`single`: one process. `ddp`: whole copies (DistributedDataParallel of torch). `fsdp`: weights,
    gradients and optimizer state in parts (`fully_shard` of torch). `zero1`, `zero2`, `zero3`: the
    optimizer state in parts, then the gradients too, then the weights too (DeepSpeed)."""
    processes: int = Field(default=1, ge=1, le=10_000)
    """Processes of one trial; on GPUs each has its own."""
    offload: Literal["none", "cpu"] = "none"
    """`cpu` keeps the optimizer state, and with `zero3` the weights, in main memory; for ZeRO alone."""


class TrialSpec(Frozen):
    """Everything that changes the results of one trial, and nothing that does not."""

    task: str
    data: SerializeAsAny[DataConfig]
    model: SerializeAsAny[ModelConfig]
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
    metrics: tuple[SerializeAsAny[ComponentConfig], ...] = ()
    """Metrics that the suite adds to those of the task."""
    plugins: dict[str, str] = Field(default_factory=dict)
    """`module:Name` of every component that is not the harness's own -> hash of its sources."""
    strategy: StrategyName = "single"
    """How a trial spreads over processes."""
    world_size: int = Field(default=1, ge=1)
    """Processes that it asks for; it may train in fewer, with the same effective batch."""
    offload: Literal["none", "cpu"] = Field(default="none", exclude_if=lambda value: value == "none")
    """Where ZeRO keeps the optimizer state, as in `StrategyConfig`; left out of the identity where `none`."""
    seed: int = Field(ge=0)
    folds: int | None = Field(default=None, ge=2)
    """Parts that the training split is cut into for cross-validation; none trains on all of it and
    validates on the validation split."""
    fold: int | None = Field(default=None, ge=0)
    """The part that this trial validates on, from 0; it trains on the others."""

    def identity(self) -> dict[str, Any]:
        """Return what the id is a hash of: all settings but those that only say where something lies."""
        return self.model_dump(mode="json", context=IDENTITY)

    def trial_id(self) -> str:
        """Return the content hash that names this trial in every store."""
        return content_hash(self.identity())


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
    detail: bool = False
    """Shown only where a suite or a command asks for it, or where a report folds what is less asked for."""

    def improvement(self, difference: float) -> float:
        """Return `difference` with the sign turned so that positive is better."""
        return difference if self.direction == "higher" else -difference
