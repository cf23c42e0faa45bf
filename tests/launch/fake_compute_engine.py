"""The fake gcloud's Compute Engine: instance templates, workload policies, managed instance groups, ssh.

The flags are those of gcloud's reference of 528.0.0, and --target-size-policy-mode of later ones. States of a
group are those of all its machines (`RUNNING` is written ACTIVE), but for `ONE_STOPPED`, and `CREATING`, when
no machine is there yet. `UNREACHABLE` machines run and accept no connection.
"""

import sys

from fake_machines import begin_life, copy_file, end_life, live_on, need, refuse, start_on


def missing(kind):
    refuse(f"Could not fetch resource:\n - The resource 'projects/p/{kind}' was not found")


def create_template(state, names, flags):
    need(flags, "machine-type", "image-project", "image-family", "boot-disk-size")
    add(state, "template", names)


def create_policy(state, names, flags):
    need(flags, "region", "type", "accelerator-topology")
    add(state, "policy", names)


def add(state, kind, names):
    (name,) = names
    if state.get(kind):
        refuse(f"Could not fetch resource:\n - The resource 'projects/p/{kind}/{name}' already exists")
    state[kind] = name


def delete_template(state, names, flags):
    discard(state, "template", names, flags)


def delete_policy(state, names, flags):
    need(flags, "region")
    discard(state, "policy", names, flags)


def discard(state, kind, names, flags):
    if "quiet" not in flags:
        refuse("it would ask")
    if [state.get(kind)] != names:
        missing(f"{kind}/{names[0]}")
    if state["exists"]:
        refuse(f"The {kind} resource is already being used by 'coco'")
    state[kind] = None


def create_group(state, names, flags):
    need(flags, "zone", "template", "size", "base-instance-name")
    if state["exists"]:
        refuse("Could not fetch resource:\n - The resource 'projects/p/coco' already exists")
    policy = flags.get("workload-policy", "").rpartition("/")[2] or None
    if [flags["template"], policy] != [state.get("template"), state.get("policy")]:
        refuse("Invalid value: there is no such template or policy")
    if (policy is None) != (flags["size"] == "1"):
        refuse("a slice of several machines needs a policy, one of one machine has none")
    if policy and flags.get("target-size-policy-mode") != "bulk":
        refuse("MIGs with TPU accelerator topology require BULK mode in target size policy")
    state["workers"] = int(flags["size"])
    state["machines"] = [
        flags["base-instance-name"].replace("####[1]", f"{i + 1:04}") for i in range(state["workers"])
    ]
    begin_life(state)


def list_instances(state, names, flags):
    need(flags, "zone")
    if not state["exists"]:
        missing("zones/z/instanceGroupManagers/coco")
    live_on(state)
    if state["now"] == "NONE":
        missing("zones/z/instanceGroupManagers/coco")
    words = {"ACTIVE": "RUNNING", "UNREACHABLE": "RUNNING", "CREATING": "", "ONE_STOPPED": "RUNNING"}
    machines = [words.get(state["now"], state["now"])] * state["workers"]
    if state["now"] == "ONE_STOPPED":
        machines[-1] = "TERMINATED"
    print("\n".join(machines))


def list_errors(state, names, flags):
    need(flags, "zone")
    print("The zone does not have enough resources available")


def delete_group(state, names, flags):
    need(flags, "zone")
    if "quiet" not in flags:
        refuse("it would ask")
    if not state["exists"]:
        missing("zones/z/instanceGroupManagers/coco")
    end_life(state)


def ssh(state, names, flags):
    worker = reachable(state, names[0], flags)
    sys.exit(start_on(worker, names[0], flags["command"]).wait())


def scp(state, names, flags):
    host = next(name for name in names if ":" in name).partition(":")[0]
    copy_file(*names, host, reachable(state, host, flags))


def reachable(state, host, flags):
    need(flags, "zone")
    if "quiet" not in flags:
        refuse("it would ask")
    if state["now"] != "ACTIVE" or host not in state["machines"]:
        refuse("[255] ssh: connect to host port 22: Connection refused", 255)
    return state["machines"].index(host)


TEMPLATE_FLAGS = (
    "machine-type image-project image-family boot-disk-size maintenance-policy scopes provisioning-model "
    "instance-termination-action network reservation reservation-affinity"
)
GROUP_FLAGS = (
    "zone template size base-instance-name default-action-on-vm-failure workload-policy "
    "target-size-policy-mode"
)
COMMANDS = {
    "instance-templates create": (create_template, TEMPLATE_FLAGS),
    "instance-templates delete": (delete_template, "quiet"),
    "resource-policies create workload-policy": (create_policy, "region type accelerator-topology"),
    "resource-policies delete": (delete_policy, "region quiet"),
    "instance-groups managed create": (create_group, GROUP_FLAGS),
    "instance-groups managed list-instances": (list_instances, "zone format"),
    "instance-groups managed list-errors": (list_errors, "zone limit format"),
    "instance-groups managed delete": (delete_group, "zone quiet"),
    "ssh": (ssh, "zone quiet command"),
    "scp": (scp, "zone quiet"),
}
