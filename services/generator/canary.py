"""The swap proof: an adapter's log-probabilities in the engine against the trainer's.

vLLM can list an adapter and still emit the base model's text. So each canary of the manifest
is scored with the adapter and without it. Two things must hold:

1. *Agreement.* |engine - trainer| <= tolerance * |trainer| + slack. Both sides compute in
   bfloat16, which keeps 8 significant bits: measured over real texts they differ by up to about
   1 %, with strong adapters by up to 2 % (the tolerance). The slack covers texts that the model
   is nearly sure of, where 2 % of almost nothing is nothing: a logit of size 16 is rounded by up
   to 0.03, a token's log-probability so by about 0.05 nats, and independent errors of T tokens
   add up to 0.05 * sqrt(T). Answers that an adapter had learnt came close to that limit (3.4 % off
   where 4 % was tolerated), so twice as much is allowed. Agreement must hold with the adapter, and
   for the base model, which is scored in the same steps of the engine: an adapter that leaks into
   base requests changes what others get.
2. *Effect.* The adapter's log-probabilities differ from the base's, by at least the shift that
   the trainer saw less the errors that agreement allows for both (the triangle inequality). A
   shift so small that nothing is left of it must at least not be zero.
"""

import math
from collections.abc import Sequence

from services.common.errors import PreconditionError
from services.generator.types import Canary, CanaryProof, Score

_SLACK_NATS_PER_SQRT_TOKEN = 0.1
_MIN_SHIFT_NATS = 1e-4


def prove(
    name: str,
    canaries: Sequence[Canary],
    adapter_scores: Sequence[Score],
    base_scores: Sequence[Score],
    tolerance: float,
) -> CanaryProof:
    """Compare canaries with the engine's scores of them, with and without the adapter.

    Args:
        name: the adapter's name, for messages.
        canaries: at least one; the scores stand in the same order.
        tolerance: tolerated relative error.

    Raises:
        PreconditionError: no agreement or no effect; the message has the numbers.
    """
    error, allowed = _agree(
        f"adapter {name} does not answer as it did in training",
        [canary.logprob_adapter for canary in canaries],
        canaries,
        adapter_scores,
        tolerance,
    )
    _agree(
        f"with adapter {name} loaded the base model no longer answers as the base",
        [canary.logprob_base for canary in canaries],
        canaries,
        base_scores,
        tolerance,
    )
    shift = _mean([abs(a.logprob - b.logprob) for a, b in zip(adapter_scores, base_scores, strict=True)])
    expected = _mean([abs(canary.logprob_adapter - canary.logprob_base) for canary in canaries])
    noise = _mean(
        [
            tolerance * (abs(c.logprob_adapter) + abs(c.logprob_base)) + 2 * _slack_nats(c.tokens)
            for c in canaries
        ]
    )
    needed = max(expected - noise, _MIN_SHIFT_NATS)
    if shift < needed:
        raise PreconditionError(
            f"adapter {name} has no effect: it moves the canaries by {shift:.5f} nats on average, at least"
            f" {needed:.5f} are needed (the trainer measured {expected:.5f})",
            details={"mean_shift_nats": shift, "needed_nats": needed, "trainer_shift_nats": expected},
        )
    return CanaryProof(len(canaries), error, allowed, shift)


def _agree(
    problem: str,
    expected: Sequence[float],
    canaries: Sequence[Canary],
    scores: Sequence[Score],
    tolerance: float,
) -> tuple[float, float]:
    """(relative error, tolerated relative error) of the worst canary; PreconditionError if it disagrees."""
    worst, worst_number = (-1.0, 0.0, 0.0), 0
    for number, (canary, logprob, score) in enumerate(zip(canaries, expected, scores, strict=True)):
        if score.tokens != canary.tokens:
            raise PreconditionError(
                f"{problem}: canary {number} has {score.tokens} tokens here and {canary.tokens} in the"
                " trainer; the two use different tokenizers or chat templates"
            )
        size = max(abs(logprob), 1e-9)
        allowed = tolerance + _slack_nats(canary.tokens) / size
        error = abs(score.logprob - logprob) / size
        # NaN must not pass as "not larger".
        ratio = error / allowed if math.isfinite(error) else math.inf
        if ratio > worst[0]:
            worst, worst_number = (ratio, error, allowed), number
    ratio, error, allowed = worst
    if ratio > 1:
        raise PreconditionError(
            f"{problem}: canary {worst_number} has log-probability {scores[worst_number].logprob:.4f} here"
            f" and {expected[worst_number]:.4f} in the trainer, a relative error of {error:.4f} where"
            f" {allowed:.4f} is tolerated",
            details={
                "canary": worst_number,
                "engine_logprob": scores[worst_number].logprob,
                "trainer_logprob": expected[worst_number],
                "relative_error": error,
                "tolerance": allowed,
            },
        )
    return error, allowed


def _slack_nats(tokens: int) -> float:
    return _SLACK_NATS_PER_SQRT_TOKEN * math.sqrt(tokens)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
