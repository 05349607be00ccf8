/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Init of the guests' initramfs.  The kernel hands it every key=value of the command line that it
 * does not know itself as an environment variable:
 *
 *   memcheck=SIZE   runs memcheck over SIZE, with passes, seed, threads, random, hot and rewrite
 *   run="COMMAND"   runs a shell command instead
 *   neither         a shell on the console
 *
 * Then the VM ends through the status port: 0 ended well, 1 failed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define STATUS_PORT 0xf4

static const char *const memcheck_keys[] = {"passes", "seed", "threads",
                                            "random", "hot",  "rewrite"};
#define MEMCHECK_KEYS (sizeof(memcheck_keys) / sizeof(memcheck_keys[0]))

static void mount_one(const char *type, const char *where)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, NULL) != 0) {
        perror(where);
    }
}

/* The initramfs has no device nodes: devtmpfs brings the console. */
static void open_console(void)
{
    mount_one("devtmpfs", "/dev");
    int console = open("/dev/console", O_RDWR);
    if (console >= 0) {
        dup2(console, 0);
        dup2(console, 1);
        dup2(console, 2);
        if (console > 2) {
            close(console);
        }
    }
    mount_one("proc", "/proc");
    mount_one("sysfs", "/sys");
}

static void report(void)
{
    struct utsname name;
    struct timespec up;

    uname(&name);
    clock_gettime(CLOCK_BOOTTIME, &up);
    printf("init: Linux %s, %ld CPU(s), %ld MiB free of %ld MiB, up %ld.%02ld s\n", name.release,
           sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_AVPHYS_PAGES) / 256,
           sysconf(_SC_PHYS_PAGES) / 256, (long)up.tv_sec, up.tv_nsec / 10000000);
    fflush(stdout);
}

/* Runs the program; 0 only if it ended with status 0. */
static int run(char *const argv[])
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        setsid();
        execv(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    /* Init also reaps what others leave behind. */
    for (pid_t ended = 0; ended != child;) {
        ended = wait(&status);
        if (ended < 0) {
            return 1;
        }
    }
    if (WIFSIGNALED(status)) {
        printf("init: %s: killed by signal %d\n", argv[0], WTERMSIG(status));
        return 1;
    }
    return WEXITSTATUS(status);
}

static int run_memcheck(char *size)
{
    static char text[MEMCHECK_KEYS][64];
    char *argv[MEMCHECK_KEYS + 3] = {"/bin/memcheck", size};
    unsigned count = 2;

    for (unsigned i = 0; i < MEMCHECK_KEYS; i++) {
        const char *value = getenv(memcheck_keys[i]);
        if (value != NULL) {
            snprintf(text[i], sizeof(text[i]), "%s=%s", memcheck_keys[i], value);
            argv[count++] = text[i];
        }
    }
    return run(argv);
}

static int run_shell(char *command)
{
    char *install[] = {"/bin/busybox", "--install", "-s", "/bin", NULL};
    char *interactive[] = {"/bin/busybox", "setsid", "-c", "/bin/busybox", "sh", NULL};
    char *one[] = {"/bin/busybox", "sh", "-c", command, NULL};

    run(install);
    setenv("PATH", "/bin", 1);
    return run(command != NULL ? one : interactive);
}

static _Noreturn void end(int status)
{
    printf("init: status %d\n", status);
    fflush(stdout);
    tcdrain(STDOUT_FILENO); /* the UART has sent it all */
    if (ioperm(STATUS_PORT, 1, 1) == 0) {
        outb(status == 0 ? 0 : 1, STATUS_PORT);
    }
    /* No status port: power off. */
    sync();
    reboot(RB_POWER_OFF);
    for (;;) {
        pause();
    }
}

int main(void)
{
    char *size, *command;

    open_console();
    report();
    size = getenv("memcheck");
    command = getenv("run");
    end(size != NULL ? run_memcheck(size) : run_shell(command));
}
