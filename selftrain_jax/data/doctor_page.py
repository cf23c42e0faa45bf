"""The data doctor's page: one HTML file that loads nothing. All text from the data set is escaped."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from selftrain_jax.data.diagnosis import Diagnosis, Picture, SplitSummary, Verdict

LISTED = 5  # image sizes of a split
MAX_ROWS = 200  # of a table; doctor.json has all


def doctor_page(diagnosis: Diagnosis) -> str:
    """Lay a diagnosis out, verdicts first; sections without content are left out."""
    title = "This data has errors" if diagnosis.has_errors else "This data can be trained on"
    problems = [(problem.kind, problem.where, problem.message) for problem in diagnosis.problems]
    unreadable = [(split.split, message) for split in diagnosis.splits for message in split.unreadable]
    sections = [
        _section("Verdicts", "".join(map(_verdict, diagnosis.verdicts))),
        _section("Splits", _splits_table(diagnosis.splits)),
        _section(
            "Boxes by class", _classes_table([split for split in diagnosis.splits if split.is_labelled])
        ),
        _section("Problem boxes", _gallery(diagnosis.problem_pictures)),
        _section("Problems", _table(("kind", "where", "what"), [_cells(row) for row in problems])),
        _section("Images that do not decode", _table(("split", "what"), [_cells(row) for row in unreadable])),
        _section("Duplicates", _gallery(diagnosis.duplicate_pictures)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Data doctor</title><style>{STYLE}</style></head>"
        f"<body><p>Data doctor</p><h1>{title}</h1>{''.join(sections)}</body></html>\n"
    )


def _section(title: str, body_html: str) -> str:
    return f"<section><h2>{title}</h2>{body_html}</section>" if body_html else ""


def _verdict(verdict: Verdict) -> str:
    remedy = f"<small>{html.escape(verdict.remedy)}</small>" if verdict.remedy else ""
    text = f"<p>{html.escape(verdict.finding)}{remedy}</p>"
    return f'<div class="{verdict.level}"><b>{verdict.level}</b>{text}</div>'


def _splits_table(splits: Sequence[SplitSummary]) -> str:
    return _table(
        ("", *(split.split for split in splits)),
        [
            _cells(("source", *(split.source for split in splits))),
            _cells(("images", *(f"{split.num_images:,}" for split in splits))),
            _cells(("examined", *(f"{split.num_examined:,}" for split in splits))),
            _cells(("do not decode", *(f"{len(split.unreadable):,}" for split in splits))),
            _cells(("width x height: images", *(_first_of(split.image_sizes) for split in splits))),
            _cells(("boxes", *(_if_labelled(split, split.num_boxes) for split in splits))),
            _cells(("crowd or difficult", *(_if_labelled(split, split.num_crowd) for split in splits))),
            _cells(
                (
                    "images without boxes",
                    *(_if_labelled(split, split.num_images_without_boxes) for split in splits),
                )
            ),
            _cells(("boxes in an image", *(_boxes_in_an_image(split.boxes_per_image) for split in splits))),
            _cells(("objects by COCO's sizes", *(_first_of(split.object_areas) for split in splits))),
            _cells(("side of boxes, px", *(_sides(split.box_side_px) for split in splits))),
        ],
    )


def _classes_table(splits: Sequence[SplitSummary]) -> str:
    names = list(dict.fromkeys(name for split in splits for name in split.class_counts))
    most = [max(split.class_counts.values(), default=0) for split in splits]
    rows = [
        _cells((name,))
        + "".join(_bar(split.class_counts.get(name, 0), top) for split, top in zip(splits, most, strict=True))
        for name in names
    ]
    return _table(("class", *(split.split for split in splits)), rows)


def _table(header: Iterable[str], rows_html: Sequence[str]) -> str:
    """Make a table of rows that are HTML already; nothing without rows."""
    if not rows_html:
        return ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{row}</tr>" for row in rows_html[:MAX_ROWS])
    left = len(rows_html) - MAX_ROWS
    more = f"<p>{left:,} more are in doctor.json.</p>" if left > 0 else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{html.escape(text)}</td>" for text in texts)


def _bar(count: int, most: int) -> str:
    share = 100 * count / most if most else 0
    return f'<td class="bar{" none" if not count else ""}" style="--share:{share:.1f}%">{count:,}</td>'


def _if_labelled(split: SplitSummary, count: int) -> str:
    return f"{count:,}" if split.is_labelled else "no labels"


def _first_of(counts: Mapping[str, int]) -> str:
    left = len(counts) - LISTED
    shown = [f"{key}: {count:,}" for key, count in list(counts.items())[:LISTED]]
    return ", ".join(shown + ([f"{left:,} more sizes"] if left > 0 else []))


def _boxes_in_an_image(boxes_per_image: Mapping[int, int]) -> str:
    num_images = sum(boxes_per_image.values())
    if not num_images:
        return ""
    mean = sum(boxes * images for boxes, images in boxes_per_image.items()) / num_images
    return f"{min(boxes_per_image)} to {max(boxes_per_image)}, {mean:.1f} on average"


def _sides(quantiles: Sequence[float]) -> str:
    if not quantiles:
        return ""
    least, low, middle, high, greatest = quantiles
    return f"{least:g} to {greatest:g}, half of them {low:g} to {high:g}, median {middle:g}"


def _gallery(pictures: Sequence[Picture]) -> str:
    return f'<div class="gallery">{"".join(map(_figure, pictures))}</div>' if pictures else ""


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    images = "".join(
        f'<img alt="{caption}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
        for jpeg in picture.jpegs
    )
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


STYLE = """
:root{color-scheme:light dark;--ink:#1b2229;--muted:#5b6670;--paper:#fff;--line:#dfe4e8;--fill:#cfe3f1;
--error:#b3261e;--warning:#9a6200;--ok:#2b7a3d}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecef;--muted:#9aa5ae;--paper:#12171c;--line:#303942;
--fill:#24455c;--error:#ff8a80;--warning:#ffc46b;--ok:#7fd491}}
*{box-sizing:border-box}
body{max-width:72rem;margin:0 auto;padding:2rem 1.2rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
body>p{margin:0;color:var(--muted)}
h1{margin:0 0 1rem;font-size:2rem;line-height:1.2}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
section>div>b{flex:0 0 5.2rem;font-size:.85rem;line-height:1.5rem}
.error,.warning,.ok{display:flex;gap:.6rem;padding:.35rem 0;border-bottom:1px solid var(--line)}
.error>b{color:var(--error)}.warning>b{color:var(--warning)}.ok>b{color:var(--ok)}
.error p,.warning p,.ok p{margin:0;overflow-wrap:anywhere}
small{display:block;color:var(--muted);font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere;min-width:8rem}
td:first-child{white-space:nowrap;min-width:0}
th{color:var(--muted);font-weight:500}
td.bar{min-width:9rem;padding-left:.4rem;
background:linear-gradient(90deg,var(--fill) var(--share),transparent 0) 0/calc(100% - .9rem) 100% no-repeat}
td.none{color:var(--warning);font-weight:700}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1.2rem}
figure{margin:0;display:flex;flex-wrap:wrap;gap:.3rem;align-content:start}
figure img{max-width:calc(50% - .15rem);height:auto;border-radius:3px}
figure img:only-of-type{max-width:100%}
figcaption{flex-basis:100%;font-size:.82rem;color:var(--muted);overflow-wrap:anywhere}
"""
