"""Batches cut into messages: a part stays under about 1 MiB and 256 items."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PART_BYTES = 1 << 20
PART_ITEMS = 256


def in_parts(
    items: Iterable[Item],
    size_bytes: Callable[[Item], int],
    part_bytes: int = PART_BYTES,
    part_items: int = PART_ITEMS,
) -> Iterator[list[Item]]:
    """Consecutive parts of ``items``; an item larger than ``part_bytes`` goes alone."""
    part: list[Item] = []
    held = 0
    for item in items:
        size = size_bytes(item)
        if part and (held + size > part_bytes or len(part) >= part_items):
            yield part
            part, held = [], 0
        part.append(item)
        held += size
    if part:
        yield part
