"""Drawn images that stand in for data sets whose files cannot be shipped: no files, no network.

Every image is drawn from a seeded ``numpy.random.RandomState`` with additions, products, quotients, square roots and
comparisons only. IEEE 754 fixes the result of each, so that the same seed gives the same bytes on every machine.
"""
