"""Biased CelebA: faces labelled smiling or not, where in training hair colour gives the label away.

Source: Liu et al. 2015 (aligned and cropped images); the biased draw is that of the CRAYON paper.
"""
