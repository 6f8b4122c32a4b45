"""The published set: its files, the frame of the aligned images, and the groups."""

from crayon_bench import DataFile

WIDTH, HEIGHT = 178, 218
"""The aligned frame, in pixels, in which the mouth box is given."""
MOUTH = (136, 58, 170, 120)
"""Top, left, bottom, right in the aligned frame; the corners of the mouth lie near (72, 152) and (105, 152)."""

GROUPS = ("black hair, not smiling", "black hair, smiling", "blond hair, not smiling", "blond hair, smiling")

_ORIGIN = "the official site, mmlab.ie.cuhk.edu.hk/projects/CelebA.html (folders Img, Anno and Eval)"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_UCSD = "https://cseweb.ucsd.edu/~weijian/static/datasets/celeba/"

IMAGES = DataFile(
    "img_align_celeba",
    "",
    1_443_490_838,
    "img_align_celeba.zip",
    "",
    (_DRIVE + "0B7EVK8r0v71pZjFTYXZWM3FlRnM", _UCSD + "img_align_celeba.zip"),
    packed_md5="00d2c5bc6d35e252742224ab0c1e8fcb",
    tree=True,
    members=202_599,
    origin=_ORIGIN,
)
ATTRIBUTES = DataFile(
    "list_attr_celeba.txt",
    "",
    26_721_026,
    "list_attr_celeba.txt",
    "",
    (_DRIVE + "0B7EVK8r0v71pblRyaVFSWGxPY0U", _UCSD + "list_attr_celeba.txt"),
    packed_md5="75e246fa4810816ffd6ee81facbd244c",
    origin=_ORIGIN,
    also=("list_attr_celeba.csv",),  # of Kaggle
)
PARTITION = DataFile(
    "list_eval_partition.txt",
    "",
    2_836_386,
    "list_eval_partition.txt",
    "",
    (_DRIVE + "0B7EVK8r0v71pY0NSMzRuSXJEVkk", _UCSD + "list_eval_partition.txt"),
    packed_md5="d32c9cbf5e040fd4025c592c306e6668",
    origin=_ORIGIN,
    also=("list_eval_partition.csv",),
)
