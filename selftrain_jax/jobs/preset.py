"""What a config chose by the device, what it takes, and whether there is room; call `announce_preset`."""

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.plan import plan_run
from selftrain_jax.jobs.plan_costs import describe_time, format_bytes, largest_memory, state_shapes
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import LABELS
from selftrain_jax.plan.memory import ESTIMATE_FACTOR, free_memory


def announce_preset(run: Run) -> None:
    """Print a preset's values, memory and time before anything is trained; nothing without a preset.

    Raises:
        InputError: the device has less free memory than a training step needs by the lowest estimate.
    """
    if run.config.preset.name:
        hosts.run_on_host0(lambda: _announce(run))


def _announce(run: Run) -> None:
    planned = [stage for stage in plan_run(run, Options()) if stage.left]
    trained = [stage.stage for stage in planned if stage.stage.kind != LABELS]
    if not trained:
        return
    config = run.config
    print(
        f"preset {config.preset.name}: {config.image.size_px} px, {config.model.backbone} from "
        f"{config.teacher.init}, {config.augment.policy}; set values by hand after the config "
        "(FILE.py:size=256,steps=3000) or by --config.KEY=VALUE",
        flush=True,
    )
    largest, memory = largest_memory(run, state_shapes(run), trained)
    free = free_memory(run.experiment.mesh.devices.flat[0])
    check_memory(memory.total, free, largest.folder)
    room = "" if free is None else f"; {format_bytes(free)} free"
    print(f"memory: about {format_bytes(memory.total)} for the {largest.folder}'s step{room}", flush=True)
    print("\n".join(describe_time(run, planned)), flush=True)


def check_memory(needed: int, free: int | None, stage: str) -> None:
    """Refuse a step that does not fit even if it needs as little as the estimate allows.

    Raises:
        InputError: with what is needed, what is free, and what to lower.
    """
    if free is not None and needed / ESTIMATE_FACTOR > free:
        raise InputError(
            f"the {stage}'s step needs about {format_bytes(needed)} of memory, within a factor of "
            f"{ESTIMATE_FACTOR:g}, and {format_bytes(free)} are free; make the input smaller (size=96 after "
            "the config), or lower --config.student.batch_size and --config.teacher.batch_size"
        )
