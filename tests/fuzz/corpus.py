"""Suites to start from, files beside them, and suites made to hurt a reader."""

from __future__ import annotations

from random import Random

from harness import catalog
from harness.testing.tiny import TINY

RICH = """\
suite: rich
question: Which of many things matters?
task: colorization
primary_metric: delta_e
extends: parent.yaml
include: [part.yaml]
base:
  data: &data {name: polygons, size: 32, train_size: 64, validation_size: 24, backgrounds: [white]}
  model: {name: conditional_unet, widths: [8, 16], layers: 1, norm: group, groups: 2}
  loss: {mse: 1.0, l1: 0.5, lab_l1: {weight: 1e-1}, "fuzz_parts:Power": {weight: 0.1, exponent: 2}}
  optimizer: {name: adamw, lr: 2e-3}
  train: {epochs: 3, batch_size: 16, clip_norm: 1.0, augment: [hflip, vflip]}
vary:
  - use: skips
  - use: learning_rate
    factor: rate
    with: {factors: [0.1, 10]}
  - use: local
    with: {depths: [3]}
  - group: grid
    design: factorial
    factors:
      - {factor: norm, path: model.norm, values: [group, batch]}
      - {factor: groups, path: model.groups, values: [2, 4], when: {model.norm: group}}
      - group: either
        design: side_by_side
        factors:
          - {factor: wide, path: model.widths, scale: [1, 2]}
          - {factor: act, levels: {relu: {}, silu: {set: {model.activation: silu}}}}
  - group: pairs
    design: paired
    question: Together?
    factors:
      - {factor: epochs, path: train.epochs, values: [2, 3]}
      - {factor: batch_size, path: train.batch_size, values: [8, 16]}
  - factor: terms
    design: leave_one_out
    each: loss.*
    except: [mse]
  - factor: chain
    design: cumulative
    levels:
      plain: {}
      no_flip: {drop: [train.augment.hflip], why: symmetric data, reported: {parameters: 12}}
      ssim: {add: {loss.ssim: 0.1}, title: with SSIM, links: {paper: "https://example.org/1"}}
      sgd: {swap: {optimizer: {name: sgd, lr: 0.1}}}
      long: {scale: {train.epochs: 2}, requires_nothing: 0}
seeds: [0, 3]
folds: 3
margins: {delta_e: 1.0}
exclude:
  - {match: {norm: norm_batch, wide: [widths_x2]}, why: too slow}
claims:
  - id: skips-matter
    says: Skips matter
    expect: {metric: delta_e, of: no_skips, versus: ema_none, direction: worse, by: 0.1, label: colour=red}
  - id: same
    says: Rate does not matter
    expect: {metric: ssim, of: lr_x0.1, versus: lr_x10, direction: equivalent, margin: 0.1}
  - {id: bounded, says: x, expect: {metric: [psnr, ssim], of: lr_x10, at_least: 0.1, at_most: 90}}
  - {id: reported, says: x, expect: {metric: parameters, of: lr_x10, reported: 12, tolerance: 5%}}
  - {id: ordered, says: x, expect: {metric: ssim, ranked: [lr_x0.1, lr_x10], by: 0.1, label: [colour=red]}}
  - {id: best, says: x, expect: {metric: psnr, best: lr_x10, among: [lr_x0.1, no_skips]}}
  - {id: gain, says: x, expect: {metric: psnr, largest_gain: ssim}}
  - {id: both, says: x, expect: {metric: psnr, interaction: [no_skips, lr_x0.1], together: lr_x10, direction: better}}
  - {id: flat, says: x, expect: {metric: psnr, of: lr_x10, curve: plateaued, by_epoch: 1, tolerance: 0.1}}
  - {id: dear, says: x, expect: {cost: train_seconds, of: lr_x10, versus: no_skips, direction: more, by: 1.3}}
profiles:
  smoke: {seeds: 1, base.train.epochs: 1, 'base.loss."fuzz_parts:Power".exponent': 3}
  odd: {vary.0.use: depth, resources: {cpus: 2}, base.data.backgrounds.0: coloured}
resources: {cpus: 1, gpus: 0.5}
budget: {hours: 2, trials: 1000, when_over: trim}
report: {metrics: [delta_e, ssim]}
""".replace(", requires_nothing: 0", "")

CROSSED = """\
suite: crossed
task: colorization
primary_metric: delta_e
design: factorial
reference: depth_3
base:
  data: {name: polygons, size: 32, train_size: 64, validation_size: 24}
  model: {name: conditional_unet, widths: [8, 16], layers: 1}
  loss: {mse: 1.0, l1: 0.5, ssim: 0.1}
  optimizer: {name: adamw, lr: 2e-3}
  schedule: {name: warmup_cosine}
  train: {epochs: 3, batch_size: 16}
vary:
  - factor: parts
    design: factorial
    resolution: 3
    levels:
      a: {set: {model.layers: 2}}
      b: {add: {loss.lab_l1: 0.1}}
      c: {set: {model.skips: false}}
      d: {drop: [loss.l1]}
  - {factor: depth, path: model.depth, values: [2, 3], requires: [model.depth]}
exclude:
  - {match: {depth: depth_3, parts.a: "on"}, why: too large}
seeds: 2
"""

LISTED = """\
suite: listed
task: colorization
primary_metric: psnr
base: &base
  data: {name: polygons, size: 32, train_size: 64, validation_size: 24}
  model: {name: conditional_unet, widths: &widths [8, 16], layers: 1}
  loss: {mse: 1.0}
  optimizer: {name: adamw, lr: 2e-3}
  train: {epochs: 3, batch_size: 16}
vary:
  - factor: models
    design: list
    levels:
      small: {set: {model.widths: *widths}}
      deeper: {from: small, set: {model.depth: 3}}
      plain: {from: deeper, drop: [model.layers], swap: {loss.mse: l1}}
  - group: named
    design: list
    variants:
      first: {depth: depth_2}
      second: {depth: depth_3, skips: no_skips}
    factors:
      - {factor: depth, path: model.depth, values: [2, 3]}
      - {use: skips}
  - factor: whole
    design: leave_one_out
    levels:
      flips: {add: {train.augment: [hflip]}}
      more: {scale: {data.train_size: 2}}
"""

BESIDE = {
    "parent.yaml": """\
suite: parent
task: colorization
primary_metric: psnr
base:
  train: {precision: fp32}
  schedule: {name: constant}
margins: {psnr: 1}
""",
    "part.yaml": """\
vary:
  - {factor: ema, path: train.ema, values: [null, 0.9]}
margins: {ssim: 0.01}
""",
    "ablations/local.yaml": """\
factor: depth
requires: [model.depth]
options:
  depths: {default: [2, 3], help: numbers of resolutions}
path: model.depth
values: ${depths}
""",
    "loop.yaml": "include: [part.yaml, loop1.yaml, loop1.yaml, loop1.yaml, loop1.yaml]",
    "loop1.yaml": "include: [part.yaml, loop2.yaml, loop2.yaml, loop2.yaml, loop2.yaml]",
    "loop2.yaml": "include: [part.yaml, loop3.yaml, loop3.yaml, loop3.yaml, loop3.yaml]",
    "loop3.yaml": "include: [part.yaml, parent.yaml, parent.yaml]",
    "fuzz_parts.py": """\
from harness.config import LossConfig
from harness.losses.base import LossTerm


class PowerConfig(LossConfig):
    exponent: float = 1.5


class Power(LossTerm):
    Config = PowerConfig
    recorded_name = "power"

    def compare(self, prediction, batch):
        return (prediction - batch["target"]).abs().flatten(1).mean(1)
""",
}
"""Files of the project that the suites belong to."""


def suites() -> list[str]:
    """Return the texts of suites that plan: the bundled ones, a tiny one, and those that use everything."""
    bundled = [catalog.find("suites", name).read_text("utf-8") for name in catalog.names("suites")]
    return [TINY, RICH, RICH, CROSSED, LISTED, *bundled]


HEAD = TINY[: TINY.index("vary:")]


def attacks(random: Random, canary: str) -> list[bytes]:
    """Return suites that each try one way to hurt; `canary` is a file that code would make."""
    many = random.choice((100, 1000, 1000, 10_000, 100_000))
    deep = 10 ** random.randint(1, 5)
    big = 10 ** random.randint(3, 30)
    run = f"touch {canary}"
    texts = [
        f"!!python/object/apply:os.system ['{run}']",
        f"suite: !!python/object/apply:os.system ['{run}']",
        f"{HEAD}seeds: !!python/object/apply:subprocess.check_call [[touch, '{canary}']]",
        f"{HEAD}seeds: !!python/object/new:os.system ['{run}']",
        f"{HEAD}? !!python/object/apply:os.system ['{run}']\n: 1",
        f"%TAG ! tag:yaml.org,2002:python/\n---\n{HEAD}x: !object/apply:os.system ['{run}']",
        f"{HEAD}vary: [{{use: '__import__(\"os\").system(\"{run}\")'}}]",
        f"{HEAD}description: ${{os.system('{run}')}}",
        "%YAML 1.1\n---\nsuite: on\n" + HEAD,
        "%YAML 9.9\n---\n" + HEAD,
        "[" * deep,
        "[" * deep + "]" * deep,
        "{a: " * deep + "}" * deep,
        "- " * deep + "x",
        HEAD + "vary: " + "[" * deep + "]" * deep,
        HEAD + "vary: " + "[{group: g, factors: " * (deep % 3000),
        HEAD + "vary: " + _nested_groups(min(deep, 25)),
        HEAD + _shallow_steps(min(deep, 1000)),
        _laughs(random.randint(2, 12), random.randint(2, 12)),
        HEAD + "x: &x [*x, *x]",
        HEAD + "base: &b {<<: *b}",
        "a: &a {b: 1}\nc: {<<: *a}\n<<: [*a, *a]",
        f"{HEAD}seeds: {big}",
        f"{HEAD}seeds: {many}",
        f"{HEAD}seeds: [{big}, -1, 1.5]",
        f"{HEAD}seeds: [{', '.join(map(str, range(many)))}]",
        f"{HEAD}folds: {big}",
        f"{HEAD}folds: {many}\nseeds: {many}",
        f"{HEAD}seeds: 1000\nfolds: 100\n{_values('train.epochs', 40)}",
        HEAD + _values("train.epochs", many),
        HEAD + _values("train.nothing", many),
        HEAD + _values("model.widths.0.x", many),
        f"{HEAD}vary: [{{factor: f, path: train.epochs, scale: [{', '.join(['1.5'] * min(many, 20000))}]}}]",
        f"{HEAD}vary: [{{factor: f, path: train.epochs, values: [{', '.join(['2'] * many)}]}}]",
        HEAD + _levels("one_at_a_time", many // 20),
        HEAD + _levels("cumulative", many // 20),
        HEAD + _levels("leave_one_out", many // 20),
        HEAD + _levels("factorial", random.randint(2, 40)),
        HEAD + _levels("factorial", random.randint(2, 400), "resolution: 3"),
        HEAD + _levels("factorial", random.randint(5, 40), f"resolution: {random.randint(3, 7)}"),
        HEAD + _chain(many // 20),
        HEAD + _crossed(random.randint(1, 8), random.randint(2, 12)),
        HEAD + _crossed(random.randint(1, 3), random.randint(2, 12), when=True),
        HEAD + "vary: [" + ", ".join(f"{{factor: f{i}, levels: {{a: {{}}}}}}" for i in range(many // 20)) + "]",
        HEAD + "vary: [" + "{use: skips}, " * (many // 50) + "]",
        HEAD + "exclude: [" + "{match: {f: a}, why: x}, " * (many // 20) + "]",
        HEAD + _excludes(min(many // 20, 300)),
        HEAD + _claims(many // 20),
        HEAD.replace("mse: 1.0", _numbered("l{}: 1", many // 100)) + _values("train.epochs", many // 100),
        HEAD.replace("mse: 1.0", _numbered("l{}: 1", many // 20)) + "vary: [{factor: f, each: loss.*}]",
        f"{HEAD}{_values('train.epochs', 500)}\nexclude: [{_numbered('{{match: {{f: epochs_{}}}, why: x}}', 500)}]",
        f"{HEAD}profiles: {{smoke: {{{_numbered('base.model.x{}: 1', many // 40)}}}}}",
        f"extends: parent.yaml\n{HEAD}margins: {{{_numbered('k{}: 1', many // 20)}}}",
        f"{HEAD}vary: [{{use: local, with: {{depths: [{_numbered('{}', many // 10)}]}}}}]",
        f"{HEAD}include: [loop.yaml, loop.yaml]",
        f"{HEAD}profiles: {{smoke: {{profiles.smoke.a: 1, profiles.x.y: 2}}}}",
        f"{HEAD}vary: [{{group: g, factors: [{_numbered('{{use: skips, factor: f{}}}', min(many, 3000))}]}}]",
        f"{HEAD}vary: [{_numbered('{{use: skips, factor: f{}}}', min(many, 3000))}]",
        HEAD + "profiles: {" + ", ".join(f"p{i}: {{seeds: {i}}}" for i in range(many // 20)) + "}",
        HEAD + "margins: {" + ", ".join(f"m{i}: 1" for i in range(many)) + "}",
        HEAD + "base: {" + ", ".join(f"k{i}: 1" for i in range(many)) + "}",
        "\n".join(f"key{i}: {i}" for i in range(many)),
        "x: " + "a" * many * 3,
        f"{'n' * many}: 1\n{HEAD}",
        HEAD.replace("loss: {mse: 1.0}", "loss: {" + ", ".join(f"l{i}: 1" for i in range(many // 20)) + "}"),
        HEAD.replace("mse: 1.0", f"mse: {big}"),
        HEAD.replace("mse: 1.0", f"mse: 1e{random.randint(2, 400)}"),
        HEAD.replace("mse: 1.0", "mse: " + "9" * min(many, 5000)),
        HEAD.replace("mse: 1.0", f"mse: 0x{'f' * many}"),
        HEAD.replace("mse: 1.0", f"mse: {'1:' * (many // 10)}1"),
        HEAD.replace("size: 32", f"size: {big}"),
        HEAD.replace("widths: [8, 16]", f"widths: [{', '.join(['8'] * many)}]"),
        HEAD.replace("[hflip]", "[" + "hflip, " * many + "]"),
        HEAD.replace("epochs: 3", f"epochs: {big}"),
        HEAD.replace("epochs: 3", "epochs: 1000000").replace("batch_size: 16", "batch_size: 1")
        + "vary: [{factor: f, path: train.epochs, scale: [1e300, 1e-300]}]",
        f"{HEAD}extends: {_odd_file(random)}",
        f"{HEAD}include: {_odd_file(random)}",
        f"{HEAD}include: [{', '.join([_odd_file(random)] * (many // 50))}]",
        f"{HEAD}include: [{', '.join(['part.yaml'] * (many // 20))}]",
        f"{HEAD}extends: suite.yaml",
        f"{HEAD}vary: [{{use: {_odd_file(random)}}}]",
        f"{HEAD}report: {{template: {_odd_file(random)}}}",
        HEAD.replace("mse: 1.0", f"'{_odd_module(random)}': 1"),
        HEAD.replace("name: adamw", f"name: '{_odd_module(random)}'"),
        HEAD.replace("task: colorization", f"task: '{_odd_module(random)}'"),
        HEAD.replace("[hflip]", f"['{_odd_module(random)}']"),
        "\x00", "", "\n\n", "#", "---\n...\n---\na: 1", "null", "[]", "{}", "- a", "'", '"\\ud800"', "\t- x",
        '{"suite": "\\ud83d"}', "? [a]\n: b", "? {a: b}\n: c", "&a *a", "!<tag:x> y", "@", "`", "%",
        *(f"a: !!{tag} {word}" for tag in ("int", "float", "bool", "null") for word in ("''", "x", "'-'", "0x", "[]")),
        "suite: \u202e\u2066evil", "suite: 'a\u0085b'", "\ufeff" + HEAD, "a: 'x\u2028y'",
        "suite: |\n" + " x\n" * many, "suite: >" + "\n" * many, "suite: '" + "''" * many + "'",
        " " * many + HEAD, HEAD + "\n" * many, "#" * many, "a: [" + "," * many + "]", "\n".join("a:" for _ in range(many)),
        "&" + "a" * many + " x", "*" + "a" * many, "!" + "a" * many + " x", "2001-01-01", "a: 1_000", "a: .inf", "a: 0o7",
    ]  # fmt: skip
    return [text.encode("utf-8", "surrogatepass") for text in texts]


def _nested_groups(depth: int) -> str:
    text = "{factor: f, path: train.epochs, values: [1, 2]}"
    for level in range(depth):
        text = f"{{group: g{level}, design: side_by_side, factors: [{text}]}}"
    return f"[{text}]"


def _shallow_steps(count: int) -> str:
    sets = ", ".join(f"train.x{i}: {i}" for i in range(count))
    return f"vary: [{{factor: f, levels: {{a: {{set: {{{sets}}}}}}}}}]"


def _laughs(width: int, depth: int) -> str:
    lines = ["a0: &a0 [x, y]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth + 1)]
    return "\n".join(lines)


def _numbered(pattern: str, count: int) -> str:
    return ", ".join(pattern.format(i) for i in range(1, count + 1))


def _values(path: str, count: int) -> str:
    return f"vary: [{{factor: f, path: {path}, values: [{', '.join(map(str, range(1, count + 1)))}]}}]"


def _levels(design: str, count: int, more: str = "") -> str:
    levels = ", ".join(f"l{i}: {{set: {{train.epochs: {i + 1}}}}}" for i in range(max(count, 1)))
    return f"vary: [{{factor: f, design: {design}, {more + ', ' if more else ''}levels: {{{levels}}}}}]"


def _chain(count: int) -> str:
    count = max(count, 2)
    levels = ", ".join(f"l{i}: {{from: l{(i + 1) % count}}}" for i in range(count))
    longer = ", ".join(f"m{i}: {{{f'from: m{i - 1}' if i else ''}}}" for i in range(count))
    return f"vary: [{{factor: f, levels: {{{levels}}}}}, {{factor: g, design: list, levels: {{{longer}}}}}]"


def _crossed(factors: int, levels: int, *, when: bool = False) -> str:
    paths = ["train.epochs", "model.layers", "model.groups", "model.embedding", "data.seed"]
    paths += ["data.train_size", "data.validation_size", "train.early_stopping"]
    condition = ", when: {model.skips: true}" if when else ""
    entries = ", ".join(
        f"{{factor: f{i}, path: {path}, values: [{', '.join(map(str, range(1, levels + 1)))}]{condition}}}"
        for i, path in enumerate(paths[:factors])
    )
    return f"design: factorial\nvary: [{entries}]"


def _excludes(count: int) -> str:
    exclusions = ", ".join(f"{{match: {{f0: epochs_{i}}}, why: x}}" for i in range(2, count + 2))
    return f"{_values('train.epochs', count + 2).replace('factor: f', 'factor: f0')}\nexclude: [{exclusions}]"


def _claims(count: int) -> str:
    claim = "expect: {metric: delta_e, of: epochs_1, versus: epochs_2, direction: better, label: colour=red}"
    claims = ", ".join(f"{{id: c{i}, says: x, {claim}}}" for i in range(count))
    return f"{_values('train.epochs', 4)}\nclaims: [{claims}]"


ODD_FILES = ["../../../../etc/passwd", "/etc/passwd", "/etc/shadow", "/dev/null", "/dev/zero", "/dev/stdin", "/proc/self/environ", ".", "..", "/", "~", "suite.yaml", "./suite.yaml", "part.yaml", "parent.yaml", "skips", "../ablations/skips", "''"]  # fmt: skip


def _odd_file(random: Random) -> str:
    odd = ['"a\\0b"', "x" * 5000, "a/" * 3000, '"\\uD800"', "'*'", "'a\u202eb'", "1", "null", "{a: b}", "[x]"]
    return random.choice([*ODD_FILES, *odd])


ODD_MODULES = ["antigravity:x", "this:x", "os:system", "turtle:Turtle", "idlelib.idle:main", "lib2to3.pgen2:x", "__main__:x", "harness.cli:main", "nothing_at_all:X", "fuzz_parts:Nothing", "fuzz_parts:Power", "fuzz_parts.sub:X", ":x", "x:", "a:b:c", "..:x", "a..b:c", "builtins:exec"]  # fmt: skip


def _odd_module(random: Random) -> str:
    return random.choice(
        [*ODD_MODULES, "m" * 5000 + ":X", "a." * 2000 + "a:X", "\u00b5:X", "fuzz_parts\u200b:X"]
    )


FORBIDDEN_MODULES = ("antigravity", "this", "turtle", "idlelib.idle", "lib2to3.pgen2")
"""Modules of Python that a suite must not be able to import, and nothing else does."""
