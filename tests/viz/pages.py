"""What a browser would find on a page: tags, their attributes, texts, and the rows of tables."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}
LINKS = ("src", "href", "srcset", "action", "data")


class Page(HTMLParser):
    """A page that was read; a tag that does not fit, or an attribute given twice, is an error.

    Attributes:
        tags: each with its attributes, in order.
        texts: each with the tag that it stands in.
        rows: of all tables, the texts of their cells.
    """

    def __init__(self, source: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        self.texts.append((tag, data))
        if tag in ("td", "th"):
            self.rows[-1][-1] += data

    def links(self) -> list[str]:
        """Everything that points somewhere."""
        return [a[name] or "" for _, a in self.tags for name in LINKS if name in a]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each tag of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def within(self, tag: str) -> list[str]:
        """The texts that stand in tags of a name."""
        return [text for name, text in self.texts if name == tag]
