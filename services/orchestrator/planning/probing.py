"""What the stage probes asks: log-probabilities and completions beside the study's own prompts."""

from collections.abc import Callable, Mapping

from services.orchestrator import catalogue
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.values.dimensions import ANSWERS, VALUES
from services.orchestrator.analysis.values.space import KINDS
from services.orchestrator.domain.topics import Topic
from services.orchestrator.loop import probes_polarity
from services.orchestrator.loop.arms import controls_of
from services.orchestrator.planning.rows import Text, Work
from services.orchestrator.study import ResolvedStudy
from services.orchestrator.values_judge import dialogue_question, load_values, question_prompt

_ANSWERS_A_STATEMENT = 2
_STAGE = "probes"


def probe_work(
    resolved: ResolvedStudy,
    test: Mapping[str, int],
    tasks: Mapping[str, tuple[int, int]],
    text_of: Callable[[Topic], Text],
    trained: bool,
) -> list[Work]:
    """The probes' items. Of texts that nobody has drawn yet the longest number is taken: an upper bound.

    ``test``: test inputs by topic; ``tasks``: (continuations, characters of them with their contexts) by
    name; ``text_of``: a P3 prompt, whose principle is taken for the text that is judged.
    """
    again = sum(arm.kind is ArmKind.TUNED for arm in controls_of(resolved)) if trained else 0
    tuned = 1 + again if trained else 0
    found = []
    guards = resolved.study.guards
    if guards.general_prompts is not None and tuned:
        found.append(_utility(resolved, guards.general_prompts, tuned))
    if guards.polarity and "en" in resolved.reference_set.languages:
        found.append(_polarity(resolved, test, tuned, text_of))
    for name, (continuations, chars) in tasks.items():
        models = 1 + tuned
        found.append(
            Work(
                _STAGE,
                f"tasks/{name}",
                scores=models * continuations,
                scored_chars=models * chars,
                scored_turns=models * continuations,
            )
        )
    values = _values(resolved, test, trained, text_of)
    return [*found, values] if values is not None else found


def _utility(resolved: ResolvedStudy, set_id: str, tuned: int) -> Work:
    prompts = catalogue.load_general_prompts(set_id).prompts
    models = 1 + tuned
    # A model's own text by itself, the base's by every tuned one, and each tuned one's by the base.
    pairs = models + 2 * tuned
    most = resolved.study.guards.general_max_new_tokens
    asked = sum(len(prompt.text) for prompt in prompts)
    answers = sum(len(prompt.answer) for prompt in prompts)
    return Work(
        _STAGE,
        "utility",
        completions=len(prompts) * models,
        prompt_chars=asked * models,
        prompt_turns=len(prompts) * models,
        most_tokens=most,
        scores=len(prompts) * (models + pairs),
        # A token has about four characters: see tokens.CHARS_PER_TOKEN.
        scored_chars=models * (asked + answers) + pairs * (asked + 4 * most * len(prompts)),
        scored_turns=len(prompts) * (models + pairs),
    )


def _polarity(
    resolved: ResolvedStudy, test: Mapping[str, int], tuned: int, text_of: Callable[[Topic], Text]
) -> Work:
    reference = resolved.reference_set
    known = probes_polarity.calibration(reference)
    outside = sum(resolved.study.principles_per_topic - size for size in test.values())
    written = 2 * min(probes_polarity.MOST_WRITTEN, max(0, outside))
    arms = 2 + tuned  # the references, the base model under the third prompt, the tuned models
    judged = {topic.id: test[topic.id] * arms for topic in resolved.topics}
    block = max(
        sum(len(p.text) + len(p.heading) + 4 for p in reference.principles_for(topic.id))
        for topic in resolved.topics
    )
    longest = max(text_of(topic).chars for topic in resolved.topics)
    statements = len(known) + written + sum(judged.values())
    each = len(probes_polarity.QUESTION) + block + longest
    return Work(
        _STAGE,
        "polarity",
        scores=_ANSWERS_A_STATEMENT * statements,
        scored_chars=_ANSWERS_A_STATEMENT * statements * each,
        scored_turns=_ANSWERS_A_STATEMENT * statements,
    )


def _values(
    resolved: ResolvedStudy, test: Mapping[str, int], trained: bool, text_of: Callable[[Topic], Text]
) -> Work | None:
    settings = resolved.study.values
    if settings.evaluator == "none":
        return None
    kinds = [kind for kind in KINDS if trained or kind is not ArmKind.TUNED]
    texts = len(kinds) * sum(test.values())
    if settings.weight:
        # Every original weighs the topics first, then each iteration's validation texts.
        every = resolved.study.principles_per_topic * len(resolved.topics)
        texts += every * (1 + resolved.study.stop.max_iterations if trained else 1)
    if settings.evaluator == "head":
        return Work(_STAGE, "values", embeddings=texts)
    if settings.calibrate:
        texts += len(load_values().content_free)
    topic = resolved.topics[0]
    question = question_prompt(load_values().values[0], dialogue_question(topic.title), "")
    each = len(question.messages[0].content) + text_of(topic).chars
    scores = texts * len(VALUES) * len(ANSWERS)
    return Work(_STAGE, "values", scores=scores, scored_chars=scores * each, scored_turns=scores)
