# SPDX-License-Identifier: BSD-2-Clause
"""virtio-balloon: what Debian's kernel gives back by itself, and when it is asked to."""
import re

from cases import VMLINUZ, Case, bare_file, bare_vm, expect_end, host
from machine import Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
DRIVERS = ",".join(f"/lib/{name}.ko" for name in (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "virtio_balloon"))
PAGES_PER_MIB = 256


def vm(name, command, memory="320M", options="", **keys):
    """A [vm] section with a driver for its balloon that runs a shell command."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f'cmdline = console=ttyS0 quiet acpi=off pci=nomsi {options} modules={DRIVERS} run="{command}"',
             f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def figures_of(sample, name):
    return next(vm for vm in sample["vms"] if vm["name"] == name)


def stop_all(machine, *names):
    """The VMs, then the machine."""
    for name in names:
        machine.command(f"kill {name}")
        machine.expect(rf"vm {name}: stopped by the operator", 60)
    machine.send("poweroff\r")
    expect_end(machine)


FREED_MIB = 200
FREE_SECONDS = 5  # of the machine's own time


def freed(boot):
    """A guest fills 200 MiB and frees them: they are free in the pool soon, and another guest gets
    them without a page being written."""
    fill = f"memcheck {FREED_MIB}M hot=0 random=0 && echo freed && sleep 1000"
    machine = boot(host(pool="480M", store="auto", when_idle="monitor") + vm("first", fill) +
                   vm("second", f"memcheck {FREED_MIB}M hot=0 random=0 && echo filled && sleep 1000",
                      autostart="no"), FILES, timeout=800)
    machine.expect("^spillway> ")
    least = machine.stats()["host"]["frames_free"]
    while not re.search(r"^first\| freed", machine.text, re.M):
        machine.wait(0.5)
        begin = machine.stats()["host"]
        least = min(least, begin["frames_free"])
    while True:
        now = machine.stats()["host"]
        free = now["frames_free"] - least
        seconds = (now["uptime_us"] - begin["uptime_us"]) / 1e6
        if free >= 0.9 * FREED_MIB * PAGES_PER_MIB:
            break
        if seconds > FREE_SECONDS:
            raise Failure(f"{free} pages more are free {seconds:.1f} s later")
        machine.wait(0.1)
    machine.command("start second")
    machine.expect(r"^second\| filled", 500)
    written = machine.stats()["store"]["written_pages"]
    if written != 0:
        raise Failure(f"{written} pages have been written to the store")
    stop_all(machine, "first", "second")
    return f"{free / PAGES_PER_MIB:.0f} MiB are free {seconds:.1f} s later"


SIZES_MIB = (80, 20, 110, 0, 60)


def size(boot):
    """The balloon goes up and down while memcheck verifies each byte of what the guest keeps."""
    machine = boot(host(store="auto", when_idle="monitor") +
                   vm("vm0", "memcheck 64M passes=100000", memory="256M"), FILES, timeout=600)
    machine.expect(r"^vm0\| .*memcheck: sequential", 300)
    discards = 0
    for mib in SIZES_MIB:
        machine.command(f"set vm0 balloon={mib}M")
        for _ in range(240):
            machine.wait(0.5)
            now = figures_of(machine.stats(), "vm0")
            if now["balloon"] == mib * PAGES_PER_MIB:
                break
        else:
            raise Failure(f"the balloon has {now['balloon']} pages, expected {mib} MiB")
        if now["balloon_target"] != mib * PAGES_PER_MIB or now["resident"] > 65536 - now["balloon"]:
            raise Failure(f"balloon {now['balloon']} of {now['balloon_target']} pages, "
                          f"{now['resident']} resident")
        discards = max(discards, now["discards"])
    if discards < max(SIZES_MIB) * PAGES_PER_MIB or not 0 < now["guest_free"] < 65536:
        raise Failure(f"{discards} pages discarded, {now['guest_free']} free in the guest")
    machine.command("set vm0 balloon=off")
    machine.wait(3.0)
    if figures_of(machine.stats(), "vm0")["balloon_target"] != 0:
        raise Failure("the balloon is off and wants pages")
    seen = len(machine.text)
    machine.expect(r"^vm0\| .*memcheck: sequential", 120, seen)
    if "memcheck: FAIL" in machine.text:
        raise Failure("memcheck has failed")
    stop_all(machine, "vm0")


def hostile(boot):
    """Whatever a driver names, only its own memory goes: guests/bare/balloon.asm."""
    machine = boot(host(store="none") + bare_vm("a", "balloon.elf", "32M"),
                   (bare_file("balloon.elf"),))
    machine.expect(r"^a\| balloon: (PASS|wrong).*", 120)
    expect_end(machine)


CASES = [
    Case("balloon-hostile", hostile, memory="256M"),
    Case("balloon-hostile", hostile, emu="bochs", memory="256M"),
    Case("balloon-freed", freed, memory="768M"),
    Case("balloon-freed", freed, emu="bochs", long=True, memory="768M"),
    Case("balloon-size", size, memory="512M"),
    Case("balloon-size", size, emu="bochs", long=True, memory="512M"),
]
