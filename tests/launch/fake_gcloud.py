"""A stand-in for gcloud: plays a scripted life of a TPU slice, runs remote commands here, notes every call.

In the folder $FAKE_CLOUD: `lives.json` (for each creation the states that successive looks find; the last
one stays), `state.json`, `calls.jsonl`, `home-0`, `home-1`, ... (the workers' homes, emptied by a creation).
State `ACTIVE/PREEMPTED` is a queued resource that is ACTIVE while its machines are gone; `OFFLINE` no answer.
"""

import json
import os
import pathlib
import signal
import sys

CLOUD = pathlib.Path(os.environ["FAKE_CLOUD"])
STATE = CLOUD / "state.json"
# From gcloud's reference of 528.0.0: the flags that the scripts may use.
FLAGS = {
    ("queued-resources", "create"): "node-id accelerator-type runtime-version spot network scopes",
    ("queued-resources", "describe"): "format",
    ("queued-resources", "delete"): "force quiet",
    ("tpu-vm", "describe"): "format",
    ("tpu-vm", "ssh"): "worker quiet command",
    ("tpu-vm", "scp"): "worker quiet",
}


def main(argv):
    with (CLOUD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    if argv[:2] != ["compute", "tpus"] or tuple(argv[2:4]) not in FLAGS:
        refuse(f"Invalid choice: {argv}")
    positional = [part for part in argv[4:] if not part.startswith("--")]
    flags = {
        key[2:]: value for key, _, value in (part.partition("=") for part in argv[4:] if part[:2] == "--")
    }
    unknown = set(flags) - {*FLAGS[tuple(argv[2:4])].split(), "zone", "project"}
    if unknown or not flags.get("zone"):
        refuse(f"unrecognized arguments: {unknown}, or no --zone")
    state = json.loads(STATE.read_text())
    COMMANDS[tuple(argv[2:4])](state, positional, flags)
    STATE.write_text(json.dumps(state))


def refuse(message, code=1):
    print(f"ERROR: (gcloud.compute.tpus) {message}", file=sys.stderr)
    sys.exit(code)


def create(state, names, flags):
    if state["exists"]:
        refuse("ALREADY_EXISTS: the queued resource is there")
    for needed in ("node-id", "accelerator-type", "runtime-version"):
        if not flags.get(needed):
            refuse(f"argument --{needed}: Must be specified")
    state |= {"exists": True, "life": state["life"] + 1, "looks": 0, "now": "ACCEPTED"}
    for home in homes(state):
        if home.exists():
            home.rename(CLOUD / f"gone-{state['life']}-{home.name}")
        home.mkdir()


def describe(state, names, flags):
    if not state["exists"]:
        refuse("NOT_FOUND: Resource 'queuedResources/coco' was not found")
    life = json.loads((CLOUD / "lives.json").read_text())[state["life"]]
    if flags["format"] == "value(state.state)":
        state["now"] = life[min(state["looks"], len(life) - 1)]
        state["looks"] += 1
    if state["now"] != "ACTIVE":
        kill_all(state)
    state["exists"] = state["now"] != "NONE"
    STATE.write_text(json.dumps(state))
    if state["now"] == "NONE":
        refuse("NOT_FOUND: Resource 'queuedResources/coco' was not found")
    if state["now"] == "OFFLINE":
        refuse("Could not reach the server")
    print(state["now"].partition("/")[0])


def describe_node(state, names, flags):
    queued, _, node = state["now"].partition("/")
    if queued != "ACTIVE":
        refuse("NOT_FOUND: Resource 'nodes/coco' was not found")
    print(node or "READY")


def delete(state, names, flags):
    if not state["exists"]:
        refuse("NOT_FOUND: Resource 'queuedResources/coco' was not found")
    if "force" not in flags or "quiet" not in flags:
        refuse("the queued resource has nodes and --force is absent")
    kill_all(state)
    state |= {"exists": False, "now": "NONE"}


def ssh(state, names, flags):
    import subprocess

    running = []
    for worker in reachable(state, flags):
        home = CLOUD / f"home-{worker}"
        environment = os.environ | {"HOME": str(home), "WORKER": str(worker)}
        running.append(subprocess.Popen(["bash", "-c", flags["command"]], cwd=home, env=environment))
    codes = [process.wait() for process in running]
    sys.exit(next((code for code in codes if code), 0))


def scp(state, names, flags):
    source, target = names
    for worker in reachable(state, flags):
        home = CLOUD / f"home-{worker}"
        found = in_home(source, home)
        there = in_home(target, home)
        (there / found.name if there.is_dir() else there).write_bytes(found.read_bytes())


def in_home(path, home):
    return home / path.partition(":")[2] if path.startswith("coco:") else pathlib.Path(path)


def reachable(state, flags):
    if not state["exists"] or state["now"] != "ACTIVE":
        refuse("the workers cannot be reached", 255)
    return range(state["workers"]) if flags.get("worker") == "all" else [int(flags.get("worker", 0))]


def homes(state):
    return [CLOUD / f"home-{worker}" for worker in range(state["workers"])]


def kill_all(state):
    for home in homes(state):
        note = home / "selftrain_jax_run/pid"
        if note.exists() and not note.with_name("exit_code").exists():
            os.killpg(int(note.read_text()), signal.SIGKILL)
            note.unlink()


COMMANDS = {
    ("queued-resources", "create"): create,
    ("queued-resources", "describe"): describe,
    ("queued-resources", "delete"): delete,
    ("tpu-vm", "describe"): describe_node,
    ("tpu-vm", "ssh"): ssh,
    ("tpu-vm", "scp"): scp,
}

if __name__ == "__main__":
    main(sys.argv[1:])
