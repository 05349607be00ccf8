# SPDX-License-Identifier: BSD-2-Clause
"""What Spillway is measured beside: a Debian with kvm-amd and qemu-system-x86 in the same emulated machine.

The Debian is its kernel and an initramfs of ours: busybox, this machine's own QEMU, and files for guests.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "emu"))
# pylint: disable=wrong-import-position
from machine import BUILD, guest_file

ROOT = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(BUILD, "kvm")
HOST_MODULES = ("irqbypass", "kvm", "kvm-amd")
GUEST_MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci")
ROMS = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "linuxboot.bin", "efi-virtio.rom")
QEMU = "/usr/bin/qemu-system-x86_64"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /dev /proc /sys /tmp
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
for module in {modules}; do insmod /lib/modules/$module.ko || echo "no module $module"; done
{script}
poweroff -f
"""
# A guest of the Debian's.
GUEST = ("qemu-system-x86_64 -L /usr/share/qemu -accel kvm -machine q35 -cpu host -nodefaults -nographic -no-reboot "
         "-kernel /l2/vmlinuz -initrd /l2/initrd.img -device isa-debug-exit,iobase=0xf4 ")


def make(*goals, build=BUILD, **words):
    """`make GOALS`, of files below `build`."""
    build = os.path.relpath(build, ROOT)
    subprocess.run(["make", "-s", f"BUILD={build}", *(f"{key}={value}" for key, value in words.items()),
                    *(os.path.relpath(goal, ROOT) if "/" in goal else goal for goal in goals)],
                   check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def unpack_modules():
    """Debian's kernel modules by name, from the package of the guests' kernel."""
    os.makedirs(WORK, exist_ok=True)
    with open(guest_file("vmlinuz.package"), encoding="ascii") as name:
        package = name.read().strip()
    folder = os.path.join(WORK, package)
    if not os.path.isdir(folder):
        os.makedirs(folder + ".new", exist_ok=True)
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package],
                       check=True, cwd=WORK)
        deb = glob.glob(os.path.join(WORK, package + "_*.deb"))[0]
        subprocess.run(["dpkg-deb", "-x", deb, folder + ".new"], check=True)
        os.unlink(deb)
        os.rename(folder + ".new", folder)
    found = {}
    for top, _, names in os.walk(os.path.join(folder, "lib", "modules")):
        found.update({name[:-3]: os.path.join(top, name) for name in names if name.endswith(".ko")})
    return found


def pack(root, target):
    """An initramfs of what is in root."""
    files = subprocess.run(["find", "."], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    with open(target, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=files,
                       check=True, stdout=out)


def place(source, root, target):
    target = os.path.join(root, target.lstrip("/"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(source, target)


def fresh(name):
    """An empty directory to fill."""
    root = os.path.join(WORK, name)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    return root


def guest_initrd(modules, names, files):
    """init, modules of these names and the files (source: target); returns the initrd and what `modules=` has to be."""
    root = fresh("l2")
    place(guest_file("init"), root, "init")
    for source, target in files.items():
        place(source, root, target)
    there = [name for name in GUEST_MODULES + tuple(names) if name in modules]
    for name in there:
        place(modules[name], root, f"lib/{name}.ko")
    pack(root, os.path.join(WORK, "l2.img"))
    return os.path.join(WORK, "l2.img"), ",".join(f"/lib/{name}.ko" for name in there)


def host_initrd(modules, script, initrd, names=(), files=()):
    """The initramfs of the Debian, which runs the script, with further modules and files (source, target); `initrd` is
    its guests'."""
    root = fresh("l1")
    place("/bin/busybox", root, "bin/busybox")
    names = [name for name in HOST_MODULES + tuple(names) if name in modules]
    for name in names:
        place(modules[name], root, f"lib/modules/{name}.ko")
    place(QEMU, root, "bin/qemu-system-x86_64")
    libraries = subprocess.run(["ldd", QEMU], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in re.findall(r"(/\S+) \(0x", libraries):
        place(os.path.realpath(path), root, path)
    for name in ROMS:
        for folder in ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu"):
            if os.path.exists(os.path.join(folder, name)):
                place(os.path.join(folder, name), root, f"usr/share/qemu/{name}")
    place(guest_file("vmlinuz"), root, "l2/vmlinuz")
    place(initrd, root, "l2/initrd.img")
    for source, target in files:
        place(source, root, target)
    with open(os.path.join(root, "init"), "w", encoding="ascii") as out:
        out.write(INIT.format(modules=" ".join(names), script=script))
    os.chmod(os.path.join(root, "init"), 0o755)
    pack(root, os.path.join(WORK, "l1.img"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Time is instructions, 16 ns each (QEMU's firmware waits for ever if it is less), whatever else the computer does.
ICOUNT = "-icount shift=4,sleep=off"


def run(disks, until, seconds, feed=lambda text, pid: None, memory="512M", options=""):
    """The emulated machine with these images as NVMe disks, until that text comes; returns all it has said."""
    command = ["qemu-system-x86_64", "-nodefaults", "-accel", "tcg,thread=single", "-machine", "q35",
               "-cpu", "max,la57=off", "-smp", "1", "-m", memory, "-display", "none", "-no-reboot",
               "-serial", "stdio", "-monitor", "none", "-kernel", guest_file("vmlinuz"), "-initrd",
               os.path.join(WORK, "l1.img"), "-append", "console=ttyS0 quiet"]
    for number, disk in enumerate(disks):
        command += ["-drive", f"file={disk},format=raw,if=none,id=disk{number}",
                    "-device", f"nvme,drive=disk{number},serial=disk{number}"]
    command += options.split()
    text, end = "", time.monotonic() + seconds
    with open(os.path.join(WORK, "kvm.log"), "w", encoding="latin-1", buffering=1) as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while until not in text and time.monotonic() < end:
                data = process.stdout.read()
                if data == b"" or process.poll() is not None:
                    break
                if data:
                    text += data.decode("latin-1")
                    log.write(data.decode("latin-1"))
                    feed(text, process.pid)
                else:
                    time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
    return text.replace("\r", "")
