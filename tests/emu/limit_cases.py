# SPDX-License-Identifier: BSD-2-Clause
"""As many as there may be: 64 vCPUs in a VM, 256 VMs in a configuration."""
import re
import time

from cases import LINUX_FILES, Case, bare_file, bare_vm, expect_end, host
from linux_cases import run_vm
from machine import Failure

VCPUS = 64
VMS = 256

# Something runs on each of them, pinned, and each has had interrupts of its timer.
EVERY_CPU = ("n=0; for c in /sys/devices/system/cpu/cpu[0-9]*; do taskset -c ${c##*/cpu} true && n=$((n + 1)); "
             "done; echo on $n CPUs after $(cut -d' ' -f1 /proc/uptime) s; "
             "echo timers of $(grep LOC: /proc/interrupts | tr -s ' ' '\\n' | grep -cx '[1-9][0-9]*')")


def hypervisor_mib(machine):
    return float(re.search(r"memory: pool \d+ MiB, hypervisor ([\d.]+) MiB", machine.text).group(1))


def all_vcpus(boot):
    """Linux brings up 64 vCPUs on few CPUs, and uses each."""
    machine = boot(host(store="none") + run_vm("wide", EVERY_CPU, vcpus=VCPUS, memory="512M"), LINUX_FILES)
    machine.expect(r"^wide\| on \d+ CPUs", 700)
    expect_end(machine)
    on, seconds = re.search(r"^wide\| on (\d+) CPUs after ([\d.]+) s", machine.text, re.M).groups()
    ticks = re.search(r"^wide\| timers of (\d+)", machine.text, re.M).group(1)
    if int(on) != VCPUS or int(ticks) != VCPUS:
        raise Failure(f"Linux runs on {on} CPUs, the timers of {ticks} have rung")
    return f"{VCPUS} vCPUs are up and used {seconds} s after the kernel's start, hypervisor {hypervisor_mib(machine)} MiB"


def printed(machine, name):
    """All that the VM has printed, in whatever pieces it was shown."""
    return "".join(re.findall(rf"^{name}\| (.*)$", machine.text, re.M))


def expect_asleep(machine, names, seconds):
    end = time.monotonic() + seconds
    waiting = list(names)
    while waiting:
        machine.wait(0.5)
        waiting = [name for name in waiting if not printed(machine, name).endswith("deaf: asleep")]
        if time.monotonic() > end:
            raise Failure(f"within {seconds} s these are not asleep: {waiting}")


def many_vms(boot):
    """256 VMs start at once, are shown, and each can be steered."""
    config = host(store="none", when_idle="monitor")
    for i in range(VMS):
        config += bare_vm(f"vm{i}", "deaf.elf", "4M")
    machine = boot(config, (bare_file("deaf.elf"),))
    expect_asleep(machine, [f"vm{i}" for i in range(VMS)], 300)
    started = [float(s) for s in re.findall(r"^\[([\d.]+)\] hv: vm vm\d+: started", machine.text, re.M)]
    if len(started) != VMS:
        raise Failure(f"{len(started)} VMs have said that they were started")
    vms = machine.stats()["vms"]
    if len(vms) != VMS or any(vm["state"] != "running" for vm in vms):
        raise Failure(f"of {len(vms)} VMs these do not run: {[vm['name'] for vm in vms if vm['state'] != 'running']}")
    if len(re.findall(r"^vm\d+ +running", machine.command("vms"), re.M)) != VMS:
        raise Failure("'vms' does not show all")
    for i in (0, 31, 32, VMS - 1):
        machine.command(f"kill vm{i}")
        machine.expect(rf"vm vm{i}: stopped by the operator", 30)
        start = len(machine.text)
        machine.command(f"start vm{i}")
        machine.expect(rf"vm vm{i}: started", 30, start)
        machine.expect(rf"^vm{i}\| .*p$", 30, start)
    machine.send("poweroff\r")
    expect_end(machine)
    return f"{VMS} VMs are up {max(started):.1f} s after the boot, hypervisor {hypervisor_mib(machine)} MiB"


CASES = [
    Case("vcpus-64", all_vcpus, long=True, memory="1G", cpus=2, timeout=800),
    Case("many-vms", many_vms, memory="1792M", cpus=2, timeout=600),
    Case("many-vms", many_vms, emu="bochs", memory="1792M", timeout=800),
]
