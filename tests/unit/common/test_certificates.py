"""The REST API's certificate follows its files."""

import asyncio
import contextlib
import ssl
from pathlib import Path

from services.common.certificates import follow_certificate
from tests.fakes.certificates import Authority


async def _serves(port: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=authority)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except ssl.SSLError:
        return False
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return True


async def test_new_pair_serves_the_next_connection_and_half_a_pair_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = Authority(tmp_path), Authority(tmp_path / "new", "renewed")
    pair, fresh = old.pair("server"), new.pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    following = asyncio.create_task(follow_certificate(context, pair.certificate, pair.key, every_s=0.02))
    try:
        assert await _serves(port, old.file)
        pair.certificate.write_bytes(fresh.certificate.read_bytes())
        await asyncio.sleep(0.1)
        assert await _serves(port, old.file)
        pair.key.write_bytes(fresh.key.read_bytes())
        for _ in range(100):
            if await _serves(port, new.file):
                break
            await asyncio.sleep(0.02)
        assert await _serves(port, new.file)
        assert not await _serves(port, old.file)
        assert not following.done()
    finally:
        following.cancel()
        server.close()
