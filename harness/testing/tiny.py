"""A suite that trains real trials in about a second each."""

TINY = """\
suite: tiny
question: Does this work?
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 64, validation_size: 24}
  model: {name: conditional_unet, widths: [8, 16], layers: 1}
  loss: {mse: 1.0}
  optimizer: {name: adamw, lr: 2e-3}
  schedule: {name: warmup_cosine}
  train: {epochs: 3, batch_size: 16, clip_norm: 1.0, augment: [hflip]}
vary:
  - factor: loss_terms
    design: cumulative
    levels:
      mse: {}
      l1: {set: {loss.l1: 0.5}, why: sharper edges}
      lab: {set: {loss.lab_l1: 0.3}}
seeds: 2
claims:
  - id: lab-helps
    says: LAB helps
    expect: {metric: delta_e, of: lab, versus: l1, direction: better}
"""
