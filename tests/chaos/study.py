"""What is run while it is disturbed: trials of some seconds each, some of them in two processes."""

# A worker frozen for `stall_minutes` is killed. Budgets are those of a suite that says nothing else.
SUITE = """\
suite: chaos
question: Is anything lost?
task: colorization
primary_metric: delta_e
base:
  data: {{name: polygons, size: 32, train_size: 256, validation_size: 32}}
  model: {{name: conditional_unet, widths: [8, 16], layers: 1}}
  loss: {{mse: 1.0}}
  optimizer: {{name: adamw, lr: 2e-3}}
  schedule: {{name: warmup_cosine}}
  train: {{epochs: {epochs}, batch_size: 16, clip_norm: 1.0, augment: [hflip]}}
vary:
  - factor: loss_terms
    design: one_at_a_time
    levels:
      mse: {{}}
      l1: {{set: {{loss.l1: 0.5}}}}
      lab: {{set: {{loss.lab_l1: 0.3}}}}
{factor}seeds: {seeds}
"""

TWO_PROCESSES = """\
  - factor: processes
    levels:
      one: {}
      two: {set: {strategy: {name: ddp, processes: 2}}}
"""

FAILURES = """\
failures: {{stall_minutes: {stall_minutes}}}
"""


def suite_text(
    *, epochs: int, seeds: int, stall_minutes: float | None = None, two_processes: bool = True
) -> str:
    """Return the suite: three variants, and one more of two processes."""
    text = SUITE.format(
        epochs=epochs,
        seeds=seeds,
        factor=TWO_PROCESSES if two_processes else "",
    )
    return text + (FAILURES.format(stall_minutes=stall_minutes) if stall_minutes else "")
