"""Instructions of one's own, in Markdown, in place of the guide's words. Nothing in them is run or fetched."""

from pathlib import Path

from crayon_bench import UserError

LARGEST = 64 << 10
"""Bytes of a file."""


def read_instructions(file: Path) -> str:
    """Return the text of a Markdown *file* as HTML that is safe to show. Raises UserError.

    HTML in it is shown as text. Images are left out, because the page loads nothing from elsewhere; links to anything
    but http, https and mailto stay text.
    """
    from markdown_it import MarkdownIt

    try:
        if file.stat().st_size > LARGEST:
            raise UserError(f"--instructions {file}: larger than {LARGEST >> 10} KiB")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"--instructions {file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"--instructions {file}: not a text in UTF-8", "save it as Markdown in UTF-8") from None
    if not text.strip():
        raise UserError(f"--instructions {file}: there is nothing in it")
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
    markdown.validateLink = lambda url: url.lower().startswith(("http://", "https://", "mailto:"))  # type: ignore[method-assign]
    return str(markdown.render(text))
