/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kexec KERNEL INITRD COMMAND-LINE [crash]: loads another kernel and goes on in it; with `crash`
 * into the memory that crashkernel= keeps free, and then crashes this kernel, which starts that
 * one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    bool crash = argc == 5 && strcmp(argv[4], "crash") == 0;
    int kernel, initrd, trigger;

    if (argc != 4 && !crash) {
        fprintf(stderr, "usage: kexec KERNEL INITRD COMMAND-LINE [crash]\n");
        return 2;
    }
    kernel = open(argv[1], O_RDONLY);
    initrd = open(argv[2], O_RDONLY);
    if (kernel < 0 || initrd < 0) {
        return fail("kexec: open");
    }
    if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3],
                crash ? KEXEC_FILE_ON_CRASH : 0) != 0) {
        return fail("kexec: load");
    }
    if (!crash) {
        syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
        return fail("kexec: start");
    }
    trigger = open("/proc/sysrq-trigger", O_WRONLY);
    if (trigger < 0 || write(trigger, "c", 1) != 1) {
        return fail("kexec: crash");
    }
    return 1;
}
