"""Which of a folder's splits a run means by train, val and test; call `resolve_split`."""

from collections.abc import Sequence

from selftrain_jax.data.layouts.label_set import ordered
from selftrain_jax.data.layouts.tree import canonical
from selftrain_jax.errors import InputError

SPLIT_REMEDY = "--config.data.split=0.7,0.1,0.2"
_STANDS_IN = {"val": "test", "test": "val"}  # with one of them alone, it is measured on for both


def resolve_split(asked: str, found: Sequence[str], where: str, split: str | None) -> str:
    """Return the split on the disk that a run's name stands for.

    It is the one of that name, or the one that tools call otherwise (valid, val2017). Without a test split
    val stands in for it, and test for val. A data set of one split alone opens whole under any name where
    `split` (config.data.split) says how to divide it; `split` None is of images to which no split matters.

    Raises:
        InputError: there is no such split; with what to do.
    """
    if len(found) == 1 and (split is None or split.strip()):
        return found[0]
    if asked in found and len(found) > 1:
        return asked
    if len(found) == 1:
        what = f"only the split {found[0]!r}" if found[0] else "no splits"
        raise InputError(
            f"{where}: has {what}, so that there is no val and no test. Divide it by {SPLIT_REMEDY} (shares "
            "of train, val and test)."
        )
    wanted = canonical(asked) or asked
    for choice in (wanted, _STANDS_IN.get(wanted)):
        same = [name for name in ordered(found) if choice and canonical(name) == choice]
        if len(same) == 1:
            return same[0]
        if same:
            key = {"train": "train", "val": "val"}.get(wanted, "test")
            raise InputError(
                f"{where}: {asked!r} may be {' or '.join(same)}. Name one: --config.data.{key}={same[0]}."
            )
    raise InputError(
        f"{where}: there is no split {asked!r}; splits found: {', '.join(ordered(found))}. Name one of them "
        "(config.data.train, config.data.val, config.data.test)."
    )


def describe_splits(chosen: dict[str, str], sizes: dict[str, int]) -> str:
    """Say which splits there are with their images, and what stands for what.

    `chosen` is the split on the disk for each name that the run asks for, `sizes` the images of each.
    """
    words = []
    for name in ordered(list(sizes)):
        roles = [asked for asked, found in chosen.items() if found == name and asked != name]
        is_plain = any(asked == name for asked in chosen)
        says = f" ({' and '.join(roles)} of this run)" if roles and not is_plain and name else ""
        unused = "" if name in chosen.values() or not chosen else " (not used)"
        words.append(f"{name or 'no splits:'} {sizes[name]:,} images{says}{unused}")
    stand_ins = [
        f"no {asked} split: {found} is measured on in its place"
        for asked, found in chosen.items()
        if len(sizes) > 1 and canonical(found) != canonical(asked) and canonical(asked)
    ]
    return "; ".join([", ".join(words), *stand_ins])
