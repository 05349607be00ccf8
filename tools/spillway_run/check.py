# SPDX-License-Identifier: BSD-2-Clause
"""The check of a spillway.conf, as the machine would make it."""
import os
import subprocess

from spillway_run.common import BUILD, Problem


def check_config(options):
    program = os.path.join(BUILD, "check-config")
    if not os.path.isfile(program):
        raise Problem("%s: no such file; run make first" % program)
    command = [program, options.path]
    for name in ("name", "pool", "store", "root"):
        value = getattr(options, name)
        command += ["--" + name, value] if value is not None else []
    return subprocess.run(command, check=False).returncode
