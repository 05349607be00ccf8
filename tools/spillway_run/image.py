# SPDX-License-Identifier: BSD-2-Clause
"""Bootable FAT images."""
import os
import re
import sys

from spillway_run.common import BUILD, MIB, Problem, need_program, run_quiet
from spillway_run.emulators import CYLINDER


def whole_lines(text):
    """Lines with what they go on with, behind a backslash at their end."""
    whole = ""
    for line in text.lstrip("\ufeff").splitlines():
        whole = whole.rstrip() + " " + line.strip() if whole else line
        if whole.endswith("\\") and not re.search(r"(^|\s)[#;]", whole):
            whole = whole[:-1]
            continue
        yield whole
        whole = ""


def configured_paths(config):
    """Every path that spillway.conf names, as written."""
    paths = []
    with open(config, encoding="utf-8", errors="replace") as lines:
        for line in whole_lines(lines.read()):
            match = re.match(r'\s*(?:kernel|initrd)\s*=\s*(?:"((?:\\["\\]|[^"])*)"|(.*))', line)
            if not match:
                continue
            path = re.sub(r"(^|\s)[#;].*", "", match.group(2) or "").strip()
            if match.group(1) is not None:
                path = re.sub(r'\\(["\\])', r"\1", match.group(1))
            if path and path not in paths:
                paths.append(path)
    return paths


def normalized(path):
    return "/" + path.replace("\\", "/").strip("/")


def place_file(argument, named):
    """SRC=\\DST, or SRC alone: wherever the configuration names a file of that name."""
    source, equals, target = argument.partition("=")
    if not os.path.isfile(source):
        raise Problem("%s: no such file" % source)
    if equals:
        return source, [normalized(target)]
    base = os.path.basename(source)
    found = [path for path in named if path.lower().endswith("/" + base.lower())]
    return source, sorted(set(found)) or ["/" + base]


def make_image(options):
    need_program("mformat", "mcopy", "mmd")
    loader = options.loader or os.path.join(BUILD, "BOOTX64.EFI")
    if not os.path.isfile(loader):
        raise Problem("%s: no such file; run make first" % loader)
    if not os.path.isfile(options.config):
        raise Problem("%s: no such file" % options.config)
    named = [normalized(path) for path in configured_paths(options.config)]
    files = [(loader, "/EFI/BOOT/BOOTX64.EFI"), (options.config, "/spillway.conf")]
    for argument in options.file:
        source, targets = place_file(argument, named)
        files += [(source, target) for target in targets]
    placed = {target.lower() for _, target in files}
    for path in named:
        if path.lower() not in placed:
            print("spillway image: %s is named in %s, but not in the image" %
                  (path, options.config), file=sys.stderr)
    write_fat(options.output, files)


def write_fat(path, files):
    content = sum(os.path.getsize(source) + 65536 for source, _ in files)
    cylinders = (content * 21 // 20 + 4 * MIB) // CYLINDER + 1
    with open(path, "wb") as image:
        image.truncate(cylinders * CYLINDER)
    run_quiet(["mformat", "-i", path, "-v", "SPILLWAY", "-h", "16", "-s", "63", "-t",
               str(cylinders), "::"])
    folders = set()
    for _, target in files:
        parts = target.split("/")[1:-1]
        folders |= {"/".join(parts[:n]) for n in range(1, len(parts) + 1)}
    for folder in sorted({f.lower(): f for f in folders}.values()):
        run_quiet(["mmd", "-i", path, "::/" + folder])
    for source, target in files:
        run_quiet(["mcopy", "-i", path, "-o", source, "::" + target])
