"""What both APIs of the fake cloud share: its state, and the workers as folders here."""

import json
import os
import pathlib
import signal
import sys

CLOUD = pathlib.Path(os.environ["FAKE_CLOUD"])


def refuse(message, code=1):
    print(f"ERROR: (gcloud.compute) {message}", file=sys.stderr)
    sys.exit(code)


def need(flags, *names):
    for name in names:
        if not flags.get(name):
            refuse(f"argument --{name}: Must be specified")


def save(state):
    if json.loads((CLOUD / "state.json").read_text()) != state:  # ssh to several workers at once only reads
        (CLOUD / "state.json").write_text(json.dumps(state))


def begin_life(state):
    state |= {"exists": True, "life": state["life"] + 1, "looks": 0, "now": "ACCEPTED"}
    for home in homes(state):
        if home.exists():
            home.rename(CLOUD / f"gone-{state['life']}-{home.name}")
        home.mkdir()


def end_life(state):
    kill_all(state)
    state |= {"exists": False, "now": "NONE"}


def live_on(state):
    """Go to the next state of this life."""
    life = json.loads((CLOUD / "lives.json").read_text())[state["life"]]
    state["now"] = life[min(state["looks"], len(life) - 1)]
    state["looks"] += 1
    if state["now"] != "ACTIVE":
        kill_all(state)
    state["exists"] = state["now"] != "NONE"
    save(state)
    if state["now"] == "OFFLINE":
        refuse("Could not reach the server")


def kill_all(state):
    for home in homes(state):
        note = home / "selftrain_jax_run/pid"
        if note.exists() and not note.with_name("exit_code").exists():
            os.killpg(int(note.read_text()), signal.SIGKILL)
            note.unlink()


def homes(state):
    return [CLOUD / f"home-{worker}" for worker in range(state["workers"])]


def start_on(worker, host, command):
    import subprocess  # slow to import, and most calls do without

    home = CLOUD / f"home-{worker}"
    environment = os.environ | {"HOME": str(home), "WORKER": str(worker), "FAKE_HOST": host}
    return subprocess.Popen(["bash", "-c", command], cwd=home, env=environment)


def copy_file(source, target, host, worker):
    """Copy where one of the paths is on `host`."""
    home = CLOUD / f"home-{worker}"
    source, target = (
        home / path.partition(":")[2] if path.startswith(f"{host}:") else pathlib.Path(path)
        for path in (source, target)
    )
    (target / source.name if target.is_dir() else target).write_bytes(source.read_bytes())
