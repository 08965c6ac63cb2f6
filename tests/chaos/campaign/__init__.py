"""Kills of every process in every stage of a run, and what they may not change: ``make chaos``."""
