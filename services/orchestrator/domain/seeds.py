"""Seeds of everything random, derived from the run's seed so that a rerun draws the same."""

import hashlib


def sample_seed(run_seed: int, arm: str, topic_id: str, index: int, draw: int) -> int:
    """63-bit seed of one completion (METHOD: decoding). Independent of order and of batching."""
    return _seed(f"{run_seed}|{arm}|{topic_id}|{index}|{draw}")


def training_seed(run_seed: int, iteration: int) -> int:
    """31-bit seed of one iteration's training: shuffling, dropout, initial LoRA matrices."""
    return _seed(f"{run_seed}|training|{iteration}") >> 32


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
