"""Intervals, tests and closed forms of the analysis. docs/guides/statistics.md says how to read each.

Arrays in, numbers out: nothing here knows an arm or a text.
"""
