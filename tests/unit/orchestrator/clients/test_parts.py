from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.clients.parts import in_parts


@given(st.lists(st.integers(0, 50)), st.integers(1, 60), st.integers(1, 5))
def test_in_parts_any_sizes_keeps_order_and_limits(
    sizes: list[int], most_bytes: int, most_items: int
) -> None:
    parts = list(in_parts(sizes, lambda size: size, most_bytes, most_items))
    assert [size for part in parts for size in part] == sizes
    for part in parts:
        assert 1 <= len(part) <= most_items
        assert sum(part) <= most_bytes or len(part) == 1
