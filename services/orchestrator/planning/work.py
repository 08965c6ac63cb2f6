"""What a run asks of the other services, step by step, counted from its study alone.

The loop's own functions say which arms there are, how pairs are split and what a prompt reads like; this
module adds up. Counts of slots are exact as long as every slot gives a usable text: one that gives none
after all its draws takes its later slots with it, so that they are an upper bound then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.split import MIN_PAIRS, part_sizes
from services.orchestrator.domain.topics import Topic
from services.orchestrator.loop.arms import controls_of
from services.orchestrator.planning.probing import probe_work
from services.orchestrator.planning.rows import Text, Work
from services.orchestrator.study import ResolvedStudy


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken for a text that nobody has drawn yet, in characters."""

    principle_chars: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a study names and does not hold.

    ``ruler_inputs``: inputs by topic id of the ruler that it is measured by. ``tasks``: by task name, items
    and the characters of its contexts and choices, each choice with its context.
    """

    ruler_inputs: Mapping[str, int] | None = None
    tasks: Mapping[str, tuple[int, int]] | None = None
    second_encoder: bool = False


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Pairs by topic id in each part, if every input gives a pair."""

    train: Mapping[str, int]
    validation: Mapping[str, int]
    test: Mapping[str, int]
    measured_only: bool

    def total(self, *parts: str) -> int:
        return sum(sum(getattr(self, part).values()) for part in parts)


def count_work(resolved: ResolvedStudy, assumed: Assumed, given: Given | None = None) -> tuple[Work, ...]:
    """Every step that asks something, in the order of a run that uses all its iterations."""
    return _Counter(resolved, assumed, given or Given()).all()


def sizes_of(resolved: ResolvedStudy, given: Given) -> _Sizes:
    """How the inputs fall into train, validation and test."""
    study = resolved.study
    asked = {topic.id: study.principles_per_topic for topic in resolved.topics}
    pairs = dict(given.ruler_inputs) if given.ruler_inputs is not None else asked
    if study.measure_only or any(size < MIN_PAIRS for size in pairs.values()):
        none = dict.fromkeys(pairs, 0)
        return _Sizes(none, dict(none), pairs, measured_only=True)
    fractions = (study.split.train, study.split.validation, study.split.test)
    parts = {topic: part_sizes(size, fractions) for topic, size in pairs.items()}
    train, validation, test = ({topic: sizes[place] for topic, sizes in parts.items()} for place in range(3))
    return _Sizes(train, validation, test, measured_only=False)


class _Counter:
    def __init__(self, resolved: ResolvedStudy, assumed: Assumed, given: Given) -> None:
        self.resolved = resolved
        self.study = resolved.study
        self.given = given
        self.sizes = sizes_of(resolved, given)
        self.principle = "x" * assumed.principle_chars
        self.samples = self.study.measurement.samples

    def all(self) -> tuple[Work, ...]:
        found = [*self._uncover(), self._quantify()]
        trained = not self.sizes.measured_only
        if trained:
            for number in range(1, self.study.stop.max_iterations + 1):
                found += self._iteration(number)
            found += self._judge()
        found += self._controls(trained)
        found += probe_work(self.resolved, self.sizes.test, self.given.tasks or {}, self._text, trained)
        found.append(self._verdict(found, trained))
        return tuple(found)

    def _uncover(self) -> list[Work]:
        prompts, reference = self.resolved.prompt_set, self.resolved.reference_set
        asked = self.study.principles_per_topic
        originals = [
            _text(prompts.render_original(topic, reference.id, index))
            for topic in self.resolved.topics
            for index in range(asked)
        ]
        if self.given.ruler_inputs is not None:
            return [self._drawn("uncover", "uncover_aligned", originals)]
        aligned = [self._aligned(topic, reference) for topic in self.resolved.topics for _ in range(asked)]
        return [
            self._drawn("uncover", "uncover_originals", originals),
            self._drawn("uncover", "uncover_aligned", aligned),
        ]

    def _quantify(self) -> Work:
        pairs = self.sizes.total("train", "validation", "test")
        own = self.study.principles_per_topic * len(self.resolved.topics)
        # A ruler brings the rows of its own texts.
        return Work("quantify", "quantify", embeddings=2 * pairs if self.given.ruler_inputs is None else own)

    def _iteration(self, number: int) -> list[Work]:
        return [
            self._training("realign", f"train_{number}"),
            self._realigned("realign", f"validate_{number}", self.sizes.validation, 1),
        ]

    def _judge(self) -> list[Work]:
        both = {topic: self.sizes.test[topic] * self.samples for topic in self.sizes.test}
        base = {topic: size + self.sizes.validation[topic] for topic, size in both.items()}
        test = self.sizes.total("test")
        return [
            self._realigned("judge", "judge_base", base, 1, self.sizes.total("validation", "test")),
            self._realigned("judge", "judge_best", both, 1, test),
        ]

    def _controls(self, trained: bool) -> list[Work]:
        found, test = [], self.sizes.test
        reference = self.resolved.reference_set
        if self.given.ruler_inputs is None and self.study.measurement.reference_samples > 1:
            again = self.study.measurement.reference_samples - 1
            found.append(self._in_context("draw_references", test, again, reference, aligned=True))
        if not trained:
            found.append(self._realigned("controls", "draw_base", test, self.samples, 0))
        found.append(self._in_context("draw_base_reference", test, self.samples, reference, aligned=False))
        other, arms = self.resolved.other_reference_set, controls_of(self.resolved) if trained else ()
        if arms and other is not None:
            both = {topic: size + self.sizes.train[topic] for topic, size in test.items()}
            found.append(self._in_context("draw_other_set", both, 1, other, aligned=True, embedded=True))
        for arm in arms:
            # The best checkpoint's recipe: as often as that was trained, so that all iterations are the most.
            for number in range(1, self.study.stop.max_iterations + 1):
                found.append(self._training("controls", f"train_{arm.name}_{number}"))
            found.append(self._realigned("controls", f"measure_{arm.name}", test, self.samples, 0))
        return found

    def _verdict(self, before: Sequence[Work], trained: bool) -> Work:
        """Every kept text once more with what the analysis makes of it: an upper bound, since equal texts go
        out once."""
        texts = sum(work.completions for work in before if work.stage not in ("probes",))
        reference = self.resolved.reference_set
        made = 2 * len(reference.principles) + 100
        compared = self.sizes.total("test") * (self.study.measurement.reference_samples + self.samples)
        again = sum(arm.kind is ArmKind.TUNED for arm in controls_of(self.resolved)) if trained else 0
        compared += again * self.samples * self.sizes.total("test")
        compared += self.sizes.total("test") * self.samples if trained else 0
        if trained:
            made += 2 * compared + self.sizes.total("test") + 2 * 600
        second = compared if self.given.second_encoder else 0
        return Work("verdict", "verdict", embeddings=texts + made + second)

    def _aligned(self, topic: Topic, reference: ReferenceSet) -> Text:
        principles = reference.principles_for(topic.id)
        return _text(self.resolved.prompt_set.render_aligned(topic, self.principle, reference.id, principles))

    def _text(self, topic: Topic) -> Text:
        own = self.resolved.reference_set.id
        return _text(self.resolved.prompt_set.render_realigned(topic, self.principle, own))

    def _realigned(
        self, stage: str, step: str, sizes: Mapping[str, int], samples: int, embedded: int | None = None
    ) -> Work:
        texts = [
            text
            for topic in self.resolved.topics
            for text in [self._text(topic)] * (sizes[topic.id] * samples)
        ]
        return self._drawn(stage, step, texts, len(texts) if embedded is None else embedded)

    def _in_context(
        self,
        step: str,
        sizes: Mapping[str, int],
        samples: int,
        reference: ReferenceSet,
        *,
        aligned: bool,
        embedded: bool = False,
    ) -> Work:
        prompts, texts = self.resolved.prompt_set, []
        for topic in self.resolved.topics:
            principles = reference.principles_for(topic.id)
            render = prompts.render_aligned if aligned else prompts.render_reference
            text = _text(render(topic, self.principle, reference.id, principles))
            texts += [text] * (sizes[topic.id] * samples)
        return self._drawn("controls", step, texts, len(texts) if embedded else 0)

    def _drawn(self, stage: str, step: str, texts: Sequence[Text], embeddings: int = 0) -> Work:
        generation = self.study.generation
        return Work(
            stage,
            step,
            completions=len(texts),
            most_draws=generation.max_draws,
            prompt_chars=sum(text.chars for text in texts),
            prompt_turns=sum(text.turns for text in texts),
            longest_chars=max((text.chars for text in texts), default=0),
            longest_turns=max((text.turns for text in texts), default=0),
            most_tokens=generation.max_new_tokens,
            embeddings=embeddings,
        )

    def _training(self, stage: str, step: str) -> Work:
        training = self.study.training
        examples = self.sizes.total("train")
        texts = [
            text
            for topic in self.resolved.topics
            for text in [self._text(topic)] * self.sizes.train[topic.id]
        ]
        return Work(
            stage,
            step,
            # As the trainer counts: the last batch of an epoch may be smaller.
            training_steps=-(-examples // training.batch_size) * training.epochs,
            trained_examples=examples * training.epochs,
            trained_chars=sum(text.chars + len(self.principle) for text in texts) * training.epochs,
            trained_turns=sum(text.turns for text in texts) * training.epochs,
        )


def _text(prompt: Prompt) -> Text:
    chars = sum(len(message.content) for message in prompt.messages) + len(prompt.prefill)
    return Text(chars, len(prompt.messages))
