# SPDX-License-Identifier: BSD-2-Clause
"""A guest's PCI bus and the virtio devices on it, as Debian's kernel sees them."""
import re

from cases import VMLINUZ, Case, expect_end, host
from machine import Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
MODULES = ",".join(f"/lib/{name}.ko" for name in (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
    "virtio-rng"))

# What there is of each function; 4 KiB of random bytes, which two reads do not share; the function
# is reset, and works again.  The host's interrupts for it are counted.
JOB = ("cd /sys/bus/pci/devices; for f in *; do "
       "echo function $f $(cat $f/vendor $f/device $f/class $f/irq); done; "
       "echo bars $(head -n 3 0000:00:01.0/resource | cut -d' ' -f1); "
       "h=/dev/hwrng; echo rng $(cat /sys/class/misc/hw_random/rng_current); "
       "dd if=$h bs=64 count=64 2>/dev/null | md5sum; dd if=$h bs=64 count=64 2>/dev/null | md5sum; "
       "d=0000:00:01.0; echo $d > /sys/bus/pci/drivers/virtio-pci/unbind; "
       "echo 1 > $d/reset && echo reset; echo $d > /sys/bus/pci/drivers/virtio-pci/bind; "
       "dd if=$h bs=64 count=1 2>/dev/null | wc -c; grep virtio0 /proc/interrupts; "
       "dmesg | grep -E 'PCI|pci|irmware.Bug|virtio'")


def linux_vm(name, options):
    return (f"[vm {name}]\nkernel = \\guest\\vmlinuz\ninitrd = \\guest\\initrd.img\n"
            f'cmdline = "console=ttyS0 quiet {options} modules={MODULES} run=\\"{JOB}\\""\n'
            "memory = 96M\n")


# Option: what the kernel reads the configuration space by, and what interrupts by.
OPTIONS = {"acpi": ("", "PCI-MSI"), "intx": ("pci=nomsi", "IO-APIC"),
           "pic": ("noapic pci=nomsi", "XT-PIC"), "no-ecam": ("pci=nommconf", "PCI-MSI"),
           "no-acpi": ("acpi=off pci=nomsi", "XT-PIC")}


def check_linux(text, name, interrupt):
    mine = "\n".join(re.findall(rf"^{name}\| (.*)$", text, re.M))
    for wanted in (r"^function 0000:00:00\.0 0x1b36 0x0008 0x060000 ",
                   r"^function 0000:00:01\.0 0x1af4 0x1044 0xff0000 ", r"^rng virtio_rng", r"^reset$",
                   r"^64$"):
        if not re.search(wanted, mine, re.M):
            raise Failure(f"{name}: expected /{wanted}/")
    sums = re.findall(r"^([0-9a-f]{32}) ", mine, re.M)
    if len(sums) != 2 or sums[0] == sums[1]:
        raise Failure(f"{name}: the random bytes are {sums}")
    if not re.search(rf"^ *\d+: .*[1-9]\d* .*{interrupt}.*virtio0", mine, re.M):
        raise Failure(f"{name}: no interrupts by {interrupt}")
    bad = re.search(r"^.*(Firmware Bug|can't claim|no compatible bridge|conflict).*$", mine, re.M)
    if bad:
        raise Failure(f"{name}: {bad.group(0)}")


def linux(names):
    def run(boot):
        machine = boot(host(store="none") + "".join(linux_vm(n, OPTIONS[n][0]) for n in names),
                       FILES, timeout=600)
        expect_end(machine)
        for name in names:
            check_linux(machine.text, name, OPTIONS[name][1])

    return run


CASES = [
    Case("pci-linux", linux(list(OPTIONS)), memory="1G"),
    Case("pci-linux", linux(["acpi", "intx"]), emu="bochs", long=True, memory="512M"),
]
