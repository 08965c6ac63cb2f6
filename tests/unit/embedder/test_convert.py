"""Protobuf on one side, arrays on the other."""

import numpy as np
import pytest

from services.common.errors import InvalidInputError
from services.common.pb.embedder.v1 import embedder_pb2
from services.embedder.convert import to_description, to_responses, to_texts
from services.embedder.types import Encoded, EncoderInfo


def test_to_responses_many_rows_are_cut_into_messages_of_a_mebibyte() -> None:
    rows = np.arange(3000 * 256, dtype=np.float32).reshape(3000, 256)
    truncated = np.zeros(3000, dtype=np.bool_)
    truncated[[0, 1500]] = True
    responses = list(to_responses(Encoded(rows, truncated), offset=70, fingerprint="f" * 64))
    assert [r.count for r in responses] == [1024, 1024, 952]
    assert [r.offset for r in responses] == [70, 1094, 2118]
    assert [list(r.truncated) for r in responses] == [[70], [1570], []]
    joined = b"".join(r.rows for r in responses)
    np.testing.assert_array_equal(np.frombuffer(joined, dtype="<f4").reshape(3000, 256), rows)


def test_to_responses_row_larger_than_a_message_goes_alone() -> None:
    rows = np.ones((2, 300_000), dtype=np.float32)
    assert [r.count for r in to_responses(Encoded(rows, np.zeros(2, dtype=np.bool_)), 0, "f")] == [1, 1]


@pytest.mark.parametrize("empty", ["", " ", "\n\t "])
def test_to_texts_empty_text_is_refused_with_its_index_in_the_call(empty: str) -> None:
    with pytest.raises(InvalidInputError, match="text 11 is empty") as caught:
        to_texts(embedder_pb2.EmbedRequest(texts=["fine", empty]), offset=10)
    assert caught.value.details == {"index": 11}


def test_to_description_has_every_field() -> None:
    info = EncoderInfo("m", 3, "ab", 512, normalized=True)
    assert to_description(info) == embedder_pb2.DescribeResponse(
        model="m", dimension=3, fingerprint="ab", max_tokens=512, normalized=True
    )
