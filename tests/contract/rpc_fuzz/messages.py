"""Protobuf messages from descriptors: every scalar at its extremes, any nesting, unknown enum numbers."""

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tests.seeded import RUN_IDS

_MOST_DEPTH = 3
_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\n\r\t",
    "\x1b[31m",
    "\u202e\u2066",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "e\u0301",
    "\u0663",
    "\\ud83d",
    "\\u0000",
    "null",
    "NaN",
    "-1",
    "1e999999",
    "9" * 5000,
    "../../etc/passwd",
    "/",
    "file:///etc/passwd",
    "s3://bucket/key",
    "%s%n%00",
    "{{7*7}}",
    "{x.__class__}",
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>",
    "{" * 2000,
    "[" * 2000,
    "a: &a [*a]",
    "\u00e4" * 40_000,
    "x" * 200_000,
)
# What a field of that name may hold so that a call comes past the first check.
_KNOWN: dict[str, tuple[Any, ...]] = {
    "run_id": RUN_IDS,
    "run_ids": RUN_IDS,
    "study": ("name: x\n", '{"name": "x"}', "name: x\nprinciples_per_topic: 10\n"),
    "reference_set": ("id: x\n", "{}"),
    "kind": ("task", "ruler", "values-head"),
    "name": ("a", "a-1", "r-1-i1-0badcafe"),
    "id": ("ten-commandments", "demo", "base", "1"),
    "sha256": ("a" * 64, "A" * 64),
    "role": ("user", "system", "assistant"),
    "job_id": ("job", "job-2"),
    "adapter": ("",),
    "topic": ("topic-0",),
    "uri": ("file:///nowhere", "adapters/a"),
    "data": (b"PK\x03\x04", b'{"question": "?", "choices": ["a", "b"], "answer": 0}\n'),
}
_LEAST_AND_MOST = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def texts() -> st.SearchStrategy[str]:
    """Any text that protobuf can hold; the odd ones often."""
    return st.one_of(st.sampled_from(_TEXTS), st.text(st.characters(exclude_categories=("Cs",)), max_size=60))


def messages_of(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of a type: each field left out, or set to anything that its type can hold."""
    make = message_factory.GetMessageClass(descriptor)

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = make()
        for field in descriptor.fields:
            if (field.message_type and depth >= _MOST_DEPTH) or draw(st.integers(0, 3)) == 0:
                continue
            _set(draw, message, field, depth)
        return message

    return build()


def _set(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        entries = getattr(message, field.name)
        for name in draw(st.lists(_scalars(key), max_size=3)):
            if value.message_type:
                entries[name].CopyFrom(draw(messages_of(value.message_type, depth + 1)))
            else:
                entries[name] = draw(_scalars(value))
    elif field.is_repeated:
        one = messages_of(field.message_type, depth + 1) if field.message_type else _scalars(field)
        getattr(message, field.name).extend(draw(st.lists(one, max_size=4)))
    elif field.message_type:
        getattr(message, field.name).CopyFrom(draw(messages_of(field.message_type, depth + 1)))
    else:
        setattr(message, field.name, draw(_scalars(field)))


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    any_value = _any_scalar(field)
    known = _KNOWN.get(field.name)
    fits = known and isinstance(known[0], bytes) == (field.type == FieldDescriptor.TYPE_BYTES)
    if fits and field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.one_of(st.sampled_from(known), any_value)
    return any_value


def _any_scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.one_of(st.binary(max_size=100), st.just(b"\0" * 300_000), st.just(b"\xff\xfe"))
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return texts()
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_ENUM:
            return _enum_numbers(field.enum_type)
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats()
        case FieldDescriptor.CPPTYPE_FLOAT:
            return st.floats(width=32)
        case kind:
            least, most = _LEAST_AND_MOST[kind]
            return st.one_of(st.sampled_from((least, most, 0, 1)), st.integers(least, most))


def _enum_numbers(enum: EnumDescriptor) -> st.SearchStrategy[int]:
    known = [value.number for value in enum.values]
    return st.one_of(st.sampled_from(known), st.sampled_from((-1, 99, -(2**31), 2**31 - 1)))
