"""Biased CelebA on files of the official format, and on real half-size faces where they are."""

import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import SHARED
from crayon_bench.data.fetching import prepare
from crayon_bench.data.importing import import_files
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench_plugins.datasets.celeba.dataset import CelebA, resized
from crayon_bench_plugins.datasets.celeba.draw import CelebAParameters
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, IMAGES, PARTITION

HEADER = "5_o_Clock_Shadow Black_Hair Blond_Hair Smiling Young"
SMALL = {"majority": 6, "minority": 2, "test": 4, "size": 56}
KINDS = [(1, 0, 0), (1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1), (0, 0, 0)]
"""Black, blond, smiling; the last two take no part."""


def jpeg(number: int, size=(89, 109)) -> bytes:
    pixels = np.full((size[1], size[0], 3), 40, np.uint8)
    pixels[..., 0] = number % 251
    pixels[68:85, 29:60] = (200, 10, 10)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_celeba(folder: Path, *, per: tuple[int, int, int] = (8, 4, 3), size=(89, 109), packed: bool = False) -> None:
    """Write *per* = (training, validation, test) images of each of the six kinds, in an order of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(kind, part) for part in range(3) for kind in range(6) for _ in range(per[part])]
    order = np.random.RandomState(1).permutation(len(rows))
    attributes, partition, images = [str(len(rows)), HEADER + " "], [], {}
    for number, index in enumerate(order, start=1):
        kind, part = rows[index]
        name = f"{number:06d}.jpg"
        values = [-1, *(1 if bit else -1 for bit in KINDS[kind]), 1]
        attributes.append(name + "".join(f" {value:2d}" for value in values))
        partition.append(f"{name} {part}")
        images[name] = jpeg(number, size)
    (folder / ATTRIBUTES.name).write_text("\r\n".join(attributes) + "\r\n")
    (folder / PARTITION.name).write_text("\n".join(partition) + "\n")
    if packed:
        with zipfile.ZipFile(folder / IMAGES.packed, "w") as bundle:
            for name, content in images.items():
                bundle.writestr(f"img_align_celeba/{name}", content)
    else:
        (folder / IMAGES.name).mkdir()
        for name, content in images.items():
            (folder / IMAGES.name / name).write_bytes(content)


@pytest.fixture
def root(tmp_path):
    write_celeba(tmp_path / "root" / "celeba")
    return tmp_path / "root"


def find(root: Path):
    return CelebA.find(root, Source.REAL, strict=False)


def load(root: Path, **parameters):
    return CelebA(CelebAParameters(**{**SMALL, **parameters})).load(find(root))


def test_the_draw_follows_the_rule(root):
    data = load(root, validation=2)
    assert np.bincount(data.train.groups).tolist() == [2, 6, 6, 2]
    assert np.bincount(data.test.groups).tolist() == [4, 4, 4, 4]
    assert np.bincount(data.validation.groups).tolist() == [2, 2, 2, 2]
    assert (data.train.labels == data.train.groups % 2).all()
    ids = [*data.train.ids, *data.test.ids, *data.validation.ids]
    assert len(ids) == len(set(ids))
    part = dict(line.split() for line in (root / "celeba" / PARTITION.name).read_text().splitlines())
    values = {r[0]: r[2:5] for r in map(str.split, (root / "celeba" / ATTRIBUTES.name).read_text().splitlines()[2:])}
    names = sorted(part)

    def of(group: int, partition: str) -> list[str]:
        want = ["1" if bit else "-1" for bit in KINDS[group]]
        return [n for n in names if part[n] == partition and values[n] == want]

    for group in range(4):

        def chosen(split, group=group):
            return [i for i, g in zip(split.ids, split.groups, strict=True) if g == group]

        assert chosen(data.train) == of(group, "0")[: 6 if group in (1, 2) else 2]
        assert chosen(data.test) == sorted([*of(group, "2"), of(group, "1")[-1]])
        assert chosen(data.validation) == of(group, "1")[:2]


def test_images_are_those_of_their_names(root):
    data = load(root)
    assert data.train.images.shape == (16, 3, 68, 56)
    for split in (data.train, data.test):
        for name, pixels in zip(split.ids, split.images, strict=True):
            assert abs(int(np.median(pixels[0, :20])) - int(name[:6]) % 251) <= 2
    assert data.validation is None


def test_the_resize_is_torchvisions():
    transforms = pytest.importorskip("torchvision.transforms")
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 256, (218, 178, 3), np.uint8))
    theirs = transforms.Resize(224)(picture)
    assert resized((178, 218), 224) == resized((89, 109), 224) == (274, 224) == theirs.size[::-1]
    ours = picture.resize((224, 274), Image.Resampling.BILINEAR)
    assert (np.asarray(theirs) == np.asarray(ours)).all()
    assert resized((218, 178), 100) == (100, 122)


def test_the_evidence_is_the_mouth(root):
    evidence = load(root).evidence
    some = np.array([0, 3, 3])
    masks = evidence.relevant_masks(some)
    assert masks.shape == (3, 68, 56)
    assert (masks ^ evidence.irrelevant_masks(some)).all()
    top, left, bottom, right = evidence.boxes(some)[1]
    assert (top, left, bottom, right) == (42, 18, 53, 38)
    assert masks[1].sum() == (bottom - top) * (right - left) == masks[1, top:bottom, left:right].sum()
    pixels = load(root).train.images[0].astype(int)
    assert (pixels[0] - pixels[1])[top + 1 : bottom - 1, left + 1 : right - 1].min() > 80  # the mouth was painted red
    assert (load(root).test_evidence.relevant_masks(some) == masks).all()  # they are aligned alike
    assert set(CelebA.evidence) == set(FeedbackKind)
    assert evidence.boxes(np.array([], np.int64)).shape == (0, 4)


def test_packing_changes_nothing_and_content_changes_the_hash(root, tmp_path):
    write_celeba(tmp_path / "zip", packed=True)
    assert find(root).content == find(tmp_path / "zip").content
    assert (load(root).train.images == load(tmp_path / "zip").train.images).all()
    (root / "celeba" / IMAGES.name / "more.jpg").write_bytes(b"not listed")
    assert find(root).content == find(tmp_path / "zip").content
    (root / "celeba" / IMAGES.name / "000007.jpg").write_bytes(jpeg(99))
    assert find(root).content != find(tmp_path / "zip").content


def test_too_few_images_say_what_there_is_and_what_would_work(root):
    with pytest.raises(UserError) as error:
        load(root, majority=100, minority=10, test=10, validation=5)
    text = str(error.value)
    assert "black hair, not smiling: training 8 / 10, test 3 / 10, validation 4 / 5 + 7 for the test" in text
    scale = float(text.rpartition("dataset.scale=")[2])
    data = load(root, majority=100, minority=10, test=10, validation=5, scale=scale)
    assert np.bincount(data.train.groups).tolist() == [1, 8, 8, 1]
    with pytest.raises(UserError, match="too few"):
        load(root, majority=100, minority=10, test=10, validation=5, scale=scale + 0.0001)
    with pytest.raises(UserError, match="no scale"):
        load(root, majority=200_000, minority=200_000, test=200_000, validation=200_000)


def test_scaling_rounds_and_keeps_at_least_one():
    wanted = CelebAParameters(scale=0.001).wanted()
    assert (wanted.train, wanted.test, wanted.validation) == ((1, 10, 10, 1), 2, 0)
    assert CelebAParameters().wanted().train == (100, 10_000, 10_000, 100)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (ATTRIBUTES, r"^90", "91", "90 rows, line 1 promises 91"),
        (ATTRIBUTES, r"^90", "ninety", "line 1 must be the number"),
        (ATTRIBUTES, r"^90", "<html>", "an HTML page"),
        (ATTRIBUTES, r"Blond_Hair", "Blonde_Hair", "must name the attribute Blond_Hair"),
        (ATTRIBUTES, r"(000003.jpg) -1", r"\1", "line 5: 4 values instead of 5"),
        (ATTRIBUTES, r"(000003.jpg) -1 (-| )1", r"\1 -1 -2", "line 5: values are neither all 1 and -1 nor all 1 and 0"),
        (ATTRIBUTES, r"(000003.jpg) -1", r"\1 -é", "not a text file"),
        (ATTRIBUTES, r"000003", "000004", "000004.jpg is there twice"),
        (PARTITION, r"000003", "900003", "000003.jpg is missing, which list_attr_celeba.txt lists"),
        (PARTITION, r"(000003.jpg) \d", r"\1 3", "line 3: expected an image's name and 0, 1 or 2"),
        (PARTITION, r"(000003.jpg) \d", r"\1", "line 3: expected"),
        (PARTITION, r"000003", "000002", "line 3: 000002.jpg is there twice"),
    ],
)
def test_a_malformed_text_is_one_line_that_names_file_and_line(root, file, old, new, message):
    path = root / "celeba" / file.name
    text, changes = re.subn(old, new, path.read_bytes().decode(), count=1)
    assert changes == 1
    path.write_bytes(text.encode())
    with pytest.raises(UserError) as error:
        find(root)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_broken_images_are_one_line(root):
    folder = root / "celeba" / IMAGES.name
    name = load(root).train.ids[3]
    whole = (folder / name).read_bytes()
    for content, message in (
        (whole[: len(whole) // 2], "broken image"),
        (b"", "not an image"),
        (jpeg(1, (89, 89)), "has not the aspect"),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            load(root)
        assert name in str(error.value)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        find(root)


def test_images_that_are_not_the_aligned_ones_are_refused(tmp_path):
    write_celeba(tmp_path / "celeba", size=(100, 100))
    with pytest.raises(UserError, match="the aligned images have the aspect 178×218"):
        find(tmp_path)


def test_what_is_not_published_is_named_and_refused_in_the_managed_folder(root, tmp_path):
    found = find(root)
    assert not found.verified
    assert len(found.notes) == 4
    assert "90 images, the published one 202,599" in found.notes[0]
    assert "the images are 89×109 pixels" in found.notes[3]
    with pytest.raises(UserError, match="--accept-unverified"):
        CelebA.find(root, Source.AUTO, strict=True)
    with pytest.raises(UserError, match="incomplete"):
        (root / "celeba" / PARTITION.name).rename(root / "x.txt")
        find(root)
    empty = CelebA.find(tmp_path / "nowhere", Source.AUTO, strict=True)
    assert empty.source is Source.STANDIN
    with pytest.raises(UserError, match="data prepare celeba"):
        CelebA.find(tmp_path / "nowhere", Source.REAL, strict=True)


@pytest.mark.parametrize("packed", [True, False])
def test_import_copies_the_zip_or_the_folder_and_remembers_what_was_accepted(tmp_path, packed):
    source, target, said = tmp_path / "from" / "deep", tmp_path / "to", []
    write_celeba(source, packed=packed)
    with pytest.raises(UserError, match="--accept-unverified"):
        import_files(CelebA, tmp_path / "from", target, accept_unverified=False, say=said.append)
    assert not target.exists()
    sources = [tmp_path / "from", source / (IMAGES.packed if packed else IMAGES.name), source / PARTITION.name]
    for path in sources:
        folder = import_files(CelebA, path, target, accept_unverified=True, say=said.append)
    assert folder == target / "celeba"
    name = IMAGES.packed if packed else IMAGES.name
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["accepted-unverified.json", name, ATTRIBUTES.name, PARTITION.name]
    )
    found = CelebA.find(target, Source.REAL, strict=True)
    assert not found.verified
    assert found.content == find(tmp_path / "from" / "deep").content
    # The other form replaces it.
    write_celeba(tmp_path / "other", packed=not packed)
    import_files(CelebA, tmp_path / "other", target, accept_unverified=True, say=said.append)
    assert not (folder / name).exists()
    assert CelebA.find(target, Source.REAL, strict=True).content == found.content


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with small files, declared to be the published ones."""
    folder = tmp_path / "published"
    write_celeba(folder, size=(178, 218), packed=True)
    md5 = {f.name: hashlib.md5((folder / f.packed).read_bytes()).hexdigest() for f in CelebA.files}
    files = [replace(f, packed_md5=md5[f.name], urls=(), members=90 if f.tree else 0) for f in CelebA.files]
    monkeypatch.setattr(CelebA, "files", tuple(files))
    return folder


def test_prepare_fetches_by_md5_and_recognises_a_page(published, tmp_path, server):
    page, root, said = tmp_path / "page", tmp_path / "root", []
    page.mkdir()
    (page / IMAGES.packed).write_text("<!DOCTYPE html><title>Google Drive - Virus scan warning</title>")
    with pytest.raises(UserError) as error:
        prepare(CelebA, root, [server(page)], said.append)
    text = str(error.value)
    assert "an HTML page came in place of the file" in text
    assert "get img_align_celeba.zip, list_attr_celeba.txt, list_eval_partition.txt, from the official site" in text
    assert text.endswith("crayon-bench data import celeba FOLDER")
    prepare(CelebA, root, [server(page), server(published)], said.append)
    found = CelebA.find(root, Source.REAL, strict=True)
    assert found.verified
    assert found.notes == ()
    said.clear()
    prepare(CelebA, root, [], said.append)
    assert len([line for line in said if "there already" in line]) == 3
    with zipfile.ZipFile(root / "celeba" / IMAGES.packed) as bundle:
        bundle.extractall(root / "celeba")
    (root / "celeba" / IMAGES.packed).unlink()
    assert CelebA.find(root, Source.REAL, strict=True).verified
    prepare(CelebA, root, [], said.append)
    (root / "celeba" / IMAGES.name / "000001.jpg").unlink()
    prepare(CelebA, root, [server(published)], said.append)
    assert (root / "celeba" / f"{IMAGES.name}.unverified").is_dir()
    assert CelebA.find(root, Source.REAL, strict=True).verified


# ---------------------------------------------------------------------------------------------------------------------
# the command line


def test_the_command_line_imports_verifies_and_shows(cli, root):
    assert cli("data", "verify", "celeba").code == 2
    result = cli("data", "import", "celeba", root, "--accept-unverified")
    assert result.code == 0, result.err
    assert cli("data", "where", "celeba").out.strip().endswith("celeba")
    verify = cli("data", "verify", "celeba")
    assert verify.code == 1
    assert verify.out.count("UNVERIFIED, accepted on import") == 4
    sets = [word for key, value in SMALL.items() for word in ("--set", f"dataset.{key}={value}")]
    result = cli("data", "show", "celeba", "--output", "faces.png", "--per-class", "3", *sets)
    assert result.code == 0, result.err
    assert Path("faces.png").stat().st_size > 1000
    assert "celeba" in cli("data", "list").out


def test_the_command_line_verifies_a_zip(cli, published):
    root = published.parent
    published.rename(root / "celeba")
    result = cli("data", "verify", "celeba", "--data-root", root)
    assert result.code == 0, result.out
    assert result.out.count(": verified") == 3
    archive = root / "celeba" / IMAGES.packed
    content = bytearray(archive.read_bytes())
    content[5000] ^= 1
    archive.write_bytes(content)
    result = cli("data", "verify", "celeba", "--data-root", root)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert "Bad CRC" in result.err


# ---------------------------------------------------------------------------------------------------------------------
# real faces


@pytest.fixture
def faces():
    if not (SHARED / "celeba" / "img_align_celeba").is_dir():
        pytest.skip("the real faces are not here (../shared/data/celeba)")
    return SHARED


def test_real_faces(faces):
    found = CelebA.find(faces, Source.AUTO, strict=False)
    assert found.source is Source.REAL
    assert not found.verified
    with pytest.raises(UserError, match=r"dataset\.scale=0\.0389"):
        CelebA(CelebAParameters()).load(found)
    data = CelebA(CelebAParameters(majority=389, minority=8, test=150, validation=50, size=112)).load(found)
    assert np.bincount(data.train.groups).tolist() == [8, 389, 389, 8]
    assert np.bincount(data.test.groups).tolist() == [150] * 4
    assert np.bincount(data.validation.groups).tolist() == [50] * 4
    assert data.train.images.shape[1:] == (3, 137, 112)
    # What smiling changes lies in the mouth box more than elsewhere.
    pixels, groups = data.test.images.astype(float).mean(1), data.test.groups
    change = np.abs(pixels[groups % 2 == 1].mean(0) - pixels[groups % 2 == 0].mean(0))
    top, left, bottom, right = data.evidence.boxes(np.array([0]))[0]
    assert change[top:bottom, left:right].mean() > 1.5 * change.mean()


# ---------------------------------------------------------------------------------------------------------------------
# all that is broken


@pytest.mark.parametrize("form", ["terminal", "json"])
@pytest.mark.parametrize("packed", [False, True])
def test_verify_lists_every_broken_image(cli, tmp_path, form, packed):
    folder = tmp_path / "root" / "celeba"
    write_celeba(folder, packed=packed)
    names = [f"{number:06d}.jpg" for number in (1, 2, 40, 41, 80, 90)]
    said = ("broken image", "is missing", "not an image", "has not the aspect", "an empty file", "is missing")
    broken = {1: jpeg(1)[:500], 2: None, 40: b"\1\2\3", 41: jpeg(1, (89, 89)), 80: b"", 90: None}
    if packed:
        with zipfile.ZipFile(folder / IMAGES.packed) as bundle:
            members = {name: bundle.read(name) for name in bundle.namelist()}
        with zipfile.ZipFile(folder / IMAGES.packed, "w") as bundle:
            for name, content in members.items():
                content = broken.get(int(Path(name).stem), content)
                if content is not None:
                    bundle.writestr(name, content)
        raw = bytearray((folder / IMAGES.packed).read_bytes())
        for number in (50, 60):
            raw[raw.index(members[f"img_align_celeba/{number:06d}.jpg"]) + 300] ^= 1  # its checksum is of what it was
        (folder / IMAGES.packed).write_bytes(raw)
        names[4:4] = ["000050.jpg", "000060.jpg"]
        said = (*said[:4], "Bad CRC", "Bad CRC", *said[4:])
    else:
        for number, content in broken.items():
            (folder / IMAGES.name / f"{number:06d}.jpg").unlink()
            if content is not None:
                (folder / IMAGES.name / f"{number:06d}.jpg").write_bytes(content)
    result = cli("data", "verify", "celeba", "--data-root", tmp_path / "root", "--format", form)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    if form == "json":
        content = json.loads(result.out)
        assert not content["ok"]
        assert [one["file"] for one in content["broken"]] == names
        lines = [one["problem"] for one in content["broken"]]
    else:
        *lines, count = result.out.splitlines()
        assert count == f"{len(names)} files cannot be read, as listed."
    for line, name, what in zip(lines, names, said, strict=True):
        assert name in line
        assert what in line


def test_verify_reads_images_where_none_is_missing(cli, root):
    assert cli("data", "verify", "celeba", "--data-root", root).code == 1  # not the published ones, and readable
    (root / "celeba" / IMAGES.name / "000009.jpg").write_bytes(b"")
    result = cli("data", "verify", "celeba", "--data-root", root)
    assert result.code == 2
    assert "000009.jpg: not an image" in result.err
