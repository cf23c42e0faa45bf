"""The parts of the data doctor's pages: sections, tables, bars, pictures. All text is escaped here.

Call `page` with the `section`s; a page is one HTML file that loads nothing.
"""

import base64
import html
from collections.abc import Iterable, Sequence

from selftrain_jax.doctor.diagnosis import Diagnosis, Picture

MAX_ROWS = 200  # of a table; doctor.json has all


def page(diagnosis: Diagnosis, sections_html: Iterable[str]) -> str:
    """Say whether to go on, list the verdicts, then the sections given, then what is wrong."""
    title = "This data has errors" if diagnosis.has_errors else "This data can be trained on"
    body = "".join([_verdicts(diagnosis), *sections_html, *_faults(diagnosis)])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Data doctor</title><style>{STYLE}</style></head>"
        f"<body><p>Data doctor</p><h1>{title}</h1>{body}</body></html>\n"
    )


def section(title: str, body_html: str) -> str:
    """Give a part of the page its title; nothing without content."""
    return f"<section><h2>{title}</h2>{body_html}</section>" if body_html else ""


def table(header: Iterable[str], rows_html: Sequence[str]) -> str:
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


def cells(texts: Iterable[str]) -> str:
    """Make the cells of a row."""
    return "".join(f"<td>{html.escape(text)}</td>" for text in texts)


def bar(count: int, most: int, text: str = "") -> str:
    """Make a cell whose ground is a bar, as long as the count beside the greatest one; it says the count."""
    share = 100 * count / most if most else 0
    none = "" if count else " none"
    return f'<td class="bar{none}" style="--share:{share:.1f}%">{html.escape(text or f"{count:,}")}</td>'


def gallery(pictures: Sequence[Picture]) -> str:
    """Show pictures with their captions; nothing without pictures."""
    return f'<div class="gallery">{"".join(map(_figure, pictures))}</div>' if pictures else ""


def _verdicts(diagnosis: Diagnosis) -> str:
    rows = []
    for level, finding, remedy in diagnosis.verdicts:
        small = f"<small>{html.escape(remedy)}</small>" if remedy else ""
        rows.append(f'<div class="{level}"><b>{level}</b><p>{html.escape(finding)}{small}</p></div>')
    return section("Verdicts", "".join(rows))


def _faults(diagnosis: Diagnosis) -> list[str]:
    """List the problems, the images that do not decode, and the images that are there twice."""
    problems = [(problem.kind, problem.where, problem.message) for problem in diagnosis.problems]
    unreadable = [(split.split, message) for split in diagnosis.splits for message in split.unreadable]
    return [
        section("Problems", table(("kind", "where", "what"), [cells(row) for row in problems])),
        section("Images that do not decode", table(("split", "what"), [cells(row) for row in unreadable])),
        section("Duplicates", gallery(diagnosis.duplicate_pictures)),
    ]


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
