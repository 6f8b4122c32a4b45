"""The published set: its files, groups and sizes."""

from crayon_bench import DataFile

GROUPS = ("landbird on land", "landbird on water", "waterbird on land", "waterbird on water")
SPLITS = ("training", "validation", "test")
"""Names of the numbers in the column ``split``."""

PUBLISHED = ((3498, 184, 56, 1057), (467, 466, 133, 133), (2255, 2255, 642, 642))
"""Number of images by split and group in the published set."""

MISLABELLED = ("eastern_towhee", "western_meadowlark", "western_wood_pewee")
"""Landbirds that the published labels call waterbirds, because their names contain "tern"."""

BUILD_NOTE = "BUILD.json"
"""Beside metadata.csv in a set that ``data build`` made: from what, and with which seed."""

PICTURES = DataFile(
    "waterbird_complete95_forest2water2",
    "",
    1 << 30,  # not published: a bound
    "waterbird_complete95_forest2water2.tar.gz",
    "",
    ("https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz",),
    tree=True,
    origin="github.com/kohpangwei/group_DRO",
    also=("waterbirds_v1.0", "waterbirds_v1.0.tar.gz"),  # of WILDS
)
SEGMENTATIONS = DataFile(
    "segmentations",
    "",
    39_272_883,
    "segmentations.tgz",
    "dc77f6cffea0cbe2e41d4201115c8f29a6320ecb04fffd2444f51b8066e4b84f",
    (
        "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz?download=1",
        "https://data.caltech.edu/api/records/w9d68-gec53/files/segmentations.tgz/content",
    ),
    tree=True,
    members=11_788,
    origin="CUB-200-2011's page, data.caltech.edu/records/w9d68-gec53",
)
