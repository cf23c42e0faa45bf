"""Find class names that differ only by case or spaces: two classes for one kind of object."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from selftrain_jax.data.source import Source
from selftrain_jax.html.blocks import Finding

_SEPARATORS = re.compile(r"[\s_-]+")


def judge_names(sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Warn of names that are nearly the same, within a split or between splits."""
    of_splits = {
        split: [category.name for category in source.categories] for split, source in sources.items()
    }
    said = set[str]()
    for split, names in of_splits.items():
        for group in nearly_equal(names):
            said.update(group)
            listed = " and ".join(map(repr, group))
            finding = f"{split}: the classes {listed} differ only by case, spaces or underscores"
            remedy = "They are separate classes now; if they are one, give it one name in the label files."
            yield Finding("warning", finding, remedy)
    everywhere = dict.fromkeys(name for names in of_splits.values() for name in names)
    for group in nearly_equal(everywhere):
        if not said.issuperset(group):
            where = "; ".join(
                f"{name!r} in {', '.join(split for split, names in of_splits.items() if name in names)}"
                for name in group
            )
            finding = f"class names differ between splits only by case, spaces or underscores: {where}"
            yield Finding("warning", finding, "Give the class one name in all splits' label files.")


def nearly_equal(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Group names that are the same but for case, spaces, hyphens and underscores."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_SEPARATORS.sub("", name).casefold()].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]
