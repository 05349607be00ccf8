# SPDX-License-Identifier: BSD-2-Clause
"""The main job at its full size, on every emulator, kind of disk and number of CPUs: `make acceptance`.

These take minutes each, so they run only when they are named.  What boots is guests/demo.conf, as
in `make run`, but the monitor stays at the end so that the last figures can be read.
"""
import os
import re

from cases import LINUX_FILES, Case, expect_end, watch
from machine import ROOT, Failure

SUMS = ("page_outs", "page_ins", "clean_drops", "refaults")


def demo_config(guests, pool):
    """guests/demo.conf; a guest more is the last one again, with another name and seed."""
    with open(os.path.join(ROOT, "guests", "demo.conf"), encoding="ascii") as file:
        text = file.read()
    text, idle = re.subn(r"(?m)^(when-idle\s*=\s*)poweroff$", r"\1monitor", text)
    text, pools = re.subn(r"(?m)^(pool\s*=\s*)\S+$", rf"\g<1>{pool}", text)
    if idle != 1 or pools != 1:
        raise Failure("guests/demo.conf has no when-idle = poweroff or no pool")
    last = text[text.rindex("[vm "):]
    for number in range(text.count("[vm "), guests):
        more = re.sub(r"\[vm \w+\]", f"[vm more{number}]", last)
        text += "\n" + re.sub(r"seed=\d+", f"seed={number + 1}", more)
    return text


class Figures:
    """What the samples say: the most that each VM's counters reached, and the fullest places."""

    def __init__(self):
        self.samples = 0
        self.vms = {}
        self.stored = 0

    def take(self, sample):
        self.samples += 1
        for vm in sample["vms"]:
            most = self.vms.setdefault(vm["name"], dict.fromkeys(SUMS, 0))
            for key in SUMS:
                most[key] = max(most[key], vm[key])
        self.stored = max(self.stored, sum(vm["stored"] for vm in sample["vms"]))

    def total(self, key):
        return sum(vm[key] for vm in self.vms.values())

    def __str__(self):
        sums = " ".join(f"{key} {self.total(key)}" for key in SUMS)
        return f"{sums} stored at most {self.stored}; sums right in {self.samples} samples"


def full_size(guests=3, pool="384M", seconds=1800):
    def run(boot):
        config = demo_config(guests, pool)
        names = re.findall(r"^\[vm (\w+)\]", config, re.M)
        machine = boot(config, LINUX_FILES, timeout=seconds)
        figures = Figures()
        machine.expect("^spillway> ")
        watch(machine, names, seconds, figures.take)
        for name in names:
            machine.expect(rf"vm {name}: ended well", 120)
        last = machine.stats()
        figures.take(last)
        machine.send("poweroff\r")
        expect_end(machine)
        for key in ("page_outs", "clean_drops"):
            if figures.total(key) == 0:
                raise Failure(f"{key} is 0: {figures}")
        if last["store"]["slots_used"] != 0 or last["host"]["frames_guest"] != 0:
            raise Failure(f"slots or frames leaked: {last['store']} {last['host']}")
        return str(figures)

    return run


CASES = [Case(f"acceptance-{disk}-{cpus}cpu", full_size(), optional=True, disk=disk, cpus=cpus,
              memory="768M", store="1G")
         for disk in ("nvme", "virtio", "ata") for cpus in (1, 2)]
CASES += [
    Case("acceptance", full_size(seconds=3600), emu="bochs", optional=True, memory="768M",
         store="1G"),
    Case("acceptance-3to1", full_size(4, "342M"), optional=True, cpus=2, memory="768M",
         store="2G"),
]
