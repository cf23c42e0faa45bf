"""selection.html: what to label next, and what the model finds in it; call `write_selection_page`."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from selftrain_jax.html.blocks import Badge, Block, Note, Page, Section, Table
from selftrain_jax.html.galleries import Gallery, Picture
from selftrain_jax.html.render import write_page
from selftrain_jax.run_files.selection import SelectedImage, Selection

MAX_PICTURES = 100
SIDE_PX = 320
MEANINGS = {
    "uncertainty": "how unsure the model is of what it finds",
    "rarity": "predicted classes, weighted by 1 / their share of the human labels",
    "diversity": "distance of the backbone's features to the nearest labelled or chosen image",
    "random": "drawn by select.seed",
}


def write_selection_page(
    path: Path, selection: Selection, pictures: Sequence[Picture], classes: Sequence[Sequence[str]]
) -> Path:
    """Write the page, one file that loads nothing; `classes` are rows of class, human labels, weight, chosen.

    `pictures` are those of the first chosen images.
    """
    settings = selection.settings
    more = len(selection.chosen) - len(pictures)
    blocks: list[Block] = [Gallery("", "", "tiles", [[picture] for picture in pictures])] if pictures else []
    blocks += [Note(f"{more:,} more are in selection.json.")] if more else []
    header = ("class", "human labels", "weight", "chosen images where it counts most")
    sections = [
        Section(
            "images",
            "Images",
            "The first to label first. Boxes below the threshold are dashed, pixels hatched.",
            blocks,
        ),
        Section(
            "choice", "How they were chosen", "", [Table(("what", "value"), _facts(selection), style="words")]
        ),
        Section("classes", "Classes", "", [Table(header, classes)] if classes else []),
    ]
    page = Page(
        origin=f"What to label next, written {datetime.datetime.now():%Y-%m-%d %H:%M}",
        headline=f"{len(selection.chosen):,} of {selection.num_unlabelled:,} images to label next",
        badges=[
            Badge("By", ", ".join(settings.by), "teacher"),
            Badge("Model", settings.model, "teacher"),
            Badge("Labelled so far", f"{selection.num_labelled:,} images", "human"),
        ],
        sections=[section for section in sections if section.blocks],
    )
    return write_page(path, page)


def explain(image: Mapping[str, float], places: Mapping[str, int], num_images: int, rarest_class: str) -> str:
    """Say why an image was chosen, from its scores and its place by each criterion among all."""
    words = []
    for criterion, score in image.items():
        if criterion == "diversity":
            words.append(f"{score:.2f} from the nearest labelled or chosen image")
            continue
        most = f", most by {rarest_class}" if criterion == "rarity" and rarest_class else ""
        words.append(f"{criterion} {score:.3g} (number {places[criterion]:,} of {num_images:,}{most})")
    return "; ".join(words) or "drawn at random"


def caption_of(image: SelectedImage) -> str:
    """Return what stands below an image."""
    return f"{image.rank}. {image.image_id}: {image.reason}"


def _facts(selection: Selection) -> list[tuple[str, str]]:
    settings = selection.settings
    rows = [(criterion, MEANINGS[criterion]) for criterion in settings.by]
    if "diversity" in settings.by and len(settings.by) > 1:
        pool = min(settings.pool_factor * settings.budget, selection.num_unlabelled)
        rows.append(("pool", f"the {pool:,} images that come first by the other criteria"))
    if settings.max_distance >= 0:
        alike = f"{selection.like_labelled:,} of labelled images, {selection.like_chosen:,} of chosen ones"
        rows.append(("near-duplicates left out", alike))
    if selection.num_undecodable:
        rows.append(("images that do not decode", f"{selection.num_undecodable:,}"))
    if selection.radius_before is not None and selection.radius_after is not None:
        rows.append(
            (
                "farthest unlabelled image",
                f"{selection.radius_before:.2f} from a labelled one, {selection.radius_after:.2f} from a "
                "labelled or chosen one",
            )
        )
    return [*rows, ("from", selection.source), ("seed", str(settings.seed)), ("weights", settings.digest)]
