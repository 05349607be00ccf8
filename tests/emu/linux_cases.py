# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel with the options that people use; what a guest's legacy devices are there for."""
import re
import time

from cases import LINUX_FILES, VMLINUZ, Case, expect_end, host
from console_cases import attach
from machine import Failure, guest_file


def run_vm(name, command, options="", memory="128M", **keys):
    """A [vm] section that runs a shell command in Debian's kernel."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f'cmdline = console=ttyS0 quiet {options} run="{command}"', f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


# Option: what its serial port's interrupt comes through.
OPTIONS = {"no-kvmclock": "IO-APIC", "nopv": "IO-APIC", "noapic": "XT-PIC", "nolapic": "XT-PIC",
           "acpi=off": "XT-PIC", "nolapic_timer": "IO-APIC"}
JOB = "memcheck 16M && sleep 1 && grep ttyS0 /proc/interrupts"


def options(chosen):
    """Each boots, passes memcheck, sleeps, and user space has a console that interrupts."""
    def run(boot):
        names = [re.sub(r"\W", "-", option) for option in chosen]
        config = host(store="none")
        for name, option in zip(names, chosen):
            config += run_vm(name, JOB, option)
        machine = boot(config, LINUX_FILES, timeout=500)
        expect_end(machine)
        for name, option in zip(names, chosen):
            if not re.search(rf"^{name}\| memcheck: PASS", machine.text, re.M):
                raise Failure(f"{option}: memcheck has not passed")
            got = re.search(rf"^{name}\| +4: +(\d+) +(\S+)", machine.text, re.M)
            if not got or got.group(2) != OPTIONS[option] or int(got.group(1)) < 10:
                raise Failure(f"{option}: the serial port's interrupts are "
                              f"'{got.group(0) if got else 'none'}'")
        if "PCI: Fatal" in machine.text:
            raise Failure("a guest has found no PCI configuration mechanism")

    return run


# On the second start, seconds after the first, the clock shows what the first one has set.
CLOCK_JOB = ("if [ $(date +%s) -gt 1200000000 ]; then date -u -s @1000000000; hwclock -u -w; "
             "reboot -f; fi; hwclock -u; w=/sys/class/rtc/rtc0/wakealarm; echo +2 > $w; sleep 4; "
             "echo alarm left: $(cat $w) end; grep rtc0 /proc/interrupts")


def clock(boot):
    """hwclock -w is kept over a reset, an alarm rings: by IRQ 8, and by the HPET in its place."""
    vms = {"irq8": ("hpet=disable", 1), "hpet": ("", 20)}  # Linux polls when the HPET has IRQ 8
    config = host(store="none")
    for name, (option, _) in vms.items():
        config += run_vm(name, CLOCK_JOB, option)
    machine = boot(config, LINUX_FILES, timeout=300)
    expect_end(machine)
    for name, (_, interrupts) in vms.items():
        got = re.search(rf"^{name}\| Sun Sep +9 01:4[78]:\d\d 2001|"
                        rf"^{name}\| Sun Sep +9 01:46:[45]\d 2001",
                        machine.text[machine.text.index(f"vm {name}: reset"):], re.M)
        if not got:
            raise Failure(f"{name}: the time that was set is lost")
        if not re.search(rf"^{name}\| alarm left: end", machine.text, re.M):
            raise Failure(f"{name}: the alarm has not rung")
        got = re.search(rf"^{name}\| +8: +(\d+) .*rtc0", machine.text, re.M)
        if not got or int(got.group(1)) < interrupts:
            raise Failure(f"{name}: '{got.group(0) if got else 'no line of rtc0'}'")


# Three times; the clock of the kernel against the RTC, which has gone on: seconds.
SLEEP_JOB = ("w=/sys/class/tty/ttyS0/power/wakeup; f() { echo asleep $1; echo freeze > /sys/power/state; "
             "echo awake by $1, off by $(($(date +%s) - $(cat /sys/class/rtc/rtc0/since_epoch))); }; "
             "echo +6 > /sys/class/rtc/rtc0/wakealarm; f alarm; echo enabled > $w; f key; "
             "echo disabled > $w; f button; sleep 100")
ASLEEP = 3.0  # seconds: nothing has woken it


def expect_still_asleep(machine, by):
    machine.wait(ASLEEP)
    if f"awake by {by}" in machine.text:
        raise Failure(f"it is awake, and not by {by}")


def idle_sleep(boot):
    """s2idle: woken by the RTC's alarm, by a key, and by the power button that `stop` presses."""
    machine = boot(host(store="none") + run_vm("sleepy", SLEEP_JOB), LINUX_FILES, timeout=400)
    machine.expect(r"^sleepy\| awake by alarm, ", 300)
    machine.expect(r"^sleepy\| asleep key", 60)
    expect_still_asleep(machine, "key")
    attach(machine, "sleepy")
    machine.send("\r")
    machine.expect(r"^asleep button", 60)
    expect_still_asleep(machine, "button")
    machine.send("\r")  # a key does not count any more
    expect_still_asleep(machine, "button")
    machine.send("\x1d")
    machine.command("stop sleepy")
    machine.expect(r"^sleepy\| init: power button pressed, powering off", 60)
    expect_end(machine)
    clocks = re.findall(r"awake by \w+, off by (-?\d+)", machine.text)
    if len(clocks) < 2 or any(abs(int(clock)) > 1 for clock in clocks):
        raise Failure(f"after its sleeps the guest's clock is off by {clocks} seconds")


# It is busy all the time, or its watchdog would not notice that its vCPU has not run.  It is alone: Debian's
# kernel takes the pause for time that the process which was on the CPU has run (CAVEATS.md), and another
# one would have the CPU for as long.
PAUSE_JOB = ("last=x; while true; do read a b < /proc/uptime; [ ${a%.*} = $last ] || { "
             "read c u n s i w q t steal d < /proc/stat; echo up $a steal $steal; last=${a%.*}; }; done")
PAUSE = 65  # seconds; a soft lockup is reported after 20, an RCU stall after 21
LONG_PAUSE = 300


def paused(seconds):
    """A pause is not a hang to the guest, and its clocks go on by as much as it took, no more."""
    def run(boot):
        names = {"one": 1, "two": 2}
        machine = boot(host(store="none", when_idle="monitor") + run_vm("one", PAUSE_JOB) +
                       run_vm("two", PAUSE_JOB, vcpus=2), LINUX_FILES, timeout=seconds + 335)

        def shown(name):
            """Seconds of uptime, seconds stolen from all vCPUs."""
            up, stolen = re.findall(rf"^{name}\| up (\d+)\.\d+ steal (\d+)\n", machine.text, re.M)[-1]
            return int(up), int(stolen) / 100

        for name in names:
            machine.expect(rf"^{name}\| up \d+", 100)
        machine.wait(3.0)
        for name in names:
            machine.command(f"pause {name}")
        machine.wait(1.0)
        before, begin = {name: shown(name) for name in names}, time.monotonic()
        machine.wait(seconds)
        for name in names:
            machine.command(f"resume {name}")
        machine.wait(5.0)
        real = time.monotonic() - begin
        complaint = re.search(r"^.*(soft lockup|rcu.*stall|BUG:|clocksource.*unstable).*$",
                              machine.text, re.M)
        if complaint:
            raise Failure(complaint.group(0))
        for name, vcpus in names.items():
            up, stolen = (now - then for now, then in zip(shown(name), before[name]))
            if not seconds - 1 <= up <= real + 3:
                raise Failure(f"{name}: {up} s of uptime in {real:.0f} s")
            if not seconds - 2 <= stolen <= vcpus * (real + 3):
                raise Failure(f"{name}: {stolen} s stolen by a pause of {seconds} s")
            machine.command(f"kill {name}")
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def vectors(boot):
    """Processes of two guests use the same CPU's vector registers, each what it has put there itself."""
    files = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
    machine = boot(host(store="none") + run_vm("a", "vectors 5 3") + run_vm("b", "vectors 5 3"), files)
    expect_end(machine)
    if machine.text.count("vectors: PASS") != 2:
        raise Failure("; ".join(re.findall(r"vectors: FAIL.*", machine.text)) or "two guests did not pass")
    return re.search(r"vectors: (\S+),", machine.text).group(1)


CASES = [
    Case("vectors", vectors),
    Case("vectors", vectors, emu="bochs"),
    Case("linux-pause", paused(PAUSE), memory="512M"),
    Case("linux-long-pause", paused(LONG_PAUSE), long=True, memory="512M"),
    Case("linux-clock", clock, memory="512M"),
    Case("linux-sleep", idle_sleep, memory="384M"),
    Case("linux-sleep", idle_sleep, emu="bochs", long=True, memory="384M"),
    Case("linux-options", options(list(OPTIONS)), memory="1G"),
    Case("linux-options", options(["nopv", "acpi=off"]), emu="bochs", long=True, memory="512M"),
]
