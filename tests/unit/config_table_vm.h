/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of test_config_table.c, a text and all that is reported of it: [vm NAME], its disks and
 * NICs, [switch NAME]. */

/* ---- VM: its name ---- */

ROW("[vm a-b_c.9]\nkernel=k\nmemory=64M\n", ""),
    ROW("[vm 1234567890123456789012345678901]\nkernel=k\nmemory=64M\n", ""),
    ROW("[vm ]\nkernel=k\nmemory=64M\n" VM,
        "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got ''\n"),
    ROW("[vm a/b]\nkernel=k\nmemory=64M\n" VM,
        "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got 'a/b'\n"),
    ROW("[vm a b]\nkernel=k\nmemory=64M\n" VM,
        "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got 'a b'\n"),
    ROW("[vm 12345678901234567890123456789012]\nkernel=k\nmemory=64M\n" VM,
        "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got "
        "'12345678901234567890123456789012'\n"),
    ROW("[vm \"a\"]\nkernel=k\nmemory=64M\n" VM,
        "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got '\"a\"'\n"),
    ROW("[vm]\n" VM, "c:1: VM name: expected 1 to 31 letters, digits, '-', '_', '.', got ''\n"),
    ROW(VM "[vm a]\nkernel=k\nmemory=64M\n",
        "c:4: VM name: expected a name other than that of line 1, got 'a'\n"),
    ROW(VM "[vm a]\nkernel=nowhere\nvcpus=65\n",
        "c:4: VM name: expected a name other than that of line 1, got 'a'\n"
        "c:5: kernel: expected a file that is on the boot volume, got 'nowhere'\n"
        "c:6: vcpus: expected a number from 1 to 64, got '65'\n"),

    /* ---- VM: kernel, initrd ---- */

    ROW(VM "initrd = \\\\i\n", ""), ROW("[vm a]\nkernel=\"my kernel\"\nmemory=64M\n", ""),
    ROW("[vm a]\nmemory=64M\n[vm b]\nkernel=k\nmemory=64M\n",
        "c:1: VM 'a': expected a line 'kernel = PATH' in its section\n"),
    ROW("[vm a]\nmemory=64M\n[host]\n",
        "c:1: VM 'a': expected a line 'kernel = PATH' in its section\n"),
    ROW("[vm a]\nkernel=k\n", "c:1: VM 'a': expected a line 'memory = SIZE' in its section\n"),
    ROW("[host]\n[vm a]\n", "c:2: VM 'a': expected a line 'kernel = PATH' in its section\n"
                            "c:2: VM 'a': expected a line 'memory = SIZE' in its section\n"),
    ROW("[vm a]\nkernel=\nmemory=64M\n",
        "c:2: kernel: expected the path of a file on the boot volume, got ''\n"),
    ROW("[vm a]\nkernel=nowhere\nmemory=64M\n",
        "c:2: kernel: expected a file that is on the boot volume, got 'nowhere'\n"),
    ROW("[vm "
        "a]\nkernel="
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkk\nmemory=64M\n",
        ""),
    ROW("[vm "
        "a]\nkernel="
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\nmemory=64M\n",
        "c:2: kernel: expected a path of at most 119 characters, got "
        "'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...'\n"),
    ROW("[vm a]\nkernel=\"k\nmemory=64M\n",
        "c:2: bad line: expected a closing quote, got 'kernel'\n"),
    ROW(VM "initrd=\n", "c:4: initrd: expected the path of a file on the boot volume, got ''\n"),
    ROW(VM "initrd=nowhere\n",
        "c:4: initrd: expected a file that is on the boot volume, got 'nowhere'\n"),

    /* ---- VM: memory, min, max, tmem ---- */

    ROW("[vm a]\nkernel=k\nmemory=4M\n", ""), ROW("[vm a]\nkernel=k\nmemory=4100K\n", ""),
    ROW("[vm a]\nkernel=k\nmemory=129M\n", ""), ROW("[vm a]\nkernel=k\nmemory=2047M\n", ""),
    ROW("[vm a]\nkernel=k\nmemory=131076K\n", ""), ROW("[vm a]\nkernel=k\nmemory=1T\n", ""),
    ROW("[vm a]\nkernel=k\nmemory=\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got ''\n"),
    ROW("[vm a]\nkernel=k\nmemory=0\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got '0'\n"),
    ROW("[vm a]\nkernel=k\nmemory=3M\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got '3M'\n"),
    ROW("[vm a]\nkernel=k\nmemory=4095K\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got '4095K'\n"),
    ROW("[vm a]\nkernel=k\nmemory=1025G\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got '1025G'\n"),
    ROW("[vm a]\nkernel=k\nmemory=lots\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got 'lots'\n"),
    ROW("[vm a]\nkernel=k\nmemory=064M\n",
        "c:3: memory: expected a size such as 256M, from 4M to 1T, got '064M'\n"),
    ROW("[vm a]\nkernel=k\nmemory=4098K\n",
        "c:3: memory: expected a multiple of 4K, the size of a page, got '4098K'\n"),
    ROW(VM "min=64M\nmax=64M\n", ""), ROW(VM "min=0\nmax=128M\n", ""),
    ROW(VM "min=65M\n", "c:4: min: expected at most its memory, 64M, got '65M'\n"),
    ROW(VM "min=32M\nmax=16M\n", "c:4: min: expected at most its max, 16M, got '32M'\n"),
    ROW(VM "max=16M\nmin=16388K\n", "c:5: min: expected at most its max, 16M, got '16388K'\n"),
    ROW(VM "min=65M\nmax=16M\n", "c:4: min: expected at most its memory, 64M, got '65M'\n"
                                 "c:4: min: expected at most its max, 16M, got '65M'\n"),
    ROW("[vm a]\nkernel=k\nmin=65M\nmemory=1Q\n",
        "c:4: memory: expected a size such as 256M, from 4M to 1T, got '1Q'\n"),
    ROW(VM "min=1\n", "c:4: min: expected a multiple of 4K, the size of a page, got '1'\n"),
    ROW(VM "min=-1\n", "c:4: min: expected a size such as 256M, from 0 to 1T, got '-1'\n"),
    ROW(VM "min=1Q\n", "c:4: min: expected a size such as 256M, from 0 to 1T, got '1Q'\n"),
    ROW(VM "min=99999999999999999999\n",
        "c:4: min: expected a size such as 256M, from 0 to 1T, got '99999999999999999999'\n"),
    ROW(VM "max=0\n", "c:4: max: expected a size such as 256M, from 4M to 1T, got '0'\n"),
    ROW(VM "max=1M\n", "c:4: max: expected a size such as 256M, from 4M to 1T, got '1M'\n"),
    ROW(VM "max=4095K\n", "c:4: max: expected a size such as 256M, from 4M to 1T, got '4095K'\n"),
    ROW(VM "max=010M\n", "c:4: max: expected a size such as 256M, from 4M to 1T, got '010M'\n"),
    ROW(VM "max=99999999999999999999\n",
        "c:4: max: expected a size such as 256M, from 4M to 1T, got '99999999999999999999'\n"),
    ROW(VM "balloon=auto\n", ""), ROW(VM "balloon=off\n", ""), ROW(VM "balloon=64M\n", ""),
    ROW(VM "balloon=0\n", ""), ROW(VM "min=60M\nballoon=4M\n", ""),
    ROW(VM "balloon=65M\n", "c:4: balloon: expected at most what its memory has more than its min, "
                            "64M, got '65M'\n"),
    ROW(VM "balloon=5M\nmin=60M\n", "c:4: balloon: expected at most what its memory has more than "
                                    "its min, 4M, got '5M'\n"),
    ROW(VM "balloon=on\n", "c:4: balloon: expected auto, off, or a size such as 64M in whole pages "
                           "of 4K, got 'on'\n"),
    ROW(VM "balloon=1K\n", "c:4: balloon: expected auto, off, or a size such as 64M in whole pages "
                           "of 4K, got '1K'\n"),
    ROW(VM "balloon=off\nballoon=off\n",
        "c:5: balloon: expected each key once in a section, first in line 4\n"),
    ROW(VM "tmem=16M\n", ""),
    ROW(VM "tmem=2T\n", "c:4: tmem: expected a size such as 256M, from 0 to 1T, got '2T'\n"),
    ROW(VM "tmem=1K\n", "c:4: tmem: expected a multiple of 4K, the size of a page, got '1K'\n"),

    /* ---- VM: vcpus, shares, words ---- */

    ROW(VM "vcpus=8\nshares=10000\ncpu-shares=1\nautostart=yes\non-triple-fault=reset\n", ""),
    ROW(VM "vcpus=\n", "c:4: vcpus: expected a number from 1 to 64, got ''\n"),
    ROW(VM "vcpus=0\n", "c:4: vcpus: expected a number from 1 to 64, got '0'\n"),
    ROW(VM "vcpus=65\n", "c:4: vcpus: expected a number from 1 to 64, got '65'\n"),
    ROW(VM "vcpus=1.5\n", "c:4: vcpus: expected a number from 1 to 64, got '1.5'\n"),
    ROW(VM "vcpus=two\n", "c:4: vcpus: expected a number from 1 to 64, got 'two'\n"),
    ROW(VM "vcpus=-1\n", "c:4: vcpus: expected a number from 1 to 64, got '-1'\n"),
    ROW(VM "vcpus=01\n", "c:4: vcpus: expected a number from 1 to 64, got '01'\n"),
    ROW(VM "vcpus=4294967297\n", "c:4: vcpus: expected a number from 1 to 64, got '4294967297'\n"),
    ROW(VM "vcpus=1K\n", "c:4: vcpus: expected a number from 1 to 64, got '1K'\n"),
    ROW(VM "shares=0\n", "c:4: shares: expected a number from 1 to 10000, got '0'\n"),
    ROW(VM "shares=10001\n", "c:4: shares: expected a number from 1 to 10000, got '10001'\n"),
    ROW(VM "shares=100%\n", "c:4: shares: expected a number from 1 to 10000, got '100%'\n"),
    ROW(VM "cpu-shares=0\n", "c:4: cpu-shares: expected a number from 1 to 10000, got '0'\n"),
    ROW(VM "cpu-shares=10001\n",
        "c:4: cpu-shares: expected a number from 1 to 10000, got '10001'\n"),
    ROW(VM "cpu-shares=100%\n", "c:4: cpu-shares: expected a number from 1 to 10000, got '100%'\n"),
    ROW(VM "autostart=maybe\n", "c:4: autostart: expected yes or no, got 'maybe'\n"),
    ROW(VM "on-triple-fault=stop\n", "c:4: on-triple-fault: expected reset or fail, got 'stop'\n"),

    /* ---- all of them at once ---- */

    /* ---- disks ---- */

    ROW(VM "disk0 = nvme1\ndisk1=vd0p3,ro\ndisk15 = ata1,share\ndisk2 = "
           "PARTUUID=4f0d9d0b-7f4c-4e2c-9df5-0a1b2c3d4e5f,ro,share\n",
        ""),
    ROW(VM "disk0 = \n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and ,ro "
                         "or ,share behind it, got ''\n"),
    ROW(VM "disk0 = auto\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and "
                             ",ro or ,share behind it, got 'auto'\n"),
    ROW(VM "disk0 = none\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and "
                             ",ro or ,share behind it, got 'none'\n"),
    ROW(VM "disk0 = sda\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and "
                            ",ro or ,share behind it, got 'sda'\n"),
    ROW(VM "disk0 = ,ro\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and "
                            ",ro or ,share behind it, got ',ro'\n"),
    ROW(VM "disk0 = nvme0,\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., "
                               "and ,ro or ,share behind it, got 'nvme0,'\n"),
    ROW(VM "disk0 = nvme0,rw\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., "
                                 "and ,ro or ,share behind it, got 'nvme0,rw'\n"),
    ROW(VM "disk0 = nvme0, ro\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., "
                                  "and ,ro or ,share behind it, got 'nvme0, ro'\n"),
    ROW(VM "disk0 = nvme0,ro,sharex\n",
        "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and ,ro or ,share behind "
        "it, got 'nvme0,ro,sharex'\n"),
    ROW(VM "disk0 = nvme\n", "c:4: disk0: expected nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., and "
                             ",ro or ,share behind it, got 'nvme'\n"),
    ROW(VM "disk0 = nvme1\ndisk0 = nvme2\n",
        "c:5: disk0: expected each key once in a section, first in line 4\n"),
    /* ---- netN and [switch NAME] ---- */

    ROW(VM "net0 = lan\nnet15=w-1,mac=02:00:00:aB:cD:01\n[switch lan]\n[switch  w-1]\n"
           "uplink = none\n",
        ""),
    ROW("[switch lan]\n" VM "net0 = lan\n[vm b]\nkernel=k\nmemory=64M\nnet0=lan\n", ""),
    ROW(VM "net0 = lan\n", "c:4: net0: expected a switch that has a section [switch NAME], got "
                           "'lan'\n"),
    ROW(VM "net0 = a,mac=02:00:00:00:00:01\nnet1 = b,mac=02:00:00:00:00:01\n[switch a]\n"
           "[switch b]\n",
        ""),
    ROW("[switch a]\n" VM "net0 = a,mac=02:00:00:00:00:01\nnet1 = a,mac=02:00:00:00:00:01\n",
        "c:6: net1: expected an address other than that of line 5, on the same switch\n"),
    ROW(VM "net0 = a\nnet0 = a\n[switch a]\n",
        "c:5: net0: expected each key once in a section, first in line 4\n"),
    ROW(VM "net0 =\n", "c:4: net0: expected the name of a switch, and ,mac=xx:xx:xx:xx:xx:xx of "
                       "one station behind it, got ''\n"),
    ROW(VM "net0 = a b\n", "c:4: net0: expected the name of a switch, and ,mac=xx:xx:xx:xx:xx:xx "
                           "of one station behind it, got 'a b'\n"),
    ROW(VM "net0 = a,\n", "c:4: net0: expected the name of a switch, and ,mac=xx:xx:xx:xx:xx:xx "
                          "of one station behind it, got 'a,'\n"),
    ROW(VM "net0 = a,mac=02:00:00:00:00\n", "c:4: net0: expected the name of a switch, and "
                                            ",mac=xx:xx:xx:xx:xx:xx of one station behind "
                                            "it, got 'a,mac=02:00:00:00:00'\n"),
    ROW(VM "net0 = a,mac=02:00:00:00:00:0g\n", "c:4: net0: expected the name of a switch, and "
                                               ",mac=xx:xx:xx:xx:xx:xx of one station behind "
                                               "it, got 'a,mac=02:00:00:00:00:0g'\n"),
    ROW(VM "net0 = a,mac=03:00:00:00:00:01\n", "c:4: net0: expected the name of a switch, and "
                                               ",mac=xx:xx:xx:xx:xx:xx of one station behind "
                                               "it, got 'a,mac=03:00:00:00:00:01'\n"),
    ROW(VM "net0 = a,mac=00:00:00:00:00:00\n", "c:4: net0: expected the name of a switch, and "
                                               ",mac=xx:xx:xx:xx:xx:xx of one station behind "
                                               "it, got 'a,mac=00:00:00:00:00:00'\n"),
    ROW("[switch]\n" VM,
        "c:1: switch name: expected 1 to 31 letters, digits, '-', '_', '.', got ''\n"),
    ROW("[switch a]\n" VM "[switch a]\n",
        "c:5: switch name: expected a name other than that of line 1, got 'a'\n"),
    ROW("[switch a]\nuplink = maybe\n" VM,
        "c:2: uplink: expected none, eth0 .. eth15, or the MAC address of a NIC, got 'maybe'\n"),
    ROW("[switch a]\nuplink = eth0\n[switch b]\nuplink = eth15\n[switch c]\n"
        "uplink = 52:54:00:12:34:5F\n[switch d]\nuplink = none\n[switch e]\nuplink = none\n" VM,
        ""),
    ROW("[switch a]\nuplink = eth16\n" VM,
        "c:2: uplink: expected none, eth0 .. eth15, or the MAC address of a NIC, got 'eth16'\n"),
    ROW("[switch a]\nuplink = eth01\n" VM,
        "c:2: uplink: expected none, eth0 .. eth15, or the MAC address of a NIC, got 'eth01'\n"),
    ROW("[switch a]\nuplink = eth\n" VM,
        "c:2: uplink: expected none, eth0 .. eth15, or the MAC address of a NIC, got 'eth'\n"),
    ROW("[switch a]\nuplink = 52:54:00:12:34\n" VM,
        "c:2: uplink: expected none, eth0 .. eth15, or the MAC address of a NIC, got "
        "'52:54:00:12:34'\n"),
    ROW("[switch a]\nuplink = eth1\n[switch b]\nuplink = eth1\n" VM,
        "c:4: uplink: expected a NIC other than that of line 2, got 'eth1'\n"),
    ROW("[switch]\nuplink = eth1\n" VM,
        "c:1: switch name: expected 1 to 31 letters, digits, '-', '_', '.', got ''\n"),
    ROW("[switch a]\nspeed = 1\n" VM, "c:2: unknown key 'speed': expected one of uplink\n"),
    ROW(VM "disk16 = nvme1\n",
        "c:4: unknown key 'disk16': expected one of kernel, memory, min, max, balloon, initrd, "
        "cmdline, "
        "vcpus, autostart, shares, cpu-shares, tmem, on-triple-fault, module, diskN, netN\n"),
    ROW(VM "disk01 = nvme1\n",
        "c:4: unknown key 'disk01': expected one of kernel, memory, min, max, balloon, initrd, "
        "cmdline, "
        "vcpus, autostart, shares, cpu-shares, tmem, on-triple-fault, module, diskN, netN\n"),
    ROW("[host]\ndisk0 = nvme1\n" VM, "c:2: unknown key 'disk0': expected one of pool, store, "
                                      "format, console, when-idle, panic\n"),

    ROW("[host]\npool = 010M\nstore = autox\nconsole = com9\n[vm a]\nmemory = 4M\nmin = 8M\n[vm "
        "b\nkernel = k\n[vm b]\nkernel = nowhere\nmemory = 1\n",
        "c:2: pool: expected a size such as 256M, from 16M to 1T, got '010M'\n"
        "c:3: store: expected auto, none, nvme0, nvme0p2, vd0, ata0 or PARTUUID=..., got 'autox'\n"
        "c:4: console: expected com1..com4 or 0xPORT, and a speed after a comma, such as "
        "com1,115200, got 'com9'\n"
        "c:8: bad line: expected [host], [vm NAME] or [switch NAME], got '[vm b'\n"
        "c:5: VM 'a': expected a line 'kernel = PATH' in its section\n"
        "c:7: min: expected at most its memory, 4M, got '8M'\n"
        "c:11: kernel: expected a file that is on the boot volume, got 'nowhere'\n"
        "c:12: memory: expected a size such as 256M, from 4M to 1T, got '1'\n"),
