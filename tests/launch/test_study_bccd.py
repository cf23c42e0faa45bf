import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2]))

from launch import study_bccd


def summary(ap, **stages):
    stage = {"ap50": 0.6, "steps": 300}
    found = {name: {**stage, "ap": value} for name, value in {"teacher": ap, **stages}.items()}
    return {**found, "pseudo_labels": {"boxes": 7}, "device": "cpu", "versions": {}}


def test_the_study_has_every_cell_once_and_54_trainings():
    cells = study_bccd.cells()
    assert len(set(cells)) == len(cells) == 30
    assert sum(1 if cell.is_supervised else 3 for cell in cells) == 54


def test_a_supervised_cell_has_no_student_and_no_control():
    line = study_bccd.command(study_bccd.Cell("imagenet", 100, "s4", 1), "bccd", pathlib.Path("runs"))
    assert "--config.unlabeled.kind=none" in line
    assert "--config.student.control=False" in line
    assert any("labels=100,aug=s4,backbone=efficientnet_lite0,init=imagenet,seed=1" in part for part in line)


def test_table_has_mean_and_deviation_of_what_is_finished(tmp_path):
    for seed, ap in enumerate((0.30, 0.34)):
        folder = tmp_path / f"rand-20-s4-{seed}"
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps(summary(ap, control=0.4, student=0.5)))
    rows = study_bccd.read_results(tmp_path)
    assert [row["seed"] for row in rows] == [0, 1]
    table = study_bccd.format_table(rows).splitlines()
    assert table[0] == "| | S4, 10 % | S4, 20 % | S4, 100 % | S1, 20 % | S1, 100 % |"
    assert table[2] == "| rand, supervised |  | 32.0 (2.8), n=2 |  |  |  |"
    assert table[4] == "| rand, self-training |  | 50.0 (0.0), n=2 |  |  |  |"
    study_bccd.draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000
