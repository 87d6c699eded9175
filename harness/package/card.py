"""README.md of an exported folder: a model card as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analysis.wording import format_value
from harness.config import MetricInfo, TrialSpec
from harness.markdown import markdown_list, markdown_table, markdown_text
from harness.package.choose import Choice
from harness.package.contents import LICENCES, METRICS, ONNX, PackageConfig
from harness.package.licences import licence_of_weights

TASK = "image-to-image"  # of the hub's tasks the nearest


def card(
    config: PackageConfig,
    spec: TrialSpec,
    choice: Choice,
    values: Mapping[str, Mapping[str, Any]],
    infos: Mapping[str, MetricInfo],
) -> str:
    """Return the model card.

    Args:
        config: of the folder.
        spec: of the trial.
        choice: which attempt it is, and how it was chosen.
        values: the metrics over the whole validation split, by name, each with value and count.
        infos: what the metrics mean, by name.
    """
    body = [
        f"# {markdown_text(_title(choice))}",
        "",
        markdown_text(f"Fills the outline in a picture with one of {len(config.class_names)} named colours."),
        "",
        markdown_text(f"Chosen: {choice.sentence}. {_of_weights(config)}"),
        "",
        "## Use",
        "",
        "```",
        f"harness predict . --shape outline.png --color {_word(config.class_names[0])} -o filled.png",
        "```",
        "",
        markdown_list(_input_lines(config)),
        "",
        "## Metrics",
        "",
        markdown_text(_of_metrics(spec, values)),
        "",
        _table(values, infos),
        "",
        "## Origin",
        "",
        markdown_list(_origin_lines(config, spec)),
        "",
    ]
    return f"---\n{_front_matter(spec, choice, values, infos)}\n---\n\n" + "\n".join(body)


def _front_matter(
    spec: TrialSpec,
    choice: Choice,
    values: Mapping[str, Mapping[str, Any]],
    infos: Mapping[str, MetricInfo],
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=spec.data.name,
            dataset_name=spec.data.name,
            dataset_split="validation",
            metric_type=name,
            metric_name=infos[name].title,
            metric_value=found["value"],
        )
        for name, found in values.items()
        if name in infos and found["value"] is not None
    ]
    data = ModelCardData(
        model_name=_title(choice),
        license="other",
        license_name="see-licenses",
        license_link=LICENCES,
        library_name="ablation-harness",
        pipeline_tag=TASK,
        tags=["colorization", "ablation-study"],
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _title(choice: Choice) -> str:
    suite = f"{choice.suite}: " if choice.suite else ""
    return f"{suite}{choice.variant}, seed {choice.attempt.seed}"


def _of_weights(config: PackageConfig) -> str:
    origin = config.origin
    averaged = ", the moving average of the weights" if origin.averaged else ""
    if origin.weights == "last":
        return f"The weights are those of the last epoch, {origin.epoch}{averaged}."
    return (
        f"The weights are those of epoch {origin.epoch}{averaged}, the best on the validation split, on "
        "which the metrics below were measured too: they flatter."
    )


def _input_lines(config: PackageConfig) -> list[str]:
    height, width = config.size
    kind = "RGB" if config.preprocessing.picture == "rgb" else "luminance"
    lines = [
        f"input: a picture of {height} x {width} pixels ({kind}); another size is resized",
        f"colours: {', '.join(config.class_names)}",
    ]
    if config.preprocessing.mask != "none":
        lines.append("the mask that the model reads is derived from the picture: it needs a closed outline")
    if config.onnx is not None:
        lines.append(
            f"{ONNX}: the same in fp32, opset {config.onnx.opset}; it differs from torch by "
            f"{config.onnx.largest_difference:.1e} at most, over random pictures"
        )
    return lines


def _of_metrics(spec: TrialSpec, values: Mapping[str, Mapping[str, Any]]) -> str:
    count = values[spec.primary_metric]["count"]
    split = "the validation split" if spec.folds is None else f"fold {spec.fold} of {spec.folds}"
    return (
        f"Over {count} pictures of {split} of the data set {spec.data.name}, for these weights. "
        f"{METRICS} has them by label too. One training run says nothing of the next: see the study's report."
    )


def _table(values: Mapping[str, Mapping[str, Any]], infos: Mapping[str, MetricInfo]) -> str:
    rows = [
        [
            infos[name].title,
            _shown(found["value"], infos[name]),
            f"{infos[name].direction} is better",
            str(found["count"]),
        ]
        for name, found in values.items()
        if name in infos
    ]
    return markdown_table(["metric", "value", "direction", "pictures"], rows)


def _shown(value: float | None, info: MetricInfo) -> str:
    return "not defined" if value is None else format_value(info, value)


def _origin_lines(config: PackageConfig, spec: TrialSpec) -> list[str]:
    origin = config.origin
    return [
        f"trial {origin.trial_id}, attempt {origin.attempt}, run {origin.run_id}",
        f"model {spec.model.name}, loss {', '.join(spec.loss)}, {spec.train.epochs} epochs at most",
        f"{licence_of_weights(spec)}; licence notes: {LICENCES}",
        f"code {origin.code_hash}, harness {config.harness}",
    ]


def _word(text: str) -> str:
    import shlex

    return shlex.quote(text)
