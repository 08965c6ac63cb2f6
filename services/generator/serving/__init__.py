"""The HTTP face: who may ask, what a model name means at this moment, and what is passed to vLLM's own server."""
