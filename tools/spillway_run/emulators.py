# SPDX-License-Identifier: BSD-2-Clause
"""Command lines of QEMU and Bochs, and their disks."""
import os
import re
import shutil

from spillway_run.common import MIB, Problem, need_program, parse_size
from spillway_run.store import write_store

FIRMWARE = "/usr/share/ovmf/OVMF.fd"
CYLINDER = 16 * 63 * 512  # Bochs wants whole cylinders of this geometry


def prepare_store(options, folder):
    """Path of the store disk, fresh when a size is given; None: no store."""
    if options.store == "none":
        return None
    if re.fullmatch(r"\d+[KMGTkmgt]?", options.store):
        size = parse_size(options.store)
        path = os.path.join(folder, "store.img")
        with open(path, "wb") as disk:
            disk.truncate((size + CYLINDER - 1) // CYLINDER * CYLINDER)
        write_store(path)
        return path
    if not os.path.exists(options.store):
        raise Problem("%s: no such file" % options.store)
    return options.store


def qemu_disk(kind, number, path, index):
    name = "disk%d" % number
    if kind == "ata":
        return ["-drive", "file=%s,format=raw,if=ide,index=%d" % (path, index)]
    device = "nvme,drive=%s,serial=spillway%d" % (name, number) if kind == "nvme" else \
        "virtio-blk-pci,drive=%s,disable-legacy=on" % name
    return ["-drive", "file=%s,format=raw,if=none,id=%s" % (path, name), "-device", device]


def qemu_nic(model, number, net):
    """Without a ROM, by which the firmware would boot from it."""
    device = "%s,netdev=net%d,romfile=" % (model, number)
    if model == "virtio-net-pci":
        device += ",disable-legacy=on"
    return ["-netdev", "%s,id=net%d" % (net, number), "-device", device]


def qemu_command(options, folder, store):
    need_program("qemu-system-x86_64")
    # One thread for all CPUs: with one each, QEMU 7.2 now and then ended with the host's registers in
    # a guest's VMCB; what is known of it is in docs/emulators.md.
    accel = "tcg,thread=single" if options.accel == "tcg" else options.accel
    ata = options.disk == "ata"
    cpu = "host" if options.accel == "kvm" else "max,la57=off"
    image = options.image.replace(",", ",,")
    command = ["qemu-system-x86_64", "-nodefaults", "-accel", accel, "-machine",
               "pc" if ata else "q35", "-cpu", cpu, "-smp", str(options.cpus), "-m",
               "%dM" % (parse_size(options.memory) // MIB), "-bios", FIRMWARE, "-display", "none",
               "-no-reboot", "-chardev",
               "socket,id=serial,path=%s" % os.path.join(folder, "emulator"), "-serial",
               "chardev:serial", "-monitor", "none", "-chardev",
               "file,id=debug,path=%s" % os.path.join(folder, "debug-port"), "-device",
               "isa-debugcon,iobase=0xe9,chardev=debug"]
    # By AHCI on either machine: the firmware reads from PIIX3 ten times slower.
    command += ["-drive", "file=%s,format=raw,if=none,id=boot,snapshot=on" % image, "-device",
                "ahci,id=boot-ahci", "-device",
                "ide-hd,bus=boot-ahci.0,drive=boot,bootindex=0"]
    if store is not None:
        command += qemu_disk(options.disk, 0, store.replace(",", ",,"), 0)
    for number, path in enumerate(options.guest_disk, 1):
        command += qemu_disk(options.disk, number, path.replace(",", ",,"), number)
    for number, net in enumerate(options.net):
        command += qemu_nic(options.nic or "virtio-net-pci", number, net)
    return command + [word for words in options.qemu for word in words.split()]


def bochs_disk(slot, path):
    cylinders = os.path.getsize(path) // CYLINDER
    if cylinders == 0 or os.path.getsize(path) % CYLINDER:
        raise Problem("%s: for Bochs, expected a multiple of %d bytes" % (path, CYLINDER))
    # A killed Bochs leaves its lock behind.
    if os.path.exists(path + ".lock"):
        os.unlink(path + ".lock")
    return "%s: type=disk, path=%s, mode=flat, cylinders=%d, heads=16, spt=63" % (slot, path,
                                                                               cylinders)


def bochs_nic(options, folder, number, net):
    """Its e1000 with its own slirp, whose file has to begin with that comment."""
    kind, *words = net.split(",")
    if kind != "user" or not all(word.startswith("hostfwd=") for word in words):
        raise Problem("--net %s: for Bochs, expected user[,hostfwd=..]..." % net)
    if options.nic not in (None, "e1000"):
        raise Problem("--nic %s: for Bochs, expected e1000" % options.nic)
    script = os.path.join(folder, "slirp%d" % number)
    with open(script, "w", encoding="utf-8") as out:
        out.write("# slirp config\n")
        out.writelines("hostfwd = %s\n" % word[len("hostfwd="):] for word in words)
    return "e1000: card=%d, enabled=1, mac=52:54:00:12:34:%02x, ethmod=slirp, script=%s" % (
        number, 0x56 + number, script)


def bochs_command(options, folder, store):
    need_program("bochs")
    image = os.path.join(folder, "boot.img")  # its own copy: Bochs locks and writes it
    shutil.copyfile(options.image, image)
    with open(image, "r+b") as copy:
        size = copy.seek(0, os.SEEK_END)
        copy.truncate((size + CYLINDER - 1) // CYLINDER * CYLINDER)
    memory = parse_size(options.memory) // MIB
    lines = ["memory: guest=%d, host=%d" % (memory, memory),
             "cpu: model=%s, count=%d, ips=100000000, reset_on_triple_fault=0" %
             (options.bochs_model, options.cpus),
             "romimage: file=" + FIRMWARE,
             "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest",
             'display_library: rfb, options="timeout=0"',
             "pci: enabled=1, chipset=i440fx",
             "port_e9_hack: enabled=1",
             "com1: enabled=1, mode=socket-client, dev=127.0.0.1:%d" % options.port,
             "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
             "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
             bochs_disk("ata0-master", image)]
    slots = ["ata0-slave", "ata1-slave"]
    if store is not None:
        lines.append(bochs_disk("ata1-master", store))
    if len(options.guest_disk) > len(slots):
        raise Problem("Bochs has room for %d guest disks" % len(slots))
    lines += [bochs_disk(slot, path) for slot, path in zip(slots, options.guest_disk)]
    lines += [bochs_nic(options, folder, number, net) for number, net in enumerate(options.net)]
    lines += ["boot: disk", "log: " + os.path.join(folder, "bochs.log"), "panic: action=fatal",
              "error: action=report", "info: action=ignore", "debug: action=ignore",
              "clock: sync=none", "sound: driver=dummy"]
    rc, start = os.path.join(folder, "bochsrc"), os.path.join(folder, "start")
    with open(rc, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    with open(start, "w", encoding="utf-8") as out:
        out.write("c\n")
    return ["bochs", "-q", "-f", rc, "-rc", start]
