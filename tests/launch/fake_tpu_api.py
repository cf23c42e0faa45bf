"""The fake gcloud's Cloud TPU API: queued resources and TPU VMs.

The flags are those of gcloud's reference of 528.0.0 that the scripts may use. State `ACTIVE/PREEMPTED` is a
queued resource that is ACTIVE while its machines are gone.
"""

import sys

from fake_machines import begin_life, copy_file, end_life, live_on, need, refuse, start_on

MISSING = "NOT_FOUND: Resource 'queuedResources/coco' was not found"


def create(state, names, flags):
    if state["exists"]:
        refuse("ALREADY_EXISTS: the queued resource is there")
    need(flags, "zone", "node-id", "accelerator-type", "runtime-version")
    begin_life(state)


def describe(state, names, flags):
    need(flags, "zone")
    if not state["exists"]:
        refuse(MISSING)
    if flags["format"] == "value(state.state)":
        live_on(state)
    if state["now"] == "NONE":
        refuse(MISSING)
    print(state["now"].partition("/")[0])


def describe_node(state, names, flags):
    need(flags, "zone")
    queued, _, node = state["now"].partition("/")
    if queued != "ACTIVE":
        refuse("NOT_FOUND: Resource 'nodes/coco' was not found")
    print(node or "READY")


def delete(state, names, flags):
    need(flags, "zone")
    if not state["exists"]:
        refuse(MISSING)
    if "force" not in flags or "quiet" not in flags:
        refuse("the queued resource has nodes and --force is absent")
    end_life(state)


def ssh(state, names, flags):
    running = [
        start_on(worker, f"t1v-n-0a1b-w-{worker}", flags["command"])
        for worker in reachable(state, names[0], flags)
    ]
    codes = [process.wait() for process in running]
    sys.exit(next((code for code in codes if code), 0))


def scp(state, names, flags):
    for worker in reachable(state, "coco", flags):
        copy_file(*names, "coco", worker)


def reachable(state, name, flags):
    need(flags, "zone")
    if not state["exists"] or state["now"] != "ACTIVE" or name != "coco":
        refuse("the workers cannot be reached", 255)
    return range(state["workers"]) if flags.get("worker") == "all" else [int(flags.get("worker", 0))]


COMMANDS = {
    "tpus queued-resources create": (
        create,
        "zone node-id accelerator-type runtime-version spot network scopes",
    ),
    "tpus queued-resources describe": (describe, "zone format"),
    "tpus queued-resources delete": (delete, "zone force quiet"),
    "tpus tpu-vm describe": (describe_node, "zone format"),
    "tpus tpu-vm ssh": (ssh, "zone worker quiet command"),
    "tpus tpu-vm scp": (scp, "zone worker quiet"),
}
