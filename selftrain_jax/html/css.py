"""The look of the page: one style sheet, light and dark, from 320 px up."""

from selftrain_jax.html.plots import DARK_COLORS, ROLE_COLORS


def style_sheet() -> str:
    """Give the CSS with the colours of the plots as variables."""
    light, dark = (
        ";".join(f"--{role}:{color}" for role, color in colors.items())
        for colors in (ROLE_COLORS, DARK_COLORS)
    )
    return (
        f":root{{color-scheme:light dark;{light};--paper:#fff;--sheet:#f5f7f9}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark};--paper:#12171c;--sheet:#1a2128}}}}" + RULES
    )


RULES = """
:root{--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans)}
.page{display:grid;grid-template-columns:11.5rem minmax(0,1fr);gap:0 2.5rem;max-width:82rem;
margin:0 auto;padding:0 2rem 4rem}
header{grid-column:1/-1;padding:3rem 0 1rem}
header p{margin:0;color:var(--muted)}
h1{font-size:clamp(1.6rem,1rem + 2.6vw,2.6rem);line-height:1.15;letter-spacing:-.02em;margin:.25rem 0 1.25rem;
text-wrap:balance;font-variant-numeric:tabular-nums}
h2{font-size:1.45rem;letter-spacing:-.01em;line-height:1.25;margin:0 0 .25rem}
h3{font-size:1.05rem;margin:2rem 0 .25rem}
h4{font-size:.92rem;margin:0 0 .35rem;overflow-wrap:anywhere}
.stages{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;
list-style:none;margin:0;padding:0}
.stages li{background:var(--sheet);
border-top:3px solid var(--rule);padding:.6rem .9rem .7rem;border-radius:0 0 6px 6px}
.stages b{display:block;font-size:.82rem;font-weight:500;color:var(--muted)}
.stages span{font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.stages li.empty span{font-weight:400;color:var(--muted)}
nav{position:sticky;top:0;align-self:start;padding-top:1.9rem;max-height:100vh;overflow:auto}
nav ol{list-style:none;margin:0;padding:0;border-left:2px solid var(--rule)}
nav a{display:block;padding:.22rem 0 .22rem .9rem;color:var(--muted);text-decoration:none;font-size:.92rem}
nav a:hover,nav a:focus-visible{color:var(--ink);box-shadow:-2px 0 var(--ink)}
section{padding:1.5rem 0 1.75rem;border-bottom:1px solid var(--rule)}
section:last-child{border-bottom:0}
.lead,.hint,figcaption,.missing{color:var(--muted);max-width:68ch;overflow-wrap:anywhere}
.lead{margin:0 0 1.1rem}
.hint{margin:.1rem 0 .8rem;font-size:.92rem}
.missing{font-style:italic}
.warning{border-left:3px solid var(--pseudo);padding-left:.8rem;max-width:68ch}
figure{margin:0;min-width:0}
figcaption{font-size:.84rem;line-height:1.4;margin-top:.3rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,23rem),1fr));
gap:1.9rem 2.2rem;margin:1.1rem 0}
.plots.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,14rem),1fr));gap:1.4rem 1.6rem}
.plots.single{grid-template-columns:minmax(0,34rem)}
.plots.wide{grid-template-columns:minmax(0,48rem)}
svg.plot{display:block;width:100%;height:auto}
svg.plot *{stroke-linejoin:round;stroke-linecap:butt}
img{max-width:100%;height:auto;display:block;border-radius:4px;background:var(--sheet)}
img.sheet{background:#fff;width:100%}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;list-style:none;margin:.6rem 0;padding:0;font-size:.9rem}
.legend span{display:inline-block;width:1.6rem;margin-right:.5rem;vertical-align:middle}
.swatches span{width:1.1rem;height:1.1rem;border-radius:3px;box-shadow:inset 0 0 0 1px var(--rule)}
.gallery{display:grid;gap:1.3rem 1.1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
.gallery.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr))}
.gallery.rows{grid-template-columns:minmax(0,60rem)}
.gallery.rows.wide{grid-template-columns:minmax(0,1fr)}
.row{display:grid;gap:.5rem;align-items:start}
.row.of2{grid-template-columns:1fr 1fr}
.row.of3{grid-template-columns:repeat(3,1fr)}
.row.of4{grid-template-columns:repeat(4,1fr)}
.row.of5{grid-template-columns:repeat(5,1fr)}
.gallery img{width:100%}
.scroll{overflow-x:auto;margin:.4rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.34rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
thead th{color:var(--muted);font-weight:500;font-size:.84rem;vertical-align:bottom}
th[scope=row]{text-align:left;font-weight:500;padding-left:0}
tr.strong td,tr.strong th{font-weight:650;background:var(--sheet)}
tr.strong th[scope=row]{padding-left:.4rem}
details{margin:.9rem 0;background:var(--sheet);border-radius:6px;padding:.1rem 1rem}
summary{cursor:pointer;padding:.55rem 0;font-weight:500}
pre{overflow:auto;max-height:32rem;
background:var(--sheet);border-radius:6px;padding:.8rem 1rem;margin:.6rem 0;
font:13px/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (max-width:62rem){
.page{display:block;padding:0 1.1rem 3rem}
header{padding-top:1.6rem}
nav{position:static;padding:1.2rem 0 0;max-height:none}
nav ol{border-left:0;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
nav a{padding:.2rem 0}
nav a:hover,nav a:focus-visible{box-shadow:none}
}
@media (max-width:36rem){.plots.small{grid-template-columns:1fr 1fr;gap:1.2rem .8rem}
.rows .row{grid-template-columns:1fr}.rows .row.of4,.rows .row.of5{grid-template-columns:1fr 1fr}}
@media print{nav{display:none}.page{display:block}details{break-inside:avoid}figure{break-inside:avoid}}
"""
