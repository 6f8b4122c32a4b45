"""Drawn faces that stand in for CelebA: the label is the smile, the shortcut is the colour of the hair.

Faces are aligned as CelebA's are: eyes, nose and mouth lie in the same place in every image, up to a pixel. Everything
but the label and the shortcut is drawn independently of both.
"""
