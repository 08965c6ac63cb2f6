"""The adapter's model card: README.md as the Hugging Face Hub reads it, metadata in YAML and then Markdown.

Metadata follow https://github.com/huggingface/hub-docs/blob/main/modelcard.md (``model-index`` included). The
body says the verdict first: a card must not look better than the run was.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from services.orchestrator.analysis.results import Analysis, Estimate
from services.orchestrator.report import verdict as words
from services.orchestrator.report.card_review import card_review
from services.orchestrator.report.card_text import cell, fenced, line, rows
from services.orchestrator.report.schema import Adapter, Report
from services.orchestrator.report.text import change, measure, number, p_value, percent, span

_TASK = {"type": "text-generation", "name": "Value alignment of stated principles"}
_SHOWN_STUDY = ("principles_per_topic", "seed", "generation", "split", "weights", "lora", "training", "stop")


def model_card(report: Report, bundle_sha256: str = "", license_id: str = "unknown") -> str:
    """The whole card of a run that trained an adapter. ``bundle_sha256``: of the run's audit bundle, "" if
    none was made yet.

    Equal reports give equal cards. ValueError for a run that trained nothing.
    """
    adapter = _adapter(report)
    parts = (
        _verdict(report),
        _figures(report),
        _arms(report),
        _guards(report),
        card_review(report),
        _limits(report),
        _use(report),
        _training(report),
        _reference(report),
        _audit(report, bundle_sha256),
    )
    head = f"---\n{_yaml(metadata(report, license_id))}---\n"
    body = ("\n".join(part) for part in parts)
    return head + f"\n# {line(adapter.name)}\n\n" + "\n".join(part + "\n" for part in body if part)


def metadata(report: Report, license_id: str = "unknown") -> dict[str, Any]:
    """The card's metadata. ``license_id``: an id of the Hub's list; nobody here can know the right one."""
    analysis = report.analysis
    decision = analysis.verdict.decision if analysis and analysis.verdict else None
    return {
        "base_model": report.base_model,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": license_id,
        "tags": [
            "lora",
            "peft",
            "valign",
            "value-alignment",
            f"reference-set:{report.reference_set}",
            *([f"valign-verdict:{decision}"] if decision else []),
        ],
        "model-index": [{"name": _adapter(report).name, "results": [_results(report)]}],
    }


def _adapter(report: Report) -> Adapter:
    if report.adapter is None:
        raise ValueError(f"run {report.run_id} trained no adapter: there is no model to describe")
    return report.adapter


def _results(report: Report) -> dict[str, Any]:
    reference = report.provenance.reference_set
    return {
        "task": dict(_TASK),
        "dataset": {
            "type": f"valign/{reference.id}",
            "name": f"{reference.id} {reference.version}, test inputs of run {report.run_id}",
            "split": "test",
            "revision": reference.sha256,
        },
        "metrics": list(_metrics(report)),
    }


def _metrics(report: Report) -> Iterator[dict[str, Any]]:
    analysis = report.analysis
    if analysis is not None:
        level = analysis.level
        primary = analysis.primary
        if primary is not None:
            name = f"Reduction of the value difference, {primary.arm} against {primary.against} (primary)"
            yield _metric("value_difference_reduction", name, primary.reduction, level)
            name = f"Value difference, {primary.against} minus {primary.arm}, pooled over topics"
            yield _metric("value_difference_gain", name, primary.difference, level)
        for arm in words.ordered_arms(analysis):
            yield _metric(
                "value_difference", f"Value difference to the reference: {arm.title}", arm.mean, level
            )
        for guard in analysis.guards:
            for found in guard.measures:
                if found.value is not None and found.threshold is not None:
                    given = Estimate(value=found.value, low=found.low, high=found.high)
                    name = f"Guard {guard.id}: {found.title}"
                    yield _metric(f"guard_{guard.id}_{found.name}", name, given, level)
    if report.overall.reduction is not None:
        paper = Estimate(value=report.overall.reduction)
        name = "Reduction as the paper computes it (tuned, third prompt, against base, first prompt)"
        yield _metric("value_difference_reduction_paper", name, paper, None)


def _metric(kind: str, name: str, estimate: Estimate, level: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "value": round(estimate.value, 6), "name": name}
    if level is not None and estimate.low is not None and estimate.high is not None:
        found["args"] = {
            "confidence_level": level,
            "low": round(estimate.low, 6),
            "high": round(estimate.high, 6),
        }
    return found


def _verdict(report: Report) -> Iterator[str]:
    face = words.face(report)
    analysis = report.analysis
    yield f"## Verdict: {face.word.lower()}"
    yield ""
    yield face.meaning
    if analysis is None or analysis.verdict is None:
        return
    yield ""
    yield f"**{line(analysis.verdict.headline)}**"
    yield ""
    first, rest = words.deciding(analysis.verdict)
    for reason in first:
        yield f"- {line(reason.text)}"
    if rest:
        yield ""
        yield "Beside it:"
        yield ""
        for reason in rest:
            yield f"- ({words.OUTCOMES[reason.outcome][1]}) {line(reason.text)}"
    for warning in report.warnings:
        yield ""
        yield f"> {line(warning)}"


def _figures(report: Report) -> Iterator[str]:
    analysis, overall = report.analysis, report.overall
    yield "## Figures"
    yield ""
    yield (
        "A value difference is 1 − cosine similarity between the embedding of a stated principle and that of"
        f" its reference counterpart, in [0, 2], by {line(report.encoder)}."
        " Lower is nearer to the reference set."
    )
    yield ""
    if analysis is not None and analysis.primary is not None:
        primary = analysis.primary
        yield line(words.primary_sentence(analysis))
        yield ""
        interval = f"{percent(analysis.level, 0)} interval"
        yield from rows(
            ("figure", "value", interval, "test inputs"),
            [
                ("reduction (primary)", percent(primary.reduction.value), span(primary.reduction, percent), n)
                if name == "reduction"
                else ("difference", number(primary.difference.value), span(primary.difference), n)
                for name, n in (
                    ("reduction", str(primary.reduction.n)),
                    ("difference", str(primary.difference.n)),
                )
            ],
        )
        yield ""
        yield f"Sign-flip permutation test: {p_value(primary.p_value)}. By topic the figures are exploratory."
        yield ""
    yield (
        "The paper's own figure, which changes the prompt together with the model:"
        f" {change(overall.reduction)} ({number(overall.before)} to {number(overall.after)}). One constant"
        f" sentence, without any training, scores {number(overall.constant)}."
    )


def _arms(report: Report) -> Iterator[str]:
    analysis = report.analysis
    if analysis is None:
        return
    yield "## Arms"
    yield ""
    yield "Each on the same test inputs, against the same reference texts."
    yield ""
    yield from rows(
        ("arm", "value difference", f"{percent(analysis.level, 0)} interval", "training seeds", "texts"),
        [
            (
                arm.title,
                number(arm.mean.value),
                span(arm.mean),
                str(arm.training_seeds or "–"),
                str(arm.outputs),
            )
            for arm in words.ordered_arms(analysis)
        ],
    )
    yield ""
    yield _scale(analysis)


def _scale(analysis: Analysis) -> str:
    scale = analysis.scale
    ceiling = "not drawn" if scale.ceiling is None else number(scale.ceiling.value)
    return (
        f"Scale: chance pairing {number(scale.floor.value)}; right register but another subject"
        f" {number(scale.register_only.value)}; two independent reference texts for one input {ceiling}."
    )


def _guards(report: Report) -> Iterator[str]:
    analysis = report.analysis
    if analysis is None or not analysis.guards:
        return
    yield "## Guards"
    yield ""
    yield from rows(
        ("guard", "outcome", "what was found"),
        [(guard.title, guard.status.replace("_", " "), guard.summary) for guard in analysis.guards],
    )
    told = [
        (guard.title, found.title, measure(found.value), measure(found.threshold))
        for guard in analysis.guards
        for found in guard.measures
        if found.threshold is not None
    ]
    if told:
        yield ""
        yield from rows(("guard", "measure", "value", "threshold"), told)


def _limits(report: Report) -> Iterator[str]:
    yield "## What this cannot tell"
    yield ""
    yield (
        "It speaks of principles that the model states when asked for them, about the topics of the study, in"
        " the prompts of the study. It does not show that the model acts by them, that the reference set is"
        " right, or that a text near to the reference means the same: sentence embeddings barely see"
        " negation. The reference texts were written by the base model itself, or by a ruler."
    )
    analysis = report.analysis
    if analysis is None:
        return
    found = [*analysis.uncontrolled, *(f"{name}: {why}" for name, why in sorted(analysis.not_run.items()))]
    if found:
        yield ""
        yield "Not controlled or not measured in this run:"
        yield ""
        yield from (f"- {line(text)}" for text in found)
    if analysis.notes:
        yield ""
        yield "How to read the numbers:"
        yield ""
        yield from (f"- {line(text)}" for text in analysis.notes)


def _use(report: Report) -> Iterator[str]:
    adapter = _adapter(report)
    yield "## Use"
    yield ""
    yield "The adapter is plain LoRA in PEFT's format. `PATH` is the folder that holds this card."
    yield ""
    yield from fenced(
        "python",
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({report.base_model!r})\n"
        'model = PeftModel.from_pretrained(base, "PATH")',
    )
    yield ""
    yield from rows(
        ("", ""),
        [
            ("adapter", adapter.name),
            ("sha256 of its manifest.json", adapter.sha256),
            ("fingerprint of the base model", report.provenance.model_fingerprint),
        ],
    )


def _training(report: Report) -> Iterator[str]:
    yield "## Training"
    yield ""
    yield (
        f"Iteration {report.best_iteration} of {len(report.iterations) - 1}; the loop ended because:"
        f" {report.stop_reason.replace('_', ' ')}. The loss is the mean token cross-entropy, weighted by"
        " topic."
    )
    yield ""
    yield from fenced("yaml", _yaml({key: report.study[key] for key in _SHOWN_STUDY if key in report.study}))


def _reference(report: Report) -> Iterator[str]:
    version = report.provenance.reference_set
    yield "## Reference set"
    yield ""
    told: Mapping[str, Any] = report.governance or {}
    found = [("id", version.id), ("version", version.version), ("sha256", version.sha256)]
    for name, value in told.items():
        if name != "version" and value:
            text = "; ".join(str(item) for item in value) if isinstance(value, list) else str(value)
            found.append((name.replace("_", " "), text))
    yield from rows(("", ""), found)


def _audit(report: Report, bundle_sha256: str) -> Iterator[str]:
    yield "## Reproduce and audit"
    yield ""
    yield (
        "The audit bundle holds every prompt, completion, embedding and setting, and a script that computes"
        " every number above again without valign's services and without the model."
    )
    yield ""
    expected = f" --expect-sha256 {bundle_sha256}" if bundle_sha256 else ""
    yield from fenced(
        "sh",
        f"valign bundle {report.run_id} -o bundle.zip\n"
        f"valign verify bundle.zip{expected}\n"
        "# the study again, on your own machine: study.json of the bundle is the study file\n"
        "valign run study.json",
    )
    yield ""
    found = [
        ("run", report.run_id),
        ("sha256 of the audit bundle", bundle_sha256 or "not made yet"),
        ("sha256 of the evidence", report.evidence.sha256 if report.evidence else "none"),
        ("identity of the run", report.provenance.identity),
    ]
    found += [(f"version of {name}", value) for name, value in report.provenance.versions.items()]
    yield from rows(("", ""), [(cell(name), value) for name, value in found])


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 10_000
    yaml.sort_base_mapping_type_on_output = False
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    return buffer.getvalue()
