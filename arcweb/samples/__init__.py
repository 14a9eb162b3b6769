"""Figures of the stack, taken every half minute, for charts and for what changed since.

Apps register samplers in a module samplers.py (`arcweb.samples.registry`); pages read with
`arcweb.samples.series`. Cards, which read them, are in modules cards.py.
"""
