"""The report of a run as one HTML file that needs no network. Call `write_report(workdir, images=...)`."""

import html
import os
from collections.abc import Mapping
from pathlib import Path

from selftrain_jax.html.css import style_sheet
from selftrain_jax.report.header import header, headline
from selftrain_jax.report.workdir import Run, read_run
from selftrain_jax.tasks.detection.report import page as box_page
from selftrain_jax.tasks.detection.report.page import ReportImages
from selftrain_jax.tasks.segmentation.report import page as mask_page
from selftrain_jax.tasks.segmentation.report.page import MaskReportImages


def write_report(workdir: Path, *, images: ReportImages | MaskReportImages | None) -> Path:
    """Write `<workdir>/report.html` from what the run has written so far, and return its path.

    The pictures say whether it is a run of boxes or of masks; without any the run's own files do.

    Raises: InputError when the folder does not exist or one of its files is broken.
    """
    path = workdir / "report.html"
    page = render_page(read_run(workdir), images)
    unfinished = path.with_suffix(".html.unfinished")
    unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")  # JSON can hold half characters
    os.replace(unfinished, path)
    return path


def render_page(run: Run, images: ReportImages | MaskReportImages | None) -> str:
    """Compose the whole page."""
    if isinstance(images, MaskReportImages) or (images is None and run.task == "segmentation"):
        run = run._replace(task="segmentation")
        return _frame(run, mask_page.CONTENTS, mask_page.mask_sections(run, images))
    run = run._replace(task="detection")
    return _frame(run, box_page.CONTENTS, box_page.box_sections(run, images))


def _frame(run: Run, contents: Mapping[str, str], sections: list[str]) -> str:
    items = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in contents.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(headline(run))}</title><style>{style_sheet()}</style></head>"
        f'<body><div class="page">{header(run)}<nav aria-label="Contents"><ol>{items}</ol></nav>'
        f"<main>{''.join(sections)}</main></div></body></html>\n"
    )
