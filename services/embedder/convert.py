"""Between protobuf messages and the embedder's types."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.common.errors import InvalidInputError
from services.common.pb.embedder.v1 import embedder_pb2
from services.embedder.types import Encoded, EncoderInfo

# Rows travel in messages of about this size.
_MESSAGE_BYTES = 1024 * 1024


def to_description(info: EncoderInfo) -> embedder_pb2.DescribeResponse:
    return embedder_pb2.DescribeResponse(
        model=info.model,
        dimension=info.dimension,
        fingerprint=info.fingerprint,
        max_tokens=info.max_tokens,
        normalized=info.normalized,
    )


def to_texts(request: embedder_pb2.EmbedRequest, offset: int) -> Sequence[str]:
    """The texts of one message, of which the first has index ``offset`` in the call.

    Raises:
        InvalidInputError: a text is empty or only white space. It names the text's index in the call.
    """
    texts = list(request.texts)
    for index, text in enumerate(texts, start=offset):
        if not text or text.isspace():
            raise InvalidInputError(
                f"text {index} is empty: there is nothing to embed", details={"index": index}
            )
    return texts


def to_responses(encoded: Encoded, offset: int, fingerprint: str) -> Iterator[embedder_pb2.EmbedResponse]:
    """Messages of about 1 MiB with the rows in order, the first of which has index ``offset`` in the call.

    Each names the encoder by its ``fingerprint``: whoever keeps a row must know whose it is.
    """
    count, dimension = encoded.rows.shape
    step = max(1, _MESSAGE_BYTES // (4 * dimension))
    for start in range(0, count, step):
        rows = encoded.rows[start : start + step]
        cut = np.flatnonzero(encoded.truncated[start : start + step])
        yield embedder_pb2.EmbedResponse(
            offset=offset + start,
            rows=rows.astype("<f4", copy=False).tobytes(),
            count=len(rows),
            dimension=dimension,
            truncated=[offset + start + int(index) for index in cut],
            fingerprint=fingerprint,
        )
