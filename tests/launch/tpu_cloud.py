"""A repository to launch from, a fake gcloud and two workers, all in one folder."""

import json
import os
import pathlib
import re
import subprocess
import sys

from tests.launch.launch_fakes import copy_repository, write_programs

FAKE = pathlib.Path(__file__).with_name("fake_gcloud.py")
OPTIONS = ("--zone=us-west4-a", "--type=v5litepod-16", "--bucket=gs://my-bucket", "--poll_secs=0.02")
COMPUTE = (
    "--api=compute", "--zone=us-central1-c", "--type=tpu7x-standard-4t", "--topology=2x2x2",
    "--bucket=gs://my-bucket", "--poll_secs=0.02",
)  # fmt: skip
AWKWARD = (
    "--config=configs/a b.py",
    '--config.data.dir=it\'s "here" $HOME; *',
    "--config.note=",
    "--config.x=a  b",
)


class Cloud:
    def __init__(self, folder):
        self.folder, self.repository = folder, folder / "repository"
        copy_repository(self.repository)
        write_programs(folder / "bin")
        gcloud = f'#!/usr/bin/env bash\nexec {sys.executable} -IS {FAKE} "$@"\n'
        write_programs(folder / "bin", {"gcloud": gcloud})
        (folder / "bucket").mkdir()
        (folder / "state.json").write_text(
            json.dumps({"exists": False, "life": -1, "now": "NONE", "workers": 2})
        )
        self.plan("0")
        self.live(["ACTIVE"])

    def plan(self, *outcomes, worker=""):
        (self.folder / f"plan{worker}").write_text(" ".join(outcomes) + "\n")

    def refuse(self, errors):
        """Let gcloud refuse once what is in `errors`, a message for each command."""
        (self.folder / "errors.json").write_text(json.dumps(errors))

    def live(self, *lives):
        (self.folder / "lives.json").write_text(json.dumps(lives))

    def __call__(
        self, command, *options, arguments=("--config=c.py",), answer=None, path=None, **environment
    ):
        tail = ["--", *arguments] if arguments else []
        return subprocess.run(
            ["bash", "launch/tpu_vm.sh", *command.split(), *options, *tail],
            cwd=self.repository, capture_output=True, text=True, input=answer, timeout=120,
            env=os.environ | {
                "PATH": path or f"{self.folder}/bin:{os.environ['PATH']}",
                "FAKE_CLOUD": str(self.folder), "FAKE_NOTES": str(self.folder), **environment,
            },
        )  # fmt: skip

    @property
    def calls(self):
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def verbs(self):
        """What was asked of gcloud in order, ssh by what the worker is told; looks are left out.

        Compute Engine's ssh and scp, a call for each worker, are there once.
        """
        verbs, before = [], None
        for call in self.calls:
            verb = verb_of(call)
            is_repeated = verb == before and call[1] in ("ssh", "scp")
            if verb not in ("look", "status", "log", "true") and not is_repeated:
                verbs.append(verb)
            before = verb
        return verbs


def verb_of(call):
    words = [word for word in call if not word.startswith("--")]
    if "ssh" in words:
        told = next(part for part in call if part.startswith("--command=")).partition("=")[2]
        verb = re.search(r"tpu_worker\.sh (\w+)", told.partition("; else")[0])
        return verb.group(1) if verb else "true" if told == "true" else "log"
    if {"describe", "list-instances", "list-errors"} & set(words):
        return "look"
    verb = next(word for word in words if word in ("create", "delete", "scp"))
    kinds = {"instance-templates": " template", "resource-policies": " policy", "instance-groups": " group"}
    return verb + kinds.get(words[1], "")
