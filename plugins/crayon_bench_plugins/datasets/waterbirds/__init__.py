"""Waterbirds: birds cut out of their photographs and put on land or on water, which in training gives the label away.

Source: Sagawa et al. 2020 (arXiv:1911.08731), from CUB-200-2011 (Wah et al. 2011) and Places (Zhou et al. 2017).
"""
