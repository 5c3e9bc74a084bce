"""Texts between marks on a page: what is measured is pasted there, the words around it are people's."""

import re


def pasted(page: str, name: str, text: str) -> str | None:
    """The page with a text between the marks of a name; None where the page has no such marks."""
    marks = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not marks.search(page):
        return None
    return marks.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page)
