/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Init of the guests' initramfs.  The kernel hands it every key=value of the command line that it
 * does not know itself as an environment variable:
 *
 *   memcheck=SIZE    runs memcheck over SIZE, with passes, seed, threads, random, hot and rewrite
 *   run="COMMAND"    runs a shell command instead
 *   neither          a shell on the console
 *   modules=A,B...   loads these modules first, and gives their files' memory back
 *   swap=DEVICE      makes a swap area of it and swaps to it
 *
 * Then the VM ends through the status port: 0 ended well, 1 failed.  When the power button is
 * pressed it powers off at once, as systemd-logind has a Debian do; that takes the two modules of
 * Debian's kernel which the Makefile puts into /lib.
 *
 * Without a C library: five pages instead of two hundred, of a guest that is to fill all its
 * memory.
 */
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <linux/reboot.h>
#include <linux/sysinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STATUS_PORT   0xf4
#define ARGUMENTS_MAX 16
#define LINE_MAX      256
#define BUTTONS_MAX   4
#define PAGE_BYTES    4096

#define SWAP_FLAG_DISCARD 0x10000 /* <sys/swap.h> drags in the C library's */

/* ---- the kernel ---- */

static long call5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static long call3(long number, long a, long b, long c)
{
    return call5(number, a, b, c, 0, 0);
}

/* ---- text ---- */

static size_t length_of(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    return length;
}

static bool begins_with(const char *text, const char *beginning)
{
    size_t i = 0;

    while (beginning[i] != '\0' && text[i] == beginning[i]) {
        i++;
    }
    return beginning[i] == '\0';
}

static char line[LINE_MAX];
static size_t line_used;

static void say(const char *text)
{
    for (; *text != '\0' && line_used < sizeof(line); text++) {
        line[line_used++] = *text;
    }
}

static void say_number(uint64_t value)
{
    char digits[21];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    say(&digits[at]);
}

static void say_end(void)
{
    say("\n");
    call3(SYS_write, 1, (long)line, (long)line_used);
    line_used = 0;
}

/* ---- environment ---- */

static char *const *environment;

/* The whole key=value, or NULL. */
static char *environment_find(const char *key)
{
    size_t length = length_of(key);

    for (char *const *at = environment; *at != NULL; at++) {
        if (begins_with(*at, key) && (*at)[length] == '=') {
            return *at;
        }
    }
    return NULL;
}

static char *environment_value(const char *key)
{
    char *found = environment_find(key);

    return found != NULL ? found + length_of(key) + 1 : NULL;
}

/* ---- system ---- */

static void mount_one(const char *type, const char *where)
{
    call3(SYS_mkdir, (long)where, 0755, 0);
    if (call5(SYS_mount, (long)type, (long)where, (long)type, 0, 0) != 0) {
        say("init: cannot mount ");
        say(where);
        say_end();
    }
}

static void write_file(const char *path, const char *text)
{
    long file = call3(SYS_open, (long)path, O_WRONLY, 0);

    if (file >= 0) {
        call3(SYS_write, file, (long)text, (long)length_of(text));
        call3(SYS_close, file, 0, 0);
    }
}

/* The initramfs has no device nodes: devtmpfs brings the console. */
static void set_up(void)
{
    mount_one("devtmpfs", "/dev");
    long console = call3(SYS_open, (long)"/dev/console", O_RDWR, 0);
    for (long fd = 0; console >= 0 && fd < 3; fd++) {
        if (fd != console) {
            call3(SYS_dup2, console, fd, 0);
        }
    }
    mount_one("proc", "/proc");
    mount_one("sysfs", "/sys");
}

static unsigned online_cpus(void)
{
    unsigned char mask[128];
    long bytes = call3(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask);
    unsigned count = 0;

    for (long i = 0; i < bytes; i++) {
        for (unsigned bits = mask[i]; bits != 0; bits &= bits - 1) {
            count++;
        }
    }
    return count;
}

static void report(void)
{
    struct sysinfo info;
    struct {
        long seconds, nanoseconds;
    } up;

    call3(SYS_sysinfo, (long)&info, 0, 0);
    call3(SYS_clock_gettime, 7 /* CLOCK_BOOTTIME */, (long)&up, 0);
    say("init: ");
    say_number(online_cpus());
    say(" CPU(s), ");
    say_number((uint64_t)info.freeram * info.mem_unit / 1024);
    say(" KiB free of ");
    say_number((uint64_t)info.totalram * info.mem_unit / 1024);
    say(", up ");
    say_number((uint64_t)up.seconds * 1000 + (uint64_t)up.nanoseconds / 1000000);
    say(" ms");
    say_end();
}

static void flush_console(void)
{
    call3(SYS_ioctl, 1, 0x5409 /* TCSBRK */, 1); /* until the UART has sent it all */
}

static _Noreturn void power_off(void)
{
    call5(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0, 0);
    for (;;) {
        call3(SYS_pause, 0, 0, 0);
    }
}

/* ---- the power button ---- */

/* struct input_event of linux/input.h, without its C library's struct timeval. */
struct key_event {
    uint64_t seconds, microseconds;
    uint16_t type, code;
    int32_t value; /* of a key, 1: pressed */
};

static const uint64_t awaited = 1ull << (SIGCHLD - 1) | 1ull << (SIGIO - 1);
static long button[BUTTONS_MAX];
static unsigned buttons;

static void change_signal_mask(int how)
{
    call5(SYS_rt_sigprocmask, how, (long)&awaited, 0, sizeof(awaited), 0);
}

/* Its pages are wanted by memcheck, so the file goes.  0 or a negative errno. */
static long load_module(const char *path)
{
    long file = call3(SYS_open, (long)path, O_RDONLY, 0), error;

    if (file < 0) {
        return file;
    }
    error = call3(SYS_finit_module, file, (long)"", 0);
    call3(SYS_close, file, 0, 0);
    call3(SYS_unlink, (long)path, 0, 0);
    return error;
}

/* SIGIO when a key is pressed; it waits, like SIGCHLD, until wait_for_signal() takes it. */
static void watch_buttons(void)
{
    static char path[] = "/dev/input/event0";
    long self = call3(SYS_getpid, 0, 0, 0);

    load_module("/lib/button.ko");
    load_module("/lib/evdev.ko");
    change_signal_mask(SIG_BLOCK);
    while (buttons < BUTTONS_MAX) {
        long file = call3(SYS_open, (long)path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);

        if (file < 0) {
            break;
        }
        call3(SYS_fcntl, file, F_SETOWN, self);
        call3(SYS_fcntl, file, F_SETFL, O_NONBLOCK | O_ASYNC);
        button[buttons++] = file;
        path[sizeof(path) - 2]++;
    }
}

static bool power_pressed(void)
{
    struct key_event event;
    bool pressed = false;

    for (unsigned i = 0; i < buttons; i++) {
        while (call3(SYS_read, button[i], (long)&event, sizeof(event)) == (long)sizeof(event)) {
            pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
        }
    }
    return pressed;
}

/* A child has ended, perhaps. */
static void wait_for_signal(void)
{
    call5(SYS_rt_sigtimedwait, (long)&awaited, 0, 0, sizeof(awaited), 0);
    if (power_pressed()) {
        say("init: power button pressed, powering off");
        say_end();
        flush_console();
        call3(SYS_sync, 0, 0, 0);
        power_off();
    }
}

/* ---- modules and swap ---- */

static bool say_failed(const char *what, const char *path, long error)
{
    say("init: cannot ");
    say(what);
    say(" ");
    say(path);
    say(": error ");
    say_number((uint64_t)-error);
    say_end();
    return false;
}

/* The commas of the list become the ends of its paths. */
static bool load_modules(char *list)
{
    char *path = list;

    for (char *at = list;; at++) {
        bool last = *at == '\0';

        if (last || *at == ',') {
            *at = '\0';
            long error = load_module(path);
            if (error != 0) {
                return say_failed("load", path, error);
            }
            path = at + 1;
        }
        if (last) {
            return true;
        }
    }
}

/*
 * What mkswap would write, in the device's first page (the kernel's union swap_header): version 1,
 * the number of the last page, and the signature at the page's end.
 */
static bool make_swap(long file, long bytes)
{
    static union {
        unsigned char byte[PAGE_BYTES];
        uint32_t word[PAGE_BYTES / sizeof(uint32_t)];
    } page;
    static const char signature[] = "SWAPSPACE2";
    const size_t length = sizeof(signature) - 1;

    page.word[256] = 1; /* the boot block takes the first 1,024 bytes */
    page.word[257] = (uint32_t)(bytes / PAGE_BYTES - 1);
    for (size_t i = 0; i < length; i++) {
        page.byte[PAGE_BYTES - length + i] = (unsigned char)signature[i];
    }
    return call5(SYS_pwrite64, file, (long)&page, PAGE_BYTES, 0, 0) == PAGE_BYTES;
}

static bool swap_on(const char *device)
{
    long file = call3(SYS_open, (long)device, O_RDWR, 0);
    long bytes = file < 0 ? file : call3(SYS_lseek, file, 0, SEEK_END);

    if (bytes < 2 * PAGE_BYTES || !make_swap(file, bytes)) {
        return say_failed("make a swap area of", device, bytes < 0 ? bytes : 0);
    }
    call3(SYS_fsync, file, 0, 0);
    call3(SYS_close, file, 0, 0);
    long error = call3(SYS_swapon, (long)device, SWAP_FLAG_DISCARD, 0);
    return error == 0 || say_failed("swap to", device, error);
}

static bool prepare(void)
{
    char *modules = environment_value("modules"), *swap = environment_value("swap");

    return (modules == NULL || load_modules(modules)) && (swap == NULL || swap_on(swap));
}

/* Says the lines of the file that begin so, in one line; nothing if there is no such file. */
static void report_lines(const char *path, const char *beginning)
{
    static char text[8192];
    long file = call3(SYS_open, (long)path, O_RDONLY, 0);
    long bytes = 0, got;

    if (file < 0) {
        return;
    }
    while (bytes < (long)sizeof(text) &&
           (got = call3(SYS_read, file, (long)text + bytes, (long)sizeof(text) - bytes)) > 0) {
        bytes += got;
    }
    call3(SYS_close, file, 0, 0);
    say("init:");
    for (long i = 0, start = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            text[i] = '\0';
            if (begins_with(text + start, beginning)) {
                say(" ");
                say(text + start);
            }
            start = i + 1;
        }
    }
    say_end();
}

/* How many pages went out and came back, and what the driver of tmem0 did for it. */
static void report_swap(void)
{
    report_lines("/proc/vmstat", "psw");
    report_lines("/sys/block/tmem0/tmem/stat", "");
}

/* ---- what it runs ---- */

/* Runs the program; 0 only if it ended with status 0. */
static int run(char *const argv[])
{
    int status = 0;
    long child = call3(SYS_fork, 0, 0, 0);

    if (child == 0) {
        change_signal_mask(SIG_UNBLOCK);
        call3(SYS_execve, (long)argv[0], (long)argv, (long)environment);
        call3(SYS_exit_group, 127, 0, 0);
    }
    /* Init also reaps what others leave behind. */
    for (long ended = 0; ended != child;) {
        ended = call5(SYS_wait4, -1, (long)&status, WNOHANG, 0, 0);
        if (ended < 0) {
            return 1;
        }
        if (ended == 0) {
            wait_for_signal();
        }
    }
    if ((status & 0x7f) != 0) {
        say("init: ");
        say(argv[0]);
        say(": killed by signal ");
        say_number((uint64_t)(status & 0x7f));
        say_end();
        return 1;
    }
    return status >> 8 & 0xff;
}

static int run_memcheck(char *size)
{
    static const char *const keys[] = {"passes", "seed", "threads", "random", "hot", "rewrite"};
    static char path[] = "/bin/memcheck";
    char *argv[ARGUMENTS_MAX] = {path, size};
    unsigned count = 2;

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *setting = environment_find(keys[i]);
        if (setting != NULL) {
            argv[count++] = setting;
        }
    }
    /* Every page that it can get: no shell in RAM, next to no reserves for atomic allocations. */
    call3(SYS_unlink, (long)"/bin/busybox", 0, 0);
    write_file("/proc/sys/vm/min_free_kbytes", "256");
    /* More fits: with the old lists a full swap area strands pages that are in it already. */
    write_file("/sys/kernel/mm/lru_gen/enabled", "y");
    write_file("/proc/sys/vm/watermark_boost_factor", "0"); /* else 2 MiB after a fragmented one */
    write_file("/proc/sys/vm/lowmem_reserve_ratio", "65536 65536 65536 65536");
    return run(argv);
}

static int run_shell(char *command)
{
    char *install[] = {(char[]){"/bin/busybox"}, (char[]){"--install"}, (char[]){"-s"},
                       (char[]){"/bin"}, NULL};
    char *interactive[] = {(char[]){"/bin/busybox"}, (char[]){"setsid"}, (char[]){"-c"},
                           (char[]){"/bin/busybox"}, (char[]){"sh"},     NULL};
    char *one[] = {(char[]){"/bin/busybox"}, (char[]){"sh"}, (char[]){"-c"}, command, NULL};

    run(install);
    return run(command != NULL ? one : interactive);
}

static _Noreturn void end(int status)
{
    say("init: status ");
    say_number((uint64_t)status);
    say_end();
    flush_console();
    if (call3(SYS_ioperm, STATUS_PORT, 1, 1) == 0) {
        uint8_t value = status == 0 ? 0 : 1;
        __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"((uint16_t)STATUS_PORT));
    }
    power_off(); /* no status port here */
}

/* The System V ABI's process entry: argc, argv, NULL, envp, NULL on the stack. */
__attribute__((used)) static _Noreturn void begin(long *stack)
{
    environment = (char *const *)(stack + stack[0] + 2);
    set_up();
    report();
    watch_buttons();
    char *size = environment_value("memcheck");
    int status = 1;
    if (prepare()) {
        status = size != NULL ? run_memcheck(size) : run_shell(environment_value("run"));
        report_swap();
    }
    end(status);
}

__asm__(".global _start\n"
        "_start:\n\t"
        "xor %ebp, %ebp\n\t"
        "mov %rsp, %rdi\n\t"
        "and $-16, %rsp\n\t"
        "call begin\n");
