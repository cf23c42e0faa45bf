from html.parser import HTMLParser

from selftrain_jax.html.render import environment

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects what a test asks about, and fails where tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.headings = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h1":
            self.headings.append(data)


def render_section(section):
    return environment().get_template("blocks.html.j2").module.section(section)


def render_blocks(blocks):
    return "".join(map(environment().get_template("blocks.html.j2").module.block, blocks))
