"""The synchronous half, made of ``aio`` by ``scripts/write_sync_client.py``: do not edit."""
