/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loader says: to COM1 by its registers, and to the firmware's screens.  A firmware
 * console that is itself a serial terminal is left out, or each line would appear twice on the
 * wire.
 */
#include "boot/loader.h"

#include <stdarg.h>

#include "arch/x86/hw/ports.h"
#include "arch/x86/hw/uart16550.h"

#define SCREENS_MAX 4

#define WAIT_ROUNDS 100000 /* a UART that is not there must not stop the boot */

#define WAIT_SECONDS 60u /* for a key */
#define WAIT_STEP_MS 10u

/* Device path nodes, UEFI 2.10 section 10.3, Device Path Nodes */
#define NODE_MESSAGING 3
#define NODE_UART      14
#define NODE_END       0x7f

static SIMPLE_TEXT_OUTPUT_INTERFACE *screen[SCREENS_MAX];
static unsigned screen_count;
static bool com1_present;
static bool
    debug_port_present; /* the tool that started the emulator believes only what comes there */

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void com1_init(void)
{
    debug_port_present = in8(IOPORT_DEBUG) == IOPORT_DEBUG;
    com1_present = in8(IOPORT_COM1 + UART_LSR) != 0xff;
    if (!com1_present) {
        return;
    }
    out8(IOPORT_COM1 + UART_IER, 0); /* no interrupts */
    out8(IOPORT_COM1 + UART_LCR, LCR_DLAB);
    out8(IOPORT_COM1 + 0, 1); /* 115200 */
    out8(IOPORT_COM1 + 1, 0);
    out8(IOPORT_COM1 + UART_LCR, LCR_8N1);
    out8(IOPORT_COM1 + 2, 0x01); /* FIFO on, kept */
    out8(IOPORT_COM1 + 4, 0x0b); /* DTR, RTS, OUT2 */
}

static void com1_put(char c)
{
    if (!com1_present) {
        return;
    }
    for (unsigned i = 0; i < WAIT_ROUNDS && !(in8(IOPORT_COM1 + UART_LSR) & LSR_THRE); i++) {
    }
    out8(IOPORT_COM1, (uint8_t)c);
}

/* The last line must be on the wire before the power goes. */
static void com1_drain(void)
{
    for (unsigned i = 0;
         i < WAIT_ROUNDS && com1_present && !(in8(IOPORT_COM1 + UART_LSR) & LSR_TEMT); i++) {
    }
}

static bool path_has_uart(const EFI_DEVICE_PATH *path)
{
    while ((path->Type & 0x7f) != NODE_END) {
        unsigned length = path->Length[0] | path->Length[1] << 8;
        if (path->Type == NODE_MESSAGING && path->SubType == NODE_UART) {
            return true;
        }
        if (length < sizeof(*path)) {
            return false;
        }
        path = (const EFI_DEVICE_PATH *)(const void *)((const char *)path + length);
    }
    return false;
}

/* The console splitter's own handle has no device path: its parts are used instead of it. */
void print_init(void)
{
    EFI_GUID text_guid = SIMPLE_TEXT_OUTPUT_PROTOCOL;
    EFI_GUID path_guid = DEVICE_PATH_PROTOCOL;
    EFI_HANDLE handle[16];
    UINTN bytes = sizeof(handle);

    com1_init();
    if (loader.boot->LocateHandle(ByProtocol, &text_guid, NULL, &bytes, handle) != EFI_SUCCESS) {
        bytes = 0;
    }
    for (UINTN i = 0; i < bytes / sizeof(handle[0]) && screen_count < SCREENS_MAX; i++) {
        void *path, *text;
        if (loader.boot->HandleProtocol(handle[i], &path_guid, &path) == EFI_SUCCESS &&
            loader.boot->HandleProtocol(handle[i], &text_guid, &text) == EFI_SUCCESS &&
            !path_has_uart(path)) {
            screen[screen_count++] = text;
        }
    }
    /* The firmware's terminal may have left a colour and half a line behind. */
    for (const char *c = "\033[0m\r\n"; *c != '\0'; c++) {
        com1_put(*c);
    }
}

void print_leave_firmware(void)
{
    screen_count = 0;
}

static void put(char c)
{
    CHAR16 wide[3] = {(CHAR16)(unsigned char)c, 0, 0};

    if (c == '\n') {
        com1_put('\r');
        wide[0] = '\r';
        wide[1] = '\n';
    }
    com1_put(c);
    if (debug_port_present) {
        out8(IOPORT_DEBUG, (uint8_t)c);
    }
    for (unsigned i = 0; i < screen_count; i++) {
        screen[i]->OutputString(screen[i], wide);
    }
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[24];
    unsigned count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0) {
        put(digits[--count]);
    }
}

static void put_string(const char *text)
{
    while (*text != '\0') {
        put(*text++);
    }
}

static void print_list(const char *format, va_list list)
{
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        bool wide = *++format == 'l';
        if (wide) {
            format++;
        }
        if (*format == 's') {
            put_string(va_arg(list, const char *));
        } else if (*format == '%') {
            put('%');
        } else {
            uint64_t value = wide ? va_arg(list, uint64_t) : va_arg(list, unsigned);
            put_number(value, *format == 'x' ? 16 : 10);
        }
    }
}

void loader_print(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print_list(format, list);
    va_end(list);
}

static _Noreturn void power_off(void)
{
    com1_drain();
    loader.system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

void loader_fail(const char *reason, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print_list(format, list);
    va_end(list);
    loader_print("\nspillway: PANIC: %s\n", reason);
    power_off();
}

static bool key_pressed(void)
{
    SIMPLE_INPUT_INTERFACE *keyboard = loader.system->ConIn;
    EFI_INPUT_KEY key;

    if (com1_present && in8(IOPORT_COM1 + UART_LSR) & LSR_DATA) {
        return true;
    }
    return keyboard != NULL && keyboard->ReadKeyStroke(keyboard, &key) == EFI_SUCCESS;
}

void loader_refuse(const char *format, ...)
{
    va_list list;

    loader_print("spillway: configuration: ");
    va_start(list, format);
    print_list(format, list);
    va_end(list);
    loader_print("\nspillway: configuration: 1 error, no guest is started; off in 60 s, or at a "
                 "key\n");
    for (unsigned i = 0; i < WAIT_SECONDS * 1000 / WAIT_STEP_MS && !key_pressed(); i++) {
        loader.boot->Stall(WAIT_STEP_MS * 1000);
    }
    power_off();
}
