# SPDX-License-Identifier: BSD-2-Clause
"""virtio-balloon: what Debian's kernel gives back by itself, and when it is asked to."""
import re

from cases import VMLINUZ, Case, expect_end, host
from machine import Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
DRIVERS = ",".join(f"/lib/{name}.ko" for name in (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "virtio_balloon"))
PAGES_PER_MIB = 256


def vm(name, command, memory="320M", options="", **keys):
    """A [vm] section with a driver for its balloon that runs a shell command."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f'cmdline = console=ttyS0 quiet {options} modules={DRIVERS} run="{command}"',
             f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def figures_of(sample, name):
    return next(vm for vm in sample["vms"] if vm["name"] == name)


FREED_MIB = 200
FREE_SECONDS = 5  # of the machine's own time


def freed(boot):
    """A guest fills 200 MiB and frees them: they are free in the pool soon, and another guest gets
    them without a page being written."""
    fill = f"memcheck {FREED_MIB}M hot=0 random=0 && echo freed && sleep 1000"
    machine = boot(host(pool="480M", store="auto", when_idle="monitor") + vm("first", fill) +
                   vm("second", f"memcheck {FREED_MIB}M hot=0 random=0 && echo filled && sleep 1000",
                      autostart="no"), FILES, timeout=800)
    machine.expect(r"^first\| freed", 500)
    begin = machine.stats()
    while True:
        now = machine.stats()
        gone = figures_of(now, "first")["discards"]
        free = now["host"]["frames_free"] - begin["host"]["frames_free"]
        seconds = (now["host"]["uptime_us"] - begin["host"]["uptime_us"]) / 1e6
        if gone >= 0.9 * FREED_MIB * PAGES_PER_MIB:
            break
        if seconds > FREE_SECONDS:
            raise Failure(f"{gone} pages discarded, {free} more free {seconds:.1f} s later")
        machine.wait(0.1)
    machine.command("start second")
    machine.expect(r"^second\| filled", 500)
    written = machine.stats()["store"]["written_pages"]
    if written != 0:
        raise Failure(f"{written} pages have been written to the store")
    machine.send("poweroff\r")
    expect_end(machine, last=r"^spillway: power off: ")
    return f"{gone / PAGES_PER_MIB:.0f} MiB given back {seconds:.1f} s later"


CASES = [
    Case("balloon-freed", freed, memory="768M"),
    Case("balloon-freed", freed, emu="bochs", memory="768M"),
]
