"""What a run may take, as a suite says it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.config import Frozen

Amount = Annotated[float, Field(gt=0)]


class Budget(Frozen):
    """The most that one run may take, what is done about more, and what an hour costs."""

    gpu_hours: Amount | None = None
    """GPUs times hours, over all trials; a trial on half a GPU counts half."""
    cpu_hours: Amount | None = None
    """CPUs times hours, over all trials."""
    hours: Amount | None = None
    """From the start of the run to its end."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """Trials that one run begins; those that the store holds do not count."""
    money: Amount | None = None
    """In `currency`, at the prices below."""
    when_over: Literal["refuse", "trim"] = "refuse"
    """What is done about a plan that is expected to take more: `refuse` it, or `trim` whole seeds
    from the end of it."""
    price_per_gpu_hour: Amount | None = None
    """In `currency`."""
    price_per_cpu_hour: Amount | None = None
    """In `currency`."""
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    """Three letters, such as EUR or USD."""

    @model_validator(mode="after")
    def _money_has_a_price_and_a_currency(self) -> Self:
        priced = self.price_per_gpu_hour is not None or self.price_per_cpu_hour is not None
        if self.money is not None and not priced:
            raise ValueError("money needs a price: `price_per_gpu_hour`, `price_per_cpu_hour` or both")
        if priced and self.currency is None:
            raise ValueError("a price needs a `currency`, such as EUR")
        return self

    @property
    def limits(self) -> list[str]:
        """What is limited, in words, such as "2 GPU hours"."""
        units = {
            "hours": "hours",
            "gpu_hours": "GPU hours",
            "cpu_hours": "CPU hours",
            "trials": "trials",
            "money": self.currency,
        }
        values = {limit: getattr(self, limit) for limit in units}
        return [f"{value:g} {units[limit]}" for limit, value in values.items() if value is not None]

    def cost(self, *, gpu_hours: float, cpu_hours: float) -> float | None:
        """Return the money that hours cost, in `currency`; none where no price is known."""
        if self.price_per_gpu_hour is None and self.price_per_cpu_hour is None:
            return None
        return gpu_hours * (self.price_per_gpu_hour or 0.0) + cpu_hours * (self.price_per_cpu_hour or 0.0)
