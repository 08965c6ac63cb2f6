"""The three prompt stages (paper section 3.2): original, aligned, realigned.

A template is plain text with ``{name}`` placeholders. Values are put in by one pass over the
template, so braces inside a value (or ``{...}`` that is no identifier) stay as they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from services.orchestrator.domain.reference import ReferencePrinciple
from services.orchestrator.domain.topics import Topic

Stage = Literal["original", "aligned", "realigned"]
STAGES: tuple[Stage, ...] = ("original", "aligned", "realigned")

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_ALLOWED: Mapping[Stage, frozenset[str]] = {
    "original": frozenset({"topic", "topic_description", "facet"}),
    "aligned": frozenset({"topic", "topic_description", "principle", "reference_principles"}),
    "realigned": frozenset({"topic", "topic_description", "principle"}),
}
_REQUIRED: Mapping[Stage, frozenset[str]] = {
    "original": frozenset({"topic"}),
    "aligned": frozenset({"principle", "reference_principles"}),
    "realigned": frozenset({"principle"}),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that ends with the user's turn; ``prefill`` begins the assistant's answer."""

    messages: tuple[Message, ...]
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Shot:
    """One worked example: the answer (with its prefill), and values for the template's placeholders.

    A placeholder that the shot gives no value for takes the value of the prompt itself.
    """

    answer: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StagePrompt:
    """One stage: the user's template, an optional system turn, worked examples and a begun answer."""

    user: str
    system: str = ""
    shots: tuple[Shot, ...] = ()
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """A versioned set of the three stages.

    ``overrides`` maps a reference set's id to the stages that are replaced for it. ``facets`` are
    aspects that the original stage goes through by index, so that many draws on one topic differ.
    """

    id: str
    title: str
    version: str
    stages: Mapping[Stage, StagePrompt]
    overrides: Mapping[str, Mapping[Stage, StagePrompt]] = field(default_factory=dict)
    facets: tuple[str, ...] = ()

    def stage(self, stage: Stage, reference_set_id: str) -> StagePrompt:
        """The stage's prompt as it stands for one reference set."""
        return self.overrides.get(reference_set_id, {}).get(stage, self.stages[stage])

    def shot_answers(self, stage: Stage, reference_set_id: str) -> tuple[str, ...]:
        """Answers of the stage's shots: a completion that repeats one is no principle of the model's."""
        return tuple(shot.answer for shot in self.stage(stage, reference_set_id).shots)

    def render_original(self, topic: Topic, reference_set_id: str, index: int = 0) -> Prompt:
        """P1: a principle that ensures the topic; ``index`` chooses the facet."""
        facet = self.facets[index % len(self.facets)] if self.facets else ""
        values = {"topic": topic.title, "topic_description": topic.description, "facet": facet}
        return _render(self.stage("original", reference_set_id), values)

    def render_aligned(
        self,
        topic: Topic,
        principle: str,
        reference_set_id: str,
        references: Sequence[ReferencePrinciple],
    ) -> Prompt:
        """P2: the equivalent of ``principle``, aligned with the topic's reference principles."""
        values = {
            "topic": topic.title,
            "topic_description": topic.description,
            "principle": principle,
            "reference_principles": reference_block(references),
        }
        return _render(self.stage("aligned", reference_set_id), values)

    def render_realigned(self, topic: Topic, principle: str, reference_set_id: str) -> Prompt:
        """P3: the equivalent "that reflects ethical awareness"; no reference is named."""
        values = {"topic": topic.title, "topic_description": topic.description, "principle": principle}
        return _render(self.stage("realigned", reference_set_id), values)

    def render_reference(
        self,
        topic: Topic,
        principle: str,
        reference_set_id: str,
        references: Sequence[ReferencePrinciple],
    ) -> Prompt:
        """P3 with the topic's reference principles at the start of the user's turn.

        It is what prompting alone reaches: the untuned model is told what the tuned one was trained on.
        Everything behind the block is P3 to the letter, so that the block alone makes the difference.
        """
        prompt = self.render_realigned(topic, principle, reference_set_id)
        *before, asked = prompt.messages
        told = f"Hold to these principles:\n{reference_block(references)}\n\n{asked.content}"
        return Prompt(messages=(*before, Message(asked.role, told)), prefill=prompt.prefill)


def reference_block(references: Sequence[ReferencePrinciple]) -> str:
    """Reference principles as one line each: ``- heading: text``."""
    return "\n".join(f"- {reference.heading}: {reference.text}" for reference in references)


def placeholder_faults(stage: Stage, prompt: StagePrompt) -> tuple[str, ...]:
    """What is wrong with a stage's placeholders, as sentences; empty if nothing is."""
    allowed, faults = _ALLOWED[stage], []
    for part in (prompt.user, prompt.system):
        for name in _PLACEHOLDER.findall(part):
            if name not in allowed:
                known = ", ".join(f"{{{known}}}" for known in sorted(allowed))
                faults.append(f"unknown placeholder {{{name}}} in the {stage} stage; known: {known}")
    missing = _REQUIRED[stage] - set(_PLACEHOLDER.findall(prompt.user))
    faults += [f"the {stage} stage's user text must contain {{{name}}}" for name in sorted(missing)]
    used = set(_PLACEHOLDER.findall(prompt.user))
    for number, shot in enumerate(prompt.shots, start=1):
        if "principle" in used and "principle" not in shot.values:
            faults.append(f"shot {number} of the {stage} stage gives no value for {{principle}}")
        for name in sorted(set(shot.values) - allowed):
            faults.append(f"shot {number} of the {stage} stage has a value for the unknown {{{name}}}")
        if not shot.answer.startswith(prompt.prefill):
            faults.append(f"the answer of shot {number} of the {stage} stage must begin with the prefill")
    if stage == "realigned" and prompt.prefill:
        # Training would teach the answer without it, and the untuned model would be given the register.
        faults.append("the realigned stage takes no prefill: the model must begin that answer by itself")
    return tuple(faults)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template. KeyError for a placeholder without a value."""
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _render(prompt: StagePrompt, values: Mapping[str, str]) -> Prompt:
    messages = [Message("system", fill(prompt.system, values))] if prompt.system else []
    for shot in prompt.shots:
        messages.append(Message("user", fill(prompt.user, {**values, **shot.values})))
        messages.append(Message("assistant", shot.answer))
    messages.append(Message("user", fill(prompt.user, values)))
    return Prompt(messages=tuple(messages), prefill=prompt.prefill)
