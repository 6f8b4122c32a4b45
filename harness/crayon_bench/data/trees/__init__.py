"""Many files under one name: a folder, a zip or a tar archive, read in place and never unpacked.

Members are named by their path below the tree's own folder, with ``/``, however the tree is packed:
``img_align_celeba.zip`` and the folder ``img_align_celeba`` both have the member ``000001.jpg``. Nothing is written, so
that no member can be written outside; a member whose name leads outside, or that is a link, makes the archive invalid.
"""
