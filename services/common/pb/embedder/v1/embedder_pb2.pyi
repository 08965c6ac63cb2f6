from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("model", "dimension", "fingerprint", "max_tokens", "normalized")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_FIELD_NUMBER: _ClassVar[int]
    model: str
    dimension: int
    fingerprint: str
    max_tokens: int
    normalized: bool
    def __init__(self, model: _Optional[str] = ..., dimension: _Optional[int] = ..., fingerprint: _Optional[str] = ..., max_tokens: _Optional[int] = ..., normalized: _Optional[bool] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("texts",)
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, texts: _Optional[_Iterable[str]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("offset", "rows", "count", "dimension", "truncated", "fingerprint")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    offset: int
    rows: bytes
    count: int
    dimension: int
    truncated: _containers.RepeatedScalarFieldContainer[int]
    fingerprint: str
    def __init__(self, offset: _Optional[int] = ..., rows: _Optional[bytes] = ..., count: _Optional[int] = ..., dimension: _Optional[int] = ..., truncated: _Optional[_Iterable[int]] = ..., fingerprint: _Optional[str] = ...) -> None: ...
