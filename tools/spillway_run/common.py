# SPDX-License-Identifier: BSD-2-Clause
"""Shared by all commands."""
import os
import re
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
MIB = 1 << 20

EXIT_OK, EXIT_GUEST, EXIT_USAGE, EXIT_PANIC, EXIT_TIMEOUT = 0, 1, 2, 3, 124


class Problem(Exception):
    """An error for the user; exit status 2."""


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMGT]?)", text.upper())
    if not match:
        raise Problem("'%s': expected a size such as 512M" % text)
    return int(match.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match.group(2)]


def need_program(*names):
    for name in names:
        if shutil.which(name) is None:
            raise Problem("%s: not installed (packages.txt lists what is needed)" % name)


def run_quiet(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          universal_newlines=True, env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
    if done.returncode != 0:
        raise Problem("%s: %s" % (command[0], done.stdout.strip()))
