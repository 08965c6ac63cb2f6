"""Hypothesis without a deadline: on a busy machine a slow example is no fault of the domain's."""

from hypothesis import settings

settings.register_profile("valign", deadline=None)
settings.load_profile("valign")
