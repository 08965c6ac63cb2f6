"""Channel options are strings that gRPC ignores when it does not know them: hold them to its library."""

import re
from pathlib import Path

import grpc
import pytest

import services.common.rpc.client
import services.common.rpc.server

_KEY = re.compile(r"\"(grpc\.[a-z0-9_.]+)\"")


def _known() -> bytes:
    library = next((Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so"))
    return library.read_bytes()


@pytest.mark.parametrize("module", [services.common.rpc.client, services.common.rpc.server])
def test_channel_options_every_name_is_one_that_grpc_knows(module):
    names = _KEY.findall(Path(module.__file__).read_text(encoding="utf-8"))
    known = _known()
    assert names
    # Ended by NUL in the library, so that a name's beginning does not count.
    assert [name for name in names if name.encode() + b"\0" not in known] == []
