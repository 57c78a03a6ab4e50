"""What `mkdocs build` asks: a page that is alone in its tab has no list of pages beside it, which leaves room for code."""

from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Leave the text as it is, and hide the list."""
    if page.parent is None:
        page.meta.setdefault("hide", ["navigation"])
    return markdown
