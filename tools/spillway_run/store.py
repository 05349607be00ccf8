# SPDX-License-Identifier: BSD-2-Clause
"""The superblock of a store: mm/content/store_probe.c reads it."""
import os
import struct
import uuid

from spillway_run.common import MIB, Problem, parse_size

MASK = (1 << 64) - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def xxh64(data, seed=0):
    def step(lane, word):
        return rotate((lane + word * P2) & MASK, 31) * P1 & MASK

    at, length = 0, len(data)
    if length >= 32:
        lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while at + 32 <= length:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [step(lane, word) for lane, word in zip(lanes, words)]
            at += 32
        total = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            total = ((total ^ step(0, lane)) * P1 + P4) & MASK
    else:
        total = (seed + P5) & MASK
    total = (total + length) & MASK
    while at + 8 <= length:
        word, = struct.unpack_from("<Q", data, at)
        total = (rotate(total ^ step(0, word), 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= length:
        word, = struct.unpack_from("<I", data, at)
        total = (rotate(total ^ word * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        total = rotate(total ^ byte * P5 & MASK, 11) * P1 & MASK
    total = (total ^ total >> 33) * P2 & MASK
    total = (total ^ total >> 29) * P3 & MASK
    return total ^ total >> 32


def superblock(blocks):
    """struct store_superblock of mm/content/store.h, padded to its block."""
    head = struct.pack("<16sIIQ16s", b"SPILLWAY-STORE\0", 1, 4096, blocks, uuid.uuid4().bytes)
    return (head + struct.pack("<Q", xxh64(head))).ljust(4096, b"\0")


def write_store(path):
    with open(path, "r+b") as disk:
        blocks = disk.seek(0, os.SEEK_END) // 4096
        if blocks < 3:
            raise Problem("%s: expected at least 8 KiB" % path)
        disk.seek(0)
        disk.write(superblock(blocks))


def make_store(options):
    if options.size:
        with open(options.path, "ab") as disk:
            if disk.tell() != 0:
                raise Problem("%s: exists; --size is for a new file" % options.path)
            disk.truncate(parse_size(options.size))
    elif not os.path.exists(options.path):
        raise Problem("%s: no such file; --size makes one" % options.path)
    with open(options.path, "rb") as disk:
        blank = not any(disk.read(MIB))
    if not blank and not options.force:
        raise Problem("%s: not blank; --force overwrites it" % options.path)
    write_store(options.path)
