/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of test_config_table.c, a text and all that is reported of it: the file, its lines, [host].
 */

/* ---- good ones ---- */

ROW(VM, ""), ROW("[host]\n" VM, ""), ROW("\357\273\277[host]\npool=64M\n" VM, ""),
    ROW("# c\n; c\n\n  # c\n[host] # c\npool=64M;c\n" VM,
        "c:6: pool: expected a size such as 256M, from 16M to 1T, got '64M;c'\n"),
    ROW("[host]\r\npool = 64M\r\n[vm a]\r\nkernel=k\r\nmemory=64M\r\n", ""),
    ROW("[host]\nwhen-idle = monitor\n", ""),
    ROW("[ host ]\n" VM,
        "c:1: section: expected [host], [vm NAME] or [switch NAME], got ' host '\n"),
    ROW("[vm  a]\nkernel=k\nmemory=64M\n", ""), ROW("[vm a]\nkernel=k\nmemory=64M", ""),
    ROW(VM "[host]\npool=64M\n", ""),
    ROW(VM "[vm b]\nkernel=k\nmemory=131076K\n[vm A]\nkernel=\\\\g\\\\k\nmemory=0x4000000\n", ""),

    /* ---- the file as such ---- */

    ROW("",
        "c:1: no VM: expected a section [vm NAME], or when-idle = monitor to start without one\n"),
    ROW("\n\n# nothing\n",
        "c:3: no VM: expected a section [vm NAME], or when-idle = monitor to start without one\n"),
    ROW("[host]\npool = 64M\n",
        "c:2: no VM: expected a section [vm NAME], or when-idle = monitor to start without one\n"),
    ROW("[host]\nwhen-idle = poweroff\n",
        "c:2: no VM: expected a section [vm NAME], or when-idle = monitor to start without one\n"),
    ROW("\000" VM, "c:1: bad line: expected text without NUL characters, got '[vm a]'\n"),
    ROW(VM "max=64M\000\nmin=1M\n",
        "c:4: bad line: expected text without NUL characters, got 'max'\n"),
    ROW(VM "#\000\n", "c:4: bad line: expected text without NUL characters, got ''\n"),
    ROW("[host]\npo\033ol = 1\n" VM, "c:2: unknown key 'po?ol': expected one of pool, store, "
                                     "format, console, when-idle, panic\n"),
    ROW("[host]\npool = 1\007\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '1?'\n"),
    ROW("[host]\n\303\274 = 1\n" VM,
        "c:2: unknown key '?\?': expected one of pool, store, format, console, when-idle, panic\n"),

    /* ---- lines and sections ---- */

    ROW("pool = 1G\n" VM, "c:1: pool: expected [host], [vm NAME] or [switch NAME] before it\n"),
    ROW("pool = 1G\nstore = none\n" VM,
        "c:1: pool: expected [host], [vm NAME] or [switch NAME] before it\n"),
    ROW("[host]\npool\n" VM, "c:2: bad line: expected KEY = VALUE or [SECTION], got 'pool'\n"),
    ROW("[host]\npool: 64M\n" VM,
        "c:2: bad line: expected KEY = VALUE or [SECTION], got 'pool: 64M'\n"),
    ROW("[host]\n= 64M\n" VM,
        "c:2: unknown key '': expected one of pool, store, format, console, when-idle, panic\n"),
    ROW("[host\n" VM, "c:1: bad line: expected [host], [vm NAME] or [switch NAME], got '[host'\n"),
    ROW("[host] x\n" VM,
        "c:1: bad line: expected [host], [vm NAME] or [switch NAME], got '[host] x'\n"),
    ROW("[]\n" VM, "c:1: section: expected [host], [vm NAME] or [switch NAME], got ''\n"),
    ROW("[\n" VM, "c:1: bad line: expected [host], [vm NAME] or [switch NAME], got '['\n"),
    ROW("]\n" VM, "c:1: bad line: expected KEY = VALUE or [SECTION], got ']'\n"),
    ROW("[Host]\n" VM, "c:1: section: expected [host], [vm NAME] or [switch NAME], got 'Host'\n"),
    ROW("[disk]\nsize = 1\n" VM,
        "c:1: section: expected [host], [vm NAME] or [switch NAME], got 'disk'\n"),
    ROW("[vma]\n" VM, "c:1: section: expected [host], [vm NAME] or [switch NAME], got 'vma'\n"),
    ROW("[host]\n[host]\n" VM, "c:2: [host]: expected one section [host], first in line 1\n"),
    ROW("[host]\n" VM "[host]\npool=1\n",
        "c:5: [host]: expected one section [host], first in line 1\n"
        "c:6: pool: expected a size such as 256M, from 16M to 1T, got '1'\n"),
    ROW("[vm a\nkernel=k\n" VM,
        "c:1: bad line: expected [host], [vm NAME] or [switch NAME], got '[vm a'\n"),
    ROW(VM "max=\"64M\n", "c:4: bad line: expected a closing quote, got 'max'\n"),
    ROW(VM "max=\"64M\" x\n",
        "c:4: bad line: expected nothing but a comment after the closing quote, got 'max'\n"),
    ROW(VM "max=64M\\",
        "c:4: bad line: expected a line after one that ends in a backslash, got 'max'\n"),
    ROW(VM "cmdline=\"a\\",
        "c:4: bad line: expected a line after one that ends in a backslash, got 'cmdline'\n"),
    ROW(VM "max=\\\n 1Q\nmin=1Q\n",
        "c:4: max: expected a size such as 256M, from 4M to 1T, got '1Q'\n"
        "c:6: min: expected a size such as 256M, from 0 to 1T, got '1Q'\n"),
    ROW("[host]\npoool = 1G\n" VM, "c:2: unknown key 'poool': expected one of pool, store, format, "
                                   "console, when-idle, panic\n"),
    ROW(VM "disk = x\n",
        "c:4: unknown key 'disk': expected one of kernel, memory, min, max, balloon, initrd, "
        "cmdline, vcpus, autostart, shares, cpu-shares, tmem, on-triple-fault, module, diskN, "
        "netN\n"),
    ROW(VM "Memory = 1M\n",
        "c:4: unknown key 'Memory': expected one of kernel, memory, min, max, balloon, initrd, "
        "cmdline, vcpus, autostart, shares, cpu-shares, tmem, on-triple-fault, module, diskN, "
        "netN\n"),
    ROW(VM "pool = 64M\n",
        "c:4: unknown key 'pool': expected one of kernel, memory, min, max, balloon, initrd, "
        "cmdline, vcpus, autostart, shares, cpu-shares, tmem, on-triple-fault, module, diskN, "
        "netN\n"),
    ROW("[host]\nkernel = k\n" VM, "c:2: unknown key 'kernel': expected one of pool, store, "
                                   "format, console, when-idle, panic\n"),
    ROW("[host]\npool = 64M\npool = 64M\n" VM,
        "c:3: pool: expected each key once in a section, first in line 2\n"),
    ROW("[host]\nstore = none\nstore = none\n" VM,
        "c:3: store: expected each key once in a section, first in line 2\n"),
    ROW("[host]\nformat = no\nformat = no\n" VM,
        "c:3: format: expected each key once in a section, first in line 2\n"),
    ROW("[host]\nconsole = com1\nconsole = com1\n" VM,
        "c:3: console: expected each key once in a section, first in line 2\n"),
    ROW("[host]\nwhen-idle = monitor\nwhen-idle = monitor\n" VM,
        "c:3: when-idle: expected each key once in a section, first in line 2\n"),
    ROW("[host]\npanic = reset\npanic = reset\n" VM,
        "c:3: panic: expected each key once in a section, first in line 2\n"),
    ROW(VM "kernel = k\n", "c:4: kernel: expected each key once in a section, first in line 2\n"),
    ROW(VM "memory = 64M\n", "c:4: memory: expected each key once in a section, first in line 3\n"),
    ROW(VM "initrd = i\ninitrd = i\n",
        "c:5: initrd: expected each key once in a section, first in line 4\n"),
    ROW(VM "cmdline = c\ncmdline = c\n",
        "c:5: cmdline: expected each key once in a section, first in line 4\n"),
    ROW(VM "min = 1M\nmin = 1M\n",
        "c:5: min: expected each key once in a section, first in line 4\n"),
    ROW(VM "max = 64M\nmax = 64M\n",
        "c:5: max: expected each key once in a section, first in line 4\n"),
    ROW(VM "vcpus = 1\nvcpus = 1\n",
        "c:5: vcpus: expected each key once in a section, first in line 4\n"),
    ROW(VM "autostart = no\nautostart = no\n",
        "c:5: autostart: expected each key once in a section, first in line 4\n"),
    ROW(VM "shares = 1\nshares = 1\n",
        "c:5: shares: expected each key once in a section, first in line 4\n"),
    ROW(VM "cpu-shares = 1\ncpu-shares = 1\n",
        "c:5: cpu-shares: expected each key once in a section, first in line 4\n"),
    ROW(VM "tmem = 1M\ntmem = 1M\n",
        "c:5: tmem: expected each key once in a section, first in line 4\n"),
    ROW(VM "on-triple-fault = fail\non-triple-fault = fail\n",
        "c:5: on-triple-fault: expected each key once in a section, first in line 4\n"),

    /* ---- pool ---- */

    ROW("[host]\npool = 16M\n" VM, ""), ROW("[host]\npool = 16384K\n" VM, ""),
    ROW("[host]\npool = 16777216\n" VM, ""), ROW("[host]\npool = 0x1000000\n" VM, ""),
    ROW("[host]\npool = 1T\n" VM, ""), ROW("[host]\npool = 1024g\n" VM, ""),
    ROW("[host]\npool = 384m\n" VM, ""), ROW("[host]\npool = \"64M\"\n" VM, ""),
    ROW("[host]\npool = \n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got ''\n"),
    ROW("[host]\npool = 0\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '0'\n"),
    ROW("[host]\npool = 15M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '15M'\n"),
    ROW("[host]\npool = 1025G\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '1025G'\n"),
    ROW("[host]\npool = 010M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '010M'\n"),
    ROW("[host]\npool = 1Q\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '1Q'\n"),
    ROW("[host]\npool = 1MB\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '1MB'\n"),
    ROW("[host]\npool = -1M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '-1M'\n"),
    ROW("[host]\npool = +64M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '+64M'\n"),
    ROW("[host]\npool = 64 M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '64 M'\n"),
    ROW("[host]\npool = 1.5G\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '1.5G'\n"),
    ROW("[host]\npool = 0x\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '0x'\n"),
    ROW("[host]\npool = 0xZM\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '0xZM'\n"),
    ROW("[host]\npool = 99999999999999999999\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '99999999999999999999'\n"),
    ROW("[host]\npool = 18446744073709551615\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '18446744073709551615'\n"),
    ROW("[host]\npool = 18446744073709551616\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '18446744073709551616'\n"),
    ROW("[host]\npool = 17592186044416M\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '17592186044416M'\n"),
    ROW("[host]\npool = 16777216T\n" VM,
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '16777216T'\n"),
    ROW("[host]\npool = 16777217\n" VM,
        "c:2: pool: expected a multiple of 4K, the size of a page, got '16777217'\n"),
    ROW("[host]\npool = 16385K\n" VM,
        "c:2: pool: expected a multiple of 4K, the size of a page, got '16385K'\n"),

    /* ---- store, format ---- */

    ROW("[host]\nstore = auto\n" VM, ""), ROW("[host]\nstore = none\n" VM, ""),
    ROW("[host]\nstore = nvme0\n" VM, ""), ROW("[host]\nstore = nvme12p128\n" VM, ""),
    ROW("[host]\nstore = vd0\n" VM, ""), ROW("[host]\nstore = ata1p1\n" VM, ""),
    ROW("[host]\nstore = PARTUUID=01234567-89ab-cdef-ABCD-0123456789ab\n" VM, ""),
    ROW("[host]\nstore = \n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got ''\n"),
    ROW("[host]\nstore = autox\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 "
                                      "or PARTUUID=..., got 'autox'\n"),
    ROW("[host]\nstore = aut\n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'aut'\n"),
    ROW("[host]\nstore = nonesuch\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, "
                                         "ata0 or PARTUUID=..., got 'nonesuch'\n"),
    ROW("[host]\nstore = nvme\n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'nvme'\n"),
    ROW("[host]\nstore = nvmex\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 "
                                      "or PARTUUID=..., got 'nvmex'\n"),
    ROW("[host]\nstore = nvme0p\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 "
                                       "or PARTUUID=..., got 'nvme0p'\n"),
    ROW("[host]\nstore = nvme0px\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, "
                                        "ata0 or PARTUUID=..., got 'nvme0px'\n"),
    ROW("[host]\nstore = nvme0p1x\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, "
                                         "ata0 or PARTUUID=..., got 'nvme0p1x'\n"),
    ROW("[host]\nstore = nvme0n1\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, "
                                        "ata0 or PARTUUID=..., got 'nvme0n1'\n"),
    ROW("[host]\nstore = sda\n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'sda'\n"),
    ROW("[host]\nstore = vda\n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'vda'\n"),
    ROW("[host]\nstore = ata\n" VM,
        "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'ata'\n"),
    ROW("[host]\nstore = Nvme0\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 "
                                      "or PARTUUID=..., got 'Nvme0'\n"),
    ROW("[host]\nstore = nvme7 x\n" VM, "c:2: store: expected auto, none, nvme0, nvme0p2, vd0, "
                                        "ata0 or PARTUUID=..., got 'nvme7 x'\n"),
    ROW("[host]\nstore = PARTUUID=\n" VM,
        "c:2: store: expected PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, got 'PARTUUID='\n"),
    ROW("[host]\nstore = PARTUUID\n" VM,
        "c:2: store: expected PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, got 'PARTUUID'\n"),
    ROW("[host]\nstore = PARTUUID=0123\n" VM,
        "c:2: store: expected PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, got "
        "'PARTUUID=0123'\n"),
    ROW("[host]\nstore = PARTUUID=01234567-89ab-cdef-ABCD-0123456789ag\n" VM,
        "c:2: store: expected PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, got "
        "'PARTUUID=01234567-89ab-cdef-ABCD-0123456789ag'\n"),
    ROW("[host]\nstore = PARTUUID=01234567-89ab-cdef-ABCD-0123456789abc\n" VM,
        "c:2: store: expected PARTUUID=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, got "
        "'PARTUUID=01234567-89ab-cdef-ABCD-0123456789abc'\n"),
    ROW("[host]\nformat = yes\n" VM, ""),
    ROW("[host]\nformat = \n" VM, "c:2: format: expected yes or no, got ''\n"),
    ROW("[host]\nformat = true\n" VM, "c:2: format: expected yes or no, got 'true'\n"),
    ROW("[host]\nformat = Yes\n" VM, "c:2: format: expected yes or no, got 'Yes'\n"),
    ROW("[host]\nformat = 1\n" VM, "c:2: format: expected yes or no, got '1'\n"),
    ROW("[host]\nformat = on\n" VM, "c:2: format: expected yes or no, got 'on'\n"),

    /* ---- console, when-idle, panic ---- */

    ROW("[host]\nconsole = com1\n" VM, ""), ROW("[host]\nconsole = com4,9600\n" VM, ""),
    ROW("[host]\nconsole = 0x2f8\n" VM, ""), ROW("[host]\nconsole = 0x3F8,115200\n" VM, ""),
    ROW("[host]\nconsole = \n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed after "
                                   "a comma, such as com1,115200, got ''\n"),
    ROW("[host]\nconsole = com0\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                       "after a comma, such as com1,115200, got 'com0'\n"),
    ROW("[host]\nconsole = com5\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                       "after a comma, such as com1,115200, got 'com5'\n"),
    ROW("[host]\nconsole = com11\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                        "after a comma, such as com1,115200, got 'com11'\n"),
    ROW("[host]\nconsole = com1,\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                        "after a comma, such as com1,115200, got 'com1,'\n"),
    ROW("[host]\nconsole = com1,0\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                         "after a comma, such as com1,115200, got 'com1,0'\n"),
    ROW("[host]\nconsole = com1,7\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                         "after a comma, such as com1,115200, got 'com1,7'\n"),
    ROW("[host]\nconsole = com1,230400\n" VM,
        "c:2: console: expected com1..com4 or 0xPORT, and a speed after a comma, such as "
        "com1,115200, got 'com1,230400'\n"),
    ROW("[host]\nconsole = com1,x\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                         "after a comma, such as com1,115200, got 'com1,x'\n"),
    ROW("[host]\nconsole = com1, 9600\n" VM,
        "c:2: console: expected com1..com4 or 0xPORT, and a speed after a comma, such as "
        "com1,115200, got 'com1, 9600'\n"),
    ROW("[host]\nconsole = com1,9600,8n1\n" VM,
        "c:2: console: expected com1..com4 or 0xPORT, and a speed after a comma, such as "
        "com1,115200, got 'com1,9600,8n1'\n"),
    ROW("[host]\nconsole = 0x\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                     "after a comma, such as com1,115200, got '0x'\n"),
    ROW("[host]\nconsole = 0xfffff\n" VM,
        "c:2: console: expected com1..com4 or 0xPORT, and a speed after a comma, such as "
        "com1,115200, got '0xfffff'\n"),
    ROW("[host]\nconsole = ttyS0\n" VM, "c:2: console: expected com1..com4 or 0xPORT, and a speed "
                                        "after a comma, such as com1,115200, got 'ttyS0'\n"),
    ROW("[host]\nwhen-idle = monitor\n" VM, ""),
    ROW("[host]\nwhen-idle = sleep\n" VM,
        "c:2: when-idle: expected poweroff or monitor, got 'sleep'\n"),
    ROW("[host]\nwhen-idle =\n" VM, "c:2: when-idle: expected poweroff or monitor, got ''\n"),
    ROW("[host]\npanic = reset\n" VM, ""),
    ROW("[host]\npanic = reboot\n" VM, "c:2: panic: expected poweroff or reset, got 'reboot'\n"),
