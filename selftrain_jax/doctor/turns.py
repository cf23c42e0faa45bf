"""Find images whose EXIF orientation turns them in viewers, but not here; call `judge_turns`.

Images are read as their pixels are stored (`source.decode_image`). Where a turn changes the size, the size
that the labels state tells what they were drawn on; a half turn, a mirror image or a square leave it open.
"""

from collections.abc import Iterator, Mapping

from selftrain_jax.doctor.duplicates import UPRIGHT, ImageScan, is_unlabelled
from selftrain_jax.doctor.examine import SplitScan
from selftrain_jax.html.blocks import Finding
from selftrain_jax.text import shorten_list

SWAPPING = (5, 6, 7, 8)  # height and width change places
_TURN = "turn the pixels and drop the tag with ImageMagick's mogrify -auto-orient FILES"


def judge_turns(scans: Mapping[str, SplitScan]) -> Iterator[Finding]:
    """Count the turned images of each split and say what they mean for the labels."""
    for split, scan in scans.items():
        turned = [image for image in scan.images if image.orientation != UPRIGHT]
        if not turned:
            continue
        names = shorten_list([f"{image.image_id} ({image.orientation})" for image in turned], 3)
        count = f"{split}: {len(turned):,} of {len(scan.images):,} images carry an EXIF turn, as {names}"
        if is_unlabelled(split):
            lying = "they are read as stored, on their side or head"
            yield Finding("warning", f"{count}; {lying}", f"To see them as viewers do, {_TURN}.")
            continue
        if any(not keeps_size(image) for image in turned):
            # Of these the stated size is that of the stored pixels, or the reader would have refused them.
            fits = "the stated sizes are those of the stored pixels, so the labels were drawn on them"
            yield Finding("ok", f"{count}; {fits}", "")
            continue
        yield Finding(
            "warning",
            f"{count}, and keep their size: it does not tell whether labels were drawn on the pixels as "
            "stored, which are read, or on what viewers show",
            f"Look at the pictures on the page. If labels are off, {_TURN}: then they fit.",
        )


def keeps_size(image: ImageScan) -> bool:
    """Say whether an image's turn leaves height and width as they are."""
    return image.orientation not in SWAPPING or image.size_px[0] == image.size_px[1]
