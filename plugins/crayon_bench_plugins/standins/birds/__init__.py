"""Drawn birds that stand in for Waterbirds: the label is the kind of bird, the shortcut is what is behind or beside it.

As in Waterbirds, birds are cut out and laid on a scene: which pixels are bird, and their colours, do not depend on it.
Water birds and land birds come in the same colours and differ in the shapes of body, neck, bill, tail and feet. The
first edition (``drawing``, ``scenes``) has land or water behind every bird; in the second (``outside``, ``ground``)
part of the birds stand among bushes or ponds, and the others on open ground.
"""
