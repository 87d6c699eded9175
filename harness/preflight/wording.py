"""From what code raises to mistakes of one line, at the setting that is to blame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch._subclasses import fake_tensor

from harness.config import TrialSpec
from harness.document import Path_
from harness.errors import HarnessError
from harness.validation import Mistake, Mistakes

LONGEST_MESSAGE = 300  # characters
VALUE_DEPENDENT = (
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedOperatorException,
)
"""What code raises under fake tensors that reads values, and that is right all the same."""


def refuse(path: Path_, message: str) -> None:
    """Raise one mistake."""
    raise Mistakes([Mistake(path, message)])


@contextlib.contextmanager
def blaming(path: Path_, what: str, *, batch_norm: Callable[[str], str] | None = None) -> Iterator[None]:
    """Turn whatever a component raises into one line at `path`."""
    try:
        yield
    except (Mistakes, *VALUE_DEPENDENT):
        raise
    except HarnessError as error:
        raise Mistakes([Mistake(path, _one_line(str(error)))]) from error
    except Exception as error:
        text = _one_line(str(error))
        if batch_norm is not None and text.startswith("Expected more than 1 value per channel"):
            raise Mistakes([Mistake(("train", "batch_size"), batch_norm(text))]) from error
        message = f"{what}: {type(error).__name__}: {text}"
        raise Mistakes([Mistake(path, message.removesuffix(": "))]) from error


def batch_norm_message(spec: TrialSpec, samples: int) -> Callable[[str], str]:
    """Return what turns torch's words on a batch norm over one value into ours."""

    def message(text: str) -> str:
        shape = text.partition("torch.Size([")[2].partition("]")[0].split(", ")
        features = f"{'x'.join(shape[2:])} map" if len(shape) > 2 else "vector"
        way_out = "less accumulation" if spec.train.accumulation > 1 else "a larger batch_size"
        return (
            f"BatchNorm needs more than one value per channel when training: {features} at "
            f"micro-batch {samples}; use norm: group or {way_out}"
        )

    return message


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 3]}..."
