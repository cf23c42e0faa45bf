"""The JSON files of a run's folder as frozen dataclasses: `from_json` checks a file, `to_json` writes it.

The types of a class's fields say what is checked; `fields` has them and turns pydantic's errors into ours.

| file | class | module |
|---|---|---|
| `pseudo_labels/manifest.json` | `Manifest` | `manifest` |
| `pseudo_labels/quality.json` | `Quality` | `quality` |
| `teacher/calibration.json` | `TeacherCalibration` | `calibration` |
| `STAGE/evaluation.json`, `STAGE/evaluation_scales.json` | `Evaluation` | `evaluation` |
| `summary.json` | `Summary` | `summary` |
| `rounds.json` | `Rounds` | `rounds` |
| `search.json` | `Search` | `search` |
| `card.json` of imported weights | `ModelCard` | `model_card` |
| `STAGE/metrics.jsonl` | rows | `metrics` |

What only one task writes into them is in `tasks/<task>/run_files.py`.
"""
