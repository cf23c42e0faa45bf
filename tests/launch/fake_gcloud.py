"""A stand-in for gcloud: plays a scripted life of a TPU slice, runs remote commands here, notes every call.

In the folder $FAKE_CLOUD: `lives.json` (for each creation the states that successive looks find; the last
one stays), `state.json`, `calls.jsonl`, `errors.json` (what is refused once, by command), `home-0`, `home-1`,
... (the workers' homes, emptied by a creation). State `OFFLINE` is no answer.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # python -I leaves it out

import fake_compute_engine
import fake_machines
import fake_tpu_api

CLOUD = pathlib.Path(os.environ["FAKE_CLOUD"])
COMMANDS = fake_tpu_api.COMMANDS | fake_compute_engine.COMMANDS


def main(argv):
    with (CLOUD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    name = next((" ".join(argv[1:end]) for end in (4, 3, 2) if " ".join(argv[1:end]) in COMMANDS), "")
    if argv[0] != "compute" or not name:
        fake_machines.refuse(f"Invalid choice: {argv}")
    command, known = COMMANDS[name]
    rest = argv[1 + len(name.split()) :]
    positional = [part for part in rest if not part.startswith("--")]
    flags = {key[2:]: value for key, _, value in (part.partition("=") for part in rest if part[:2] == "--")}
    if unknown := set(flags) - {*known.split(), "project"}:
        fake_machines.refuse(f"unrecognized arguments: {unknown}")
    refuse_once(name)
    state = json.loads((CLOUD / "state.json").read_text())
    command(state, positional, flags)
    fake_machines.save(state)


def refuse_once(name):
    path = CLOUD / "errors.json"
    errors = json.loads(path.read_text()) if path.exists() else {}
    if name in errors:
        message = errors.pop(name)
        path.write_text(json.dumps(errors))
        fake_machines.refuse(message)


if __name__ == "__main__":
    main(sys.argv[1:])
