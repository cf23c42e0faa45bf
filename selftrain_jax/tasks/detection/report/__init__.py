"""The detection part of report.html: `gather_images` opens its pictures, `report_sections` fills it."""

from selftrain_jax.tasks.detection.report.sections import gather_images, report_sections

__all__ = ["gather_images", "report_sections"]
