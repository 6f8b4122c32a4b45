"""What a file is that is no image: told by how it begins."""

_BEGINNINGS = (
    (b"%PDF-", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "HDF5"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"\0\0\x01\0", "an icon"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself (git lfs pull)"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "a raw photograph (CR3)", b"qt  ": "a film", b"isom": "a film"}
_HEIF = (b"hei", b"hev", b"mif1", b"msf1")


_NO_PICTURES = ("nothing but zeros", "an empty file", "a web page", "XML", "packed", "a zip", "a pointer")


def is_picture(kind: str) -> bool:
    """Return whether what :func:`kind_of` named may show something that can be saved in another format."""
    return not kind.startswith(_NO_PICTURES)


def kind_of(content: bytes) -> str:
    """Return what a file with this *content* is, in words; ``""`` if it does not look like anything known."""
    if not content.strip(b"\0"):
        return "nothing but zeros" if content else "an empty file"
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        return "HEIC" if brand.startswith(_HEIF) else _BRANDS.get(brand, "a film" if brand.startswith(b"mp4") else "")
    if content[128:132] == b"DICM":
        return "DICOM"
    if content[:1] == b"P" and content[1:2] in b"1234567" and content[2:3].isspace():
        return "a portable pixmap (PBM, PGM, PPM)"
    text = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    known = next((what for begin, what in _BEGINNINGS if text.lower().startswith(begin.lower())), "")
    if text.startswith((b"<?xml", b"<!--")) or (not known and text.startswith(b"<")):
        return "an SVG drawing" if b"<svg" in text else "XML"
    return known
