"""What the student's batches of masks were like: pixels that count, and pixels that are right."""

from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_step_axes, styled, thin
from selftrain_jax.report.workdir import Run, series


@styled()
def pixel_accuracy_curve(run: Run) -> list[Plot]:
    """Plot how often the student agrees with its training labels, human and pseudo."""
    caption = (
        "Agreement with the labels in training. Pseudo labels are the easier to agree with: what the teacher "
    )
    caption += "was unsure of is left out."
    return _by_source(run, "train/pixel_accuracy", "share of pixels", "Pixel accuracy in training", caption)


@styled()
def valid_pixels_curve(run: Run) -> list[Plot]:
    """Plot the share of the student's input pixels that count, human and pseudo."""
    caption = "Padding and ignored pixels do not count. "
    caption += "Pseudo far below human: the threshold leaves little to learn."
    return _by_source(run, "train/valid_pixels", "share of pixels", "Pixels that count", caption)


def _by_source(run: Run, key: str, y_label: str, title: str, caption: str) -> list[Plot]:
    axes, ends = new_step_axes("steps of the student", y_label), []
    for source in ("human", "pseudo"):
        steps, values = series(run.stages["student"], f"{key}_{source}")
        if len(steps):
            steps, values = thin(steps, values)
            color, style = ROLE_COLORS[source], LINE_STYLES[source]
            axes.plot(steps, values, color=color, linestyle=style, label=f"{source} labels")
            ends.append(f"{source} {values[-1]:.3g} at the end")
    if not ends:
        return []
    axes.set_ylim(0, 1.02)
    return [finish(axes, title, caption, f"{title} of the student: {', '.join(ends)}.")]
