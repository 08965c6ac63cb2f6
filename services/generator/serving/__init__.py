"""The HTTP face: who may ask, what a model's name means now, and what is passed on to vLLM's own server."""
