"""The prompts of a run, rendered again from its study, and what is read from each completion."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from services.orchestrator.analysis.evidence import Key
from services.orchestrator.audit.record import Completion, Sets
from services.orchestrator.domain.principles import Outcome, parse_principle
from services.orchestrator.domain.prompts import Prompt, Stage
from services.orchestrator.domain.reference import ReferenceSet

_STAGES: Final[Mapping[str, Stage]] = {
    "original": "original",
    "aligned": "aligned",
    "aligned_other": "aligned",
}
_OWN_PROMPTS: Final = ("original", "aligned", "aligned_other", "base_reference")
# The model's own answers to the first prompt, in a run that is measured by a ruler.
_OWN = "own"
FROM_RULER: Final = "ruler"
"""``finish_reason`` of a text that is a ruler's: no model was asked for it in this run."""
_PARSED_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)


def prompt_name(arm: str) -> str:
    """The prompt that an arm answers: arms that answer the same one share it."""
    if arm == _OWN:
        return "original"
    return arm if arm in _OWN_PROMPTS else "realigned"


def render(sets: Sets, name: str, key: Key, original: str) -> Prompt:
    """The prompt of that name for an input whose original principle is ``original``, as it was sent.

    ValueError for a topic that the study does not have, or another set that it does not name.
    """
    prompt = _rendered(sets, name, key, original)
    # An endpoint takes no begun answer.
    return replace(prompt, prefill="") if sets.endpoint else prompt


def _rendered(sets: Sets, name: str, key: Key, original: str) -> Prompt:
    topic_id, index = key
    if topic_id not in sets.topics:
        raise ValueError(f"the study has no topic {topic_id!r}")
    topic, reference, prompts = sets.topics[topic_id], sets.reference, sets.prompts
    match name:
        case "original":
            return prompts.render_original(topic, reference.id, index)
        case "aligned":
            return prompts.render_aligned(topic, original, reference.id, reference.principles_for(topic_id))
        case "aligned_other":
            other = _other(sets)
            return prompts.render_aligned(topic, original, other.id, other.principles_for(topic_id))
        case "base_reference":
            references = reference.principles_for(topic_id)
            return prompts.render_reference(topic, original, reference.id, references)
        case _:
            return prompts.render_realigned(topic, original, reference.id)


def prompt_lines(
    sets: Sets, completions: Iterable[Completion], originals: Mapping[Key, str]
) -> Iterator[dict[str, Any]]:
    """One line a prompt that was answered, by name, topic and index: prompts.jsonl."""
    arms: dict[tuple[str, Key], set[str]] = {}
    for completion in completions:
        if completion.finish_reason == FROM_RULER:
            continue
        arms.setdefault((prompt_name(completion.arm), completion.key), set()).add(completion.arm)
    for (name, key), users in sorted(arms.items()):
        if name != "original" and key not in originals:
            raise ValueError(f"{name} {key[0]}/{key[1]}: answered, but its input has no original principle")
        prompt = render(sets, name, key, originals.get(key, ""))
        yield {
            "prompt": name,
            "arms": sorted(users),
            "topic_id": key[0],
            "index": key[1],
            "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "prefill": prompt.prefill,
        }


def misread(sets: Sets, completion: Completion) -> str | None:
    """What is wrong with how a stored completion was read, as a sentence; None if nothing is."""
    if completion.finish_reason == FROM_RULER:
        return None if completion.text == completion.principle else "a ruler's text that is not its principle"
    if completion.outcome not in _PARSED_OUTCOMES:
        return f"outcome {completion.outcome} with a principle" if completion.principle else None
    name = prompt_name(completion.arm)
    set_id = _other(sets).id if name == "aligned_other" else sets.reference.id
    stage = _STAGES.get(name, "realigned")
    parsed = parse_principle(
        completion.text,
        finish_reason=completion.finish_reason,
        prefill="" if sets.endpoint else sets.prompts.stage(stage, set_id).prefill,
        shot_answers=sets.prompts.shot_answers(stage, set_id),
    )
    if (parsed.principle, parsed.outcome.value) == (completion.principle, completion.outcome):
        return None
    read, stored = (parsed.outcome.value, parsed.principle), (completion.outcome, completion.principle)
    return f"reads as {read}, stored as {stored}"


def _other(sets: Sets) -> ReferenceSet:
    if sets.other is None:
        raise ValueError("the run has an arm of another reference set, which study.json does not hold")
    return sets.other
