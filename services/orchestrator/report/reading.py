"""What the numbers of a report say, in sentences that are computed from the numbers.

Two comparisons decide how far the headline can be believed: after against the untuned model under the
same prompt (the prompt itself moves the number), and after against one constant sentence (a model that
always says the most central thing beats a faithful one).
"""

from dataclasses import dataclass
from math import sqrt

from services.orchestrator.report.schema import Report, Topic
from services.orchestrator.report.text import change, number, percent

MEASURED_ONLY = ("too_few_pairs", "measure_only", "budget_before_training")
# Means are shown with three digits: a gap that would not show is called none.
_SHOWN = 0.0005


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to know. ``tone``: "good", "warn" or "plain"; never told by colour alone."""

    tone: str
    head: str
    body: str


def summary(report: Report) -> str:
    """The result in one or two plain sentences."""
    overall = report.overall
    pairs = _count(sum(topic.n_test for topic in report.topics), "test pair")
    over = _count(len(report.topics), "topic")
    if report.stop_reason in MEASURED_ONLY:
        return (
            f"This run only measured: over {over}, the mean value difference between what "
            f"{report.base_model} says and its counterpart aligned with the reference set is "
            f"{number(overall.before)}. Nothing was trained."
        )
    if overall.after is None:
        missing = [topic for topic in report.topics if topic.after is None]
        return (
            f"The model was tuned, but on {_names(missing)} it gave no usable answer on the test split, so "
            f"there is no overall number to set beside the {number(overall.before)} before."
        )
    if overall.before - overall.after > _SHOWN:
        moved = f"fell from {number(overall.before)} to {number(overall.after)} ({change(overall.reduction)})"
    elif overall.after - overall.before > _SHOWN:
        moved = f"rose from {number(overall.before)} to {number(overall.after)} ({change(overall.reduction)})"
    else:
        moved = f"did not change: it was and is {number(overall.before)}"
    text = f"On {pairs} of {over}, the mean value difference {moved}."
    compared = [
        ("the untuned model under the same prompt", overall.base_p3),
        ("one constant sentence", overall.constant),
    ]
    parts = [f"{what} scores {number(value)}" for what, value in compared if value is not None]
    if parts:
        text += f" For comparison, {' and '.join(parts)}; lower means nearer to the reference."
    return text


def remarks(report: Report) -> list[Remark]:
    """How to read this run's numbers, most important first."""
    found = []
    if report.stop_reason in MEASURED_ONLY:
        why = "There were too few pairs for three splits"
        if report.stop_reason == "measure_only":
            why = "The study asked for a measurement alone"
        elif report.stop_reason == "budget_before_training":
            why = "The budget allowed no training"
        body = (
            f"{why}, so nothing was trained and there is no test split. The numbers are means over all "
            "usable pairs."
        )
        found.append(Remark("plain", "Measured only.", body))
    found += [remark for remark in (_prompt(report), _constant(report)) if remark]
    found += [remark for remark in (_grown(report), _sample(report), _losses(report)) if remark]
    return found


def stopped(report: Report) -> str:
    """Why the loop ended and which checkpoint was taken."""
    if report.stop_reason == "too_few_pairs":
        return "Nothing was trained: too few pairs."
    if report.stop_reason == "measure_only":
        return "Nothing was trained: the study asked for a measurement alone."
    if report.stop_reason == "budget_before_training":
        return "Nothing was trained: the budget did not allow it."
    done = _count(max((entry.iteration for entry in report.iterations), default=0), "iteration")
    why = {
        "max_iterations": f"The loop ended after {done}, the most that the study allows.",
        "converged": f"The loop ended after {done}: the last one improved the validation mean too little.",
        "budget": f"The budget ended the loop after {done}.",
    }[report.stop_reason]
    best = next((entry for entry in report.iterations if entry.iteration == report.best_iteration), None)
    if best is None:
        return why
    return (
        f"{why} Iteration {best.iteration} has the lowest validation mean ({number(best.validation_mean)}) "
        "and was evaluated on the test split."
    )


def _prompt(report: Report) -> Remark | None:
    """after against base+P3: what training added to what the prompt alone does."""
    before, base_p3, after = report.overall.before, report.overall.base_p3, report.overall.after
    if base_p3 is None or after is None:
        return None
    head = "Is it the training, or only the prompt?"
    scores = (
        f'"Before" used the first prompt and "after" the third. The untuned model under the third prompt '
        f"scores {number(base_p3)}, the tuned one {number(after)}."
    )
    gain = base_p3 - after
    if gain < -_SHOWN:
        verdict = f"Training made it worse than the prompt alone, by {number(-gain)}."
        return Remark("warn", head, f"{scores} {verdict}")
    if gain <= _SHOWN:
        return Remark("warn", head, f"{scores} Training added nothing that the prompt alone does not give.")
    fall = before - after
    if fall <= _SHOWN:
        verdict = f"Training brought {number(gain)}, but no more than the third prompt had lost."
        return Remark("warn", head, f"{scores} {verdict}")
    if base_p3 >= before:
        verdict = (
            f"The prompt alone does not lower the number, so the whole fall of {number(fall)} is training's."
        )
        tone = "good"
    else:
        share = (before - base_p3) / fall
        verdict = (
            f"Of the fall of {number(fall)}, the prompt alone gives {percent(share, 0)}, training the rest."
        )
        tone = "good" if share < 0.5 else "warn"
    beaten = [topic for topic in report.topics if worse(topic.after, topic.base_p3)]
    if beaten:
        verdict += f" Not on every topic: the prompt alone is nearer on {_names(beaten)}."
    return Remark(tone, head, f"{scores} {verdict}")


def _constant(report: Report) -> Remark | None:
    """after against the constant sentence: collapse beats fidelity."""
    constant, after = report.overall.constant, report.overall.after
    if constant is None or after is None:
        return None
    head = "Would one sentence, repeated, do as well?"
    gap = after - constant
    if gap > _SHOWN:
        text = (
            f"Yes, better: one sentence given as the answer to every test prompt scores {number(constant)}, "
            f"nearer to the reference than the tuned model's {number(after)}. So a low number here does not "
            "show that the model took on the values: sounding like the reference is enough. "
            "Read the principles that moved before you believe the percentage."
        )
        return Remark("warn", head, text)
    if gap >= -_SHOWN:
        return Remark("warn", head, f"Yes, exactly as well: both score {number(after)}.")
    text = (
        f"No: one sentence given as the answer to every test prompt scores {number(constant)}, and the tuned "
        f"model is nearer to the reference, at {number(after)}. Repetition alone does not explain the fall."
    )
    beaten = [topic for topic in report.topics if worse(topic.after, topic.constant)]
    if beaten:
        text += f" On {_names(beaten)} the sentence is nearer all the same."
    return Remark("good", head, text)


def _grown(report: Report) -> Remark | None:
    grown = [topic for topic in report.topics if worse(topic.after, topic.before)]
    if not grown:
        return None
    return Remark("warn", "Not every topic improved.", f"The difference grew on {_names(grown)}.")


def _sample(report: Report) -> Remark | None:
    sizes = [topic.n_test for topic in report.topics]
    if report.analysis is not None or not any(sizes):
        return None  # an analysis has the intervals themselves
    from scipy.stats import t as student

    low, high = min(sizes), max(sizes)
    shown = f"{low}" if low == high else f"{low} to {high}"
    text = f"A topic's mean rests on {shown} test {'pair' if high == 1 else 'pairs'}, from one training run."
    if low > 1:
        reach = float(student.ppf(0.975, low - 1)) / sqrt(low)
        text += (
            f" At {low} pairs a 95% interval reaches about {number(reach, 2)} standard deviations of the "
            "pairs to either side of the mean: small gaps may be chance."
        )
    else:
        text += " One pair says nothing about a topic."
    return Remark("plain", "How sure is this?", text)


def _losses(report: Report) -> Remark | None:
    lost = {arm: c.requested - c.usable for arm, c in report.counts.items() if c.usable < c.requested}
    if not lost:
        return None
    asked = sum(counts.requested for counts in report.counts.values())
    most = max(lost, key=lambda arm: lost[arm] / report.counts[arm].requested)
    text = f"{sum(lost.values())} of the {asked} principles asked for are missing."
    if len(lost) > 1:
        text += f" No arm lost a larger share than {most}: {lost[most]} of {report.counts[most].requested}."
    return Remark("plain", "Not every answer could be used.", f"{text} The reasons are counted below.")


def worse(value: float | None, than: float | None) -> bool:
    """Whether a value is farther from the reference than another, by a gap that shows."""
    return value is not None and than is not None and value - than > _SHOWN


def _names(topics: list[Topic]) -> str:
    if len(topics) > 4:
        return f"{len(topics)} topics"
    titles = [topic.title for topic in topics]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
