import json
import math

from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics
from selftrain_jax.train.metric_log import MetricLog, progress_line


def test_what_is_written_is_read_and_nan_is_null(tmp_path):
    with MetricLog(tmp_path) as log:
        log.write(1, {"train/loss": 0.1, "eval/ap": math.nan})
        log.write(2, {"train/loss": math.inf})
        assert len(read_metrics(tmp_path / METRICS_FILE)) == 2  # flushed while open
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=lambda name: name) for line in lines] == [
        {"step": 1, "train/loss": 0.1, "eval/ap": None},
        {"step": 2, "train/loss": None},
    ]


def test_resuming_drops_later_lines_and_keeps_the_step_itself(tmp_path):
    with MetricLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(step, {"train/loss": step})
        log.write(2, {"eval/ap": 0.5})
    with MetricLog(tmp_path, resume_step=2) as log:
        log.write(3, {"train/loss": 30})
    assert read_metrics(tmp_path / METRICS_FILE) == [
        {"step": 1, "train/loss": 1.0},
        {"step": 2, "train/loss": 2.0},
        {"step": 2, "eval/ap": 0.5},
        {"step": 3, "train/loss": 30.0},
    ]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    whole = '{"step": 1, "train/loss": 2.0}\n'
    (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 2, "train/lo')
    assert read_metrics(tmp_path / METRICS_FILE) == [{"step": 1, "train/loss": 2.0}]
    with MetricLog(tmp_path, resume_step=5) as log:
        log.write(6, {"train/loss": 1})
    assert [row["step"] for row in read_metrics(tmp_path / METRICS_FILE)] == [1, 6]


def test_resuming_drops_lines_that_a_disk_has_damaged(tmp_path):
    path = tmp_path / METRICS_FILE
    path.write_text('{"step": 1, "a": 2}\n\0\0\0\n{"step": 2, "a": 3}\n')
    with MetricLog(tmp_path, resume_step=2):
        pass
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def test_a_fresh_run_starts_an_empty_log(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n')
    with MetricLog(tmp_path, resume_step=0):
        pass
    assert read_metrics(tmp_path / METRICS_FILE) == []
    assert read_metrics(tmp_path / "nowhere" / METRICS_FILE) == []


def test_progress_line_says_how_far_and_how_long():
    metrics = {
        "train/loss": 0.53217,
        "speed/images_per_second": 12.34,
        "speed/data_wait_share": 0.042,
        "speed/eta_secs": 3725.4,
    }
    line = progress_line("student", 9000, 1200, metrics)
    assert line == "student step 1200/9000  loss 0.5322  12.3 images/s  data wait 4%  left 1:02:05"
    more = progress_line("student", 9000, 1200, {**metrics, "train/top1": 0.25}, ("train/top1",))
    assert more == line.replace("0.5322  ", "0.5322  top1 0.25  ")
