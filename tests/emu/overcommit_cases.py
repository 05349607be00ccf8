# SPDX-License-Identifier: BSD-2-Clause
"""Guests that together have more memory than there is: nothing is lost, nothing leaks, and what was only read is
not written."""
import os
import random
import re
import time

from cases import LINUX_FILES, Case, expect_end, figures_of, host, linux_vm, watch
from machine import Failure


def overcommit(guests, memory, memcheck, pool, threads=1, vcpus=1, seconds=900):
    names = [f"vm{i}" for i in range(guests)]

    def run(boot):
        config = host(pool=pool, store="auto", when_idle="monitor")
        for i, name in enumerate(names):
            config += linux_vm(name, memory, memcheck, vcpus=vcpus, seed=i + 1,
                               extra=f"threads={threads}")
        machine = boot(config, LINUX_FILES, timeout=seconds)
        machine.expect("^spillway> ")
        watch(machine, names, seconds)
        for name in names:
            machine.expect(rf"vm {name}: ended well", 60)
        last = machine.stats()
        machine.send("poweroff\r")
        expect_end(machine)
        # Counters live in the spaces; they are shown until the VM is gone, so take the most seen.
        seen = [int(n) for n in re.findall(r'"page_outs":(\d+)', machine.text)]
        if max(seen, default=0) == 0:
            raise Failure("no page was ever paged out")
        seen = [int(n) for n in re.findall(r'"clean_drops":(\d+)', machine.text)]
        if max(seen, default=0) == 0:
            raise Failure("no clean page was ever dropped")
        if last["store"]["slots_used"] != 0:
            raise Failure(f"{last['store']['slots_used']} slots leaked")
        if last["host"]["frames_guest"] != 0:
            raise Failure(f"{last['host']['frames_guest']} guest frames leaked")

    return run


def read_only(passes):
    """Pages that were read in and only read are dropped, not written: the hardware's D is exact."""

    def run(boot):
        samples = []
        machine = boot(host(pool="64M", store="auto", when_idle="monitor") +
                       linux_vm("vm0", "128M", "64M",
                                extra=f"rewrite=0 random=0 hot=0 passes={passes}"), LINUX_FILES)
        # The first passes still evict what the fill has left dirty.
        machine.expect(r"^vm0\| .*memcheck: sequential(.*\n)+?vm0\| .*memcheck: sequential", 240)
        before = figures_of(machine, "vm0")
        watch(machine, ["vm0"], 240, samples.append)
        after = samples[-1]["vms"][0]
        machine.expect(r"vm vm0: ended well", 60)
        machine.send("poweroff\r")
        expect_end(machine)
        read, written, dropped = (after[key] - before[key]
                                  for key in ("page_ins", "page_outs", "clean_drops"))
        figures = f"{read} pages read in, {written} written, {dropped} dropped"
        if dropped < 4096 or written * 4 > dropped:
            raise Failure(f"while the guest only read: {figures}")
        return figures

    return run


# What an operator may do next, by the state of the VM; most of them run most of the time, so that memory
# is short.  `start` of a running VM and the like are answered, not obeyed.
SOAK_WORDS = {
    "running": ("leave",) * 12 + ("stop", "pause", "pause", "reset", "kill", "start", "resume"),
    "paused": ("resume", "resume", "resume", "kill", "reset", "stop", "pause"),
    "ending": ("leave", "start", "kill"),
}


def soak(seconds):
    """Random start, stop, pause, resume, reset and kill of four guests at 3:1; nothing may leak."""
    names = [f"vm{i}" for i in range(4)]

    def run(boot):
        seed = int(os.environ.get("SEED", time.time()))
        chance = random.Random(seed)
        config = host(pool="170M", store="auto", when_idle="monitor")
        for i, name in enumerate(names):
            config += linux_vm(name, "128M", "50M", seed=i + 1, extra="passes=100000",
                               autostart="no")
        machine = boot(config, LINUX_FILES, timeout=seconds + 300)
        machine.expect("^spillway> ")
        first = machine.stats()
        end = time.monotonic() + seconds
        state, together, samples = {}, 0, 0
        while time.monotonic() < end:
            name = chance.choice(names)
            word = chance.choice(SOAK_WORDS.get(state.get(name), ("start",)))
            if word != "leave":
                machine.command(f"{word} {name}")
            for _ in range(chance.randrange(1, 6)):
                machine.wait(1.0)
                last = machine.stats()
                together += sum(vm["state"] == "running" for vm in last["vms"]) >= 3
                samples += 1
            state = {vm["name"]: vm["state"] for vm in last["vms"]}
            bad = re.search(r"memcheck: FAIL.*|PANIC.*|: failed: .*", machine.text)
            if bad:
                raise Failure(f"{bad.group(0)} (SEED={seed})")
        written = last["store"]["written_pages"]
        if together * 4 < samples or written < 100 * seconds:
            raise Failure(f"memory was never short: three VMs ran in {together} of {samples} samples, "
                          f"{written} pages were written (SEED={seed})")
        for name in names:
            machine.command(f"kill {name}")
        for _ in range(60):
            machine.wait(1.0)
            last = machine.stats()
            if all(vm["state"] not in ("ending", "running") for vm in last["vms"]):
                break
        for group, figure in (("host", "frames_free"), ("host", "frames_guest"),
                              ("host", "frames_meta"), ("store", "slots_used")):
            if last[group][figure] != first[group][figure]:
                raise Failure(f"{figure} was {first[group][figure]} and is {last[group][figure]} "
                              f"when all VMs are gone (SEED={seed})")
        machine.send("poweroff\r")
        expect_end(machine)

    return run


# Sizes are small, so that all of it ends in time on two cores: a guest of 128 MiB has 67 MiB left for
# memcheck.  `make run` shows the same with 256 MiB.
def two_to_one(**keys):
    return overcommit(3, "128M", "54M", "192M", **keys)


CASES = [
    Case("soak", soak(int(os.environ.get("SOAK_SECONDS", "100"))), long=True, cpus=2),
    # With less, the first guest has done its reading before the second one wants any memory.
    Case("overcommit", overcommit(2, "128M", "54M", "96M", seconds=600), emu="bochs", long=True,
         memory="512M", store="512M"),
    # The only model here with nRIP save, decode assists and flush by ASID.
    Case("ryzen", overcommit(3, "128M", "54M", "150M", seconds=600), emu="bochs", memory="512M",
         store="512M", extra=("--bochs-model", "ryzen")),
    Case("read-only", read_only(3), emu="bochs", long=True, memory="512M", store="512M"),
    Case("overcommit-2to1-nvme", two_to_one(), long=True),
    Case("overcommit-2to1-nvme-2cpus", two_to_one(), cpus=2),
    Case("overcommit-2to1-virtio", two_to_one(), disk="virtio"),
    Case("overcommit-2to1-virtio-2cpus", two_to_one(), long=True, disk="virtio", cpus=2),
    Case("overcommit-2to1-ata", two_to_one(), disk="ata"),
    Case("overcommit-2to1-ata-2cpus", two_to_one(), long=True, disk="ata", cpus=2),
    Case("overcommit-3to1", overcommit(4, "128M", "54M", "170M"), long=True),
    Case("overcommit-3to1-2cpus", overcommit(4, "128M", "54M", "170M"), long=True, cpus=2),
    Case("read-only", read_only(12), memory="512M"),
    Case("smp-2", overcommit(2, "128M", "50M", "128M", threads=2, vcpus=2), cpus=2),
    Case("smp-4", overcommit(2, "128M", "50M", "128M", threads=4, vcpus=4), long=True, cpus=2),
    Case("smp-8", overcommit(2, "160M", "64M", "160M", threads=8, vcpus=8), cpus=2),
]
