"""Monitors: what a served model says, measured again on a schedule and held against its own baseline."""
