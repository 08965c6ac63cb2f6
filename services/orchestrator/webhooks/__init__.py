"""Webhooks: other systems are told what happens, as CloudEvents over HTTP (``docs/guides/events.md``)."""
