"""The asynchronous half: the source of both. ``scripts/write_sync_client.py`` makes ``sync`` of it."""
