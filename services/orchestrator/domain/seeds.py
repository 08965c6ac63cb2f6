"""Seeds of everything random, derived from the run's seed so that a rerun draws the same."""

import hashlib


def sample_seed(run_seed: int, stage: str, topic_id: str, index: int, draw: int) -> int:
    """63-bit seed of one completion. Independent of order and of batching.

    The stage counts and not the arm: arms that answer the same prompt share their random numbers, which
    takes the luck of the draw out of what is compared (common random numbers, Law 2015, section 11.2).
    """
    return _seed(f"{run_seed}|{stage}|{topic_id}|{index}|{draw}")


def training_seed(run_seed: int, iteration: int, replicate: int = 0) -> int:
    """31-bit seed of one iteration's training: shuffling, dropout, initial LoRA matrices.

    ``replicate`` numbers the training seeds of one recipe; 0 is the run's own.
    """
    suffix = f"|{replicate}" if replicate else ""
    return _seed(f"{run_seed}|training|{iteration}{suffix}") >> 32


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
