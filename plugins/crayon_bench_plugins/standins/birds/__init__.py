"""Drawn birds that stand in for Waterbirds: the label is the kind of bird, the shortcut is the scene behind it.

As in Waterbirds, birds are cut out and laid on scenes: which pixels are bird, and their colours, do not depend on the
scene. Water birds and land birds come in the same colours and differ in the shapes of body, neck, bill, tail and feet.
"""
