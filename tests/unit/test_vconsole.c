/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * virtio-console: each byte that the guest prints is shown once and in order, and each key arrives
 * so, whatever waits, is reset or is nonsense in between; and which console gets the keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vconsole.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN    (VM_SLOT_CONSOLE << 3)
#define SIZE     16u
#define MEMORY   (4u << 20)
#define RECEIVE  VIRTIO_CONSOLE_RECEIVE
#define TRANSMIT VIRTIO_CONSOLE_TRANSMIT
#define SHOWN    (VCONSOLE_PIECE * VCONSOLE_PIECES) /* in one exit */
#define TEXT     DRIVER_BUFFERS
#define KEYS     (DRIVER_BUFFERS + 0x100000u)
#define UART     0x3f8u

static struct virtio_driver driver;
static unsigned wakes;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    wakes++;
}

static struct vconsole *console(void)
{
    return vfake.vm.run.devices->console;
}

static void start_driver(void)
{
    driver_start(&driver, DEVFN, UINT64_MAX, VIRTIO_CONSOLE_QUEUES, SIZE);
}

static void start_machine(void)
{
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
}

static int begin(void **state)
{
    (void)state;
    start_machine();
    start_driver();
    wakes = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    assert_true(vm_devices_stop(&vfake.vm));
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    return 0;
}

static bool is_broken(void)
{
    return DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

static char letter(uint64_t n)
{
    return (char)('!' + n % 89);
}

/* Text that begins with the n-th letter. */
static void put_text(uint64_t at, uint64_t n, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        vfake.memory[at + i] = (uint8_t)letter(n + i);
    }
}

/* What was shown since the last call is the text from the n-th letter on; how much it was. */
static unsigned take_shown(uint64_t n)
{
    unsigned bytes = vfake.output_bytes;

    assert_true(bytes < sizeof(vfake.output));
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(vfake.output[i], letter(n + i));
    }
    vfake.output_bytes = 0;
    return bytes;
}

static bool was_given(unsigned queue, uint32_t *bytes)
{
    uint32_t head;

    return driver_used(&driver, queue, &head, bytes);
}

static void print_one(uint16_t head, uint64_t at, uint32_t bytes)
{
    const struct driver_segment segment = {at, bytes, false};

    driver_add(&driver, TRANSMIT, head, &segment, 1);
}

static void offer(uint16_t head, uint32_t bytes)
{
    const struct driver_segment segment = {KEYS + head * 0x1000u, bytes, true};

    driver_add(&driver, RECEIVE, head, &segment, 1);
}

static void type_text(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(vm_devices_type(&vfake.vm, *text));
    }
}

static void expect_keys(uint16_t head, const char *text)
{
    uint32_t got, bytes;

    assert_true(driver_used(&driver, RECEIVE, &got, &bytes));
    assert_int_equal(got, head);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(vfake.memory + KEYS + head * 0x1000u, text, bytes);
}

/* Makes hvc0 the one that gets keys. */
static void use_console(void)
{
    uint32_t bytes;

    put_text(TEXT, 0, 1);
    print_one(0, TEXT, 1);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_true(was_given(TRANSMIT, &bytes));
    vfake.output_bytes = 0;
}

/* ---- output ---- */

static void test_output(void **state)
{
    const struct driver_segment pieces[] = {
        {TEXT, 3, false}, {TEXT + 0x1000, 300, false}, {TEXT + 0x2ff0, 40, false}};
    uint32_t bytes = 1;

    (void)state;
    put_text(TEXT, 0, 3);
    put_text(TEXT + 0x1000, 3, 300);
    put_text(TEXT + 0x2ff0, 303, 40);
    driver_add(&driver, TRANSMIT, 0, pieces, 3);
    put_text(TEXT + 0x5000, 343, 1);
    print_one(3, TEXT + 0x5000, 1);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_int_equal(take_shown(0), 344);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(was_given(TRANSMIT, &bytes));
        assert_int_equal(bytes, 0);
    }
    assert_false(was_given(TRANSMIT, &bytes));
}

/* However long a chain is: an exit shows so much of it, and the next one goes on. */
static void test_output_is_bounded(void **state)
{
    uint64_t shown = 0, all = 1000000;
    uint32_t bytes;

    (void)state;
    put_text(TEXT, 0, (uint32_t)all);
    print_one(0, TEXT, (uint32_t)all);
    while (driver_notify(&driver, TRANSMIT) == BUS_PARK) {
        unsigned some = take_shown(shown);

        assert_int_equal(some, SHOWN);
        assert_false(was_given(TRANSMIT, &bytes));
        shown += some;
        assert_int_equal(wakes, shown / SHOWN);
    }
    assert_int_equal(shown + take_shown(shown), all);
    assert_true(was_given(TRANSMIT, &bytes));
}

/* Chains without anything to read end as well, and count. */
static void test_output_of_nothing(void **state)
{
    const struct driver_segment segment = {TEXT, 100, true};
    uint32_t bytes;
    unsigned given = 0;

    (void)state;
    for (unsigned i = 0; i < SIZE; i++) {
        driver_add(&driver, TRANSMIT, (uint16_t)i, &segment, 1);
    }
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    while (was_given(TRANSMIT, &bytes)) {
        given++;
    }
    assert_int_equal(given, SIZE);
    assert_int_equal(vfake.output_bytes, 0);
    assert_false(is_broken());
}

/* A console that is attached has no room for a while: the vCPU tries again, and nothing is lost. */
static void test_output_busy(void **state)
{
    const uint32_t all = SHOWN + 1000;
    uint32_t bytes;

    (void)state;
    put_text(TEXT, 0, all);
    print_one(0, TEXT, all);
    vfake.busy = true;
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
    assert_int_equal(wakes, 1);
    assert_int_equal(take_shown(0), 0);
    vfake.busy = false;
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
    assert_int_equal(take_shown(0), SHOWN);
    vfake.busy = true;
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
    assert_int_equal(take_shown(SHOWN), 0);
    assert_false(was_given(TRANSMIT, &bytes));
    vfake.busy = false;
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_int_equal(take_shown(SHOWN), 1000);
    assert_true(was_given(TRANSMIT, &bytes));
}

/* With nothing to print nobody waits for room. */
static void test_busy_for_nothing(void **state)
{
    (void)state;
    vfake.busy = true;
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_int_equal(wakes, 0);
}

static void test_output_waits(void **state)
{
    uint32_t bytes;

    (void)state;
    put_text(TEXT, 0, 600);
    print_one(0, TEXT, 600);
    for (unsigned i = 0; i < 3; i++) {
        vfake.wait_at = vfake.calls + (i == 0 ? 1 : 2); /* one piece more each time */
        assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
        assert_int_equal(take_shown(i == 0 ? 0 : (i - 1) * 256), i == 0 ? 0 : 256);
        assert_false(was_given(TRANSMIT, &bytes));
    }
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_int_equal(take_shown(512), 88);
    assert_int_equal(wakes, 0);
    assert_true(was_given(TRANSMIT, &bytes));
}

/* What was half shown is forgotten: the next driver's text is shown from its beginning. */
static void test_reset_in_the_middle(void **state)
{
    (void)state;
    put_text(TEXT, 0, 8000);
    print_one(0, TEXT, 8000);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_PARK);
    assert_int_equal(take_shown(0), SHOWN);
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    start_driver();
    print_one(0, TEXT, 100);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    assert_int_equal(take_shown(0), 100);
}

static void test_emergency(void **state)
{
    const uint64_t at = offsetof(struct virtio_console_config, emergency);

    (void)state;
    DRIVER_WRITE(&driver, status, 0);
    vfake_mmio_write(gpa(driver.config + at), 4, 'e');
    vfake_mmio_write(gpa(driver.config + at), 1, 'm');
    vfake_mmio_write(gpa(driver.config), 4, 'x');
    assert_int_equal(vfake.output_bytes, 2);
    assert_memory_equal(vfake.output, "em", 2);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + at), 4), 0);
}

/* ---- input ---- */

/* All that was typed at once comes in one buffer, if it fits. */
static void test_input(void **state)
{
    uint32_t bytes;

    (void)state;
    use_console();
    offer(0, 0x1000);
    offer(1, 0x1000);
    offer(2, 4);
    offer(3, 0x1000);
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    type_text("who is there");
    assert_false(was_given(RECEIVE, &bytes));
    vm_devices_send_typed(&vfake.vm);
    expect_keys(0, "who is there");
    type_text("x");
    vm_devices_send_typed(&vfake.vm);
    expect_keys(1, "x");
    type_text("abcdefg");
    vm_devices_send_typed(&vfake.vm);
    expect_keys(2, "abcd");
    expect_keys(3, "efg");
    assert_false(was_given(RECEIVE, &bytes));
}

/* Keys wait for buffers; when too many do, they are not taken until there is room. */
static void test_input_full(void **state)
{
    unsigned typed = 0;
    uint32_t bytes;

    (void)state;
    use_console();
    while (vm_devices_type(&vfake.vm, letter(typed))) {
        typed++;
        vm_devices_send_typed(&vfake.vm);
    }
    assert_int_equal(typed, VCONSOLE_TYPED_MAX);
    vfake.room_calls = 0;
    offer(0, 100);
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    assert_int_equal(vfake.room_calls, 1);
    assert_true(was_given(RECEIVE, &bytes));
    assert_int_equal(bytes, 100);
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(vfake.memory[KEYS + i], letter(i));
    }
    offer(1, 100);
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    assert_int_equal(vfake.room_calls, 1); /* nobody has asked since */
    assert_true(vm_devices_type(&vfake.vm, 'y'));
}

/* The buffer's page is out when a key comes: the device waits for it, once, and order is kept. */
static void test_input_waits(void **state)
{
    uint32_t bytes;

    (void)state;
    use_console();
    offer(0, 0x1000);
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    type_text("a");
    vfake.wait_at = vfake.calls + 1;
    vm_devices_send_typed(&vfake.vm);
    assert_false(was_given(RECEIVE, &bytes));
    type_text("b");
    vm_devices_send_typed(&vfake.vm); /* its waiter is taken */
    assert_false(was_given(RECEIVE, &bytes));
    vfake.wait_at = vfake.calls + 1;
    console()->device.waiter.wake(&console()->device.waiter);
    assert_false(was_given(RECEIVE, &bytes));
    console()->device.waiter.wake(&console()->device.waiter);
    expect_keys(0, "ab");
    /* The guest's own notification, which waits itself. */
    type_text("c");
    vm_devices_send_typed(&vfake.vm);
    offer(1, 0x1000);
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_PARK);
    assert_false(was_given(RECEIVE, &bytes));
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    expect_keys(1, "c");
}

/* A driver that goes takes with it what it has not read; who waits for room hears of it. */
static void test_input_reset(void **state)
{
    uint32_t bytes;

    (void)state;
    use_console();
    while (vm_devices_type(&vfake.vm, 'o')) {
    }
    vfake.room_calls = 0;
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(vfake.room_calls, 1);
    assert_int_equal(vfake.pins, 0);
    assert_false(vconsole_type(console(), 'x'));
    start_driver();
    offer(0, 0x1000);
    assert_int_equal(driver_notify(&driver, RECEIVE), BUS_DONE);
    assert_false(was_given(RECEIVE, &bytes));
    type_text("n");
    vm_devices_send_typed(&vfake.vm);
    expect_keys(0, "n");
}

/* ---- nonsense ---- */

static void test_hostile(void **state)
{
    static const struct driver_segment receive[] = {
        {KEYS, 16, false}, {MEMORY - 8, 512, true}, {0xfee00000, 16, true}};
    static const struct driver_segment transmit[] = {
        {MEMORY - 8, 16, false}, {0xfee00000, 16, false}, {UINT64_MAX - 15, 16, false}};
    unsigned broken = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(receive); i++) {
        start_driver();
        use_console();
        type_text("0123456789abcdef");
        driver_add(&driver, RECEIVE, 0, &receive[i], 1);
        vm_devices_send_typed(&vfake.vm);
        assert_true(is_broken());
        assert_int_equal(vfake.logs, ++broken);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(transmit); i++) {
        start_driver();
        driver_add(&driver, TRANSMIT, 0, &transmit[i], 1);
        assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
        assert_true(is_broken());
        assert_int_equal(vfake.logs, ++broken);
        assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
    }
    start_driver();
    use_console();
    assert_false(is_broken());
}

/* ---- which console ---- */

static bool uart_has_key(char c)
{
    return (vfake_port_in(UART + 5, 1) & 1) && vfake_port_in(UART, 1) == (uint8_t)c;
}

/* It is there, or has been; it is not used: the serial port is. */
static void test_keys_without_console(void **state)
{
    (void)state;
    type_text("a");
    assert_true(uart_has_key('a'));
    use_console();
    type_text("b");
    assert_false(uart_has_key('b'));
    DRIVER_WRITE(&driver, status, 0); /* as for suspend to idle */
    type_text("c");
    assert_true(uart_has_key('c'));
    start_driver();
    type_text("d");
    assert_false(uart_has_key('d'));
    vm_devices_reset(&vfake.vm);
    start_driver();
    type_text("e");
    assert_true(uart_has_key('e'));
}

static void uart_print(const char *text)
{
    for (; *text != '\0'; text++) {
        vfake_port_out(UART, 1, (uint8_t)*text);
    }
}

static void console_print(const char *text)
{
    uint32_t bytes = (uint32_t)strlen(text);

    memcpy(vfake.memory + TEXT, text, bytes);
    print_one(0, TEXT, bytes);
    assert_int_equal(driver_notify(&driver, TRANSMIT), BUS_DONE);
}

static bool goes_to_console(char c)
{
    type_text((const char[]){c, '\0'});
    return !uart_has_key(c);
}

static void test_keys_prompt(void **state)
{
    (void)state;
    uart_print("Loading, please wait..."); /* for ever */
    vfake_advance(KEYS_PROMPT_NS);
    console_print("a line\n");
    assert_true(goes_to_console('a'));
    uart_print("[ 1.0] half a line of the ker");
    assert_true(goes_to_console('b'));
    uart_print("nel\r\n");
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_console('c'));
    uart_print("login: ");
    vfake_advance(KEYS_PROMPT_NS - 1);
    assert_true(goes_to_console('d'));
    vfake_advance(1);
    assert_false(goes_to_console('e'));
    uart_print("root\r\n"); /* and types ahead */
    assert_false(goes_to_console('f'));
    console_print("login: ");
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_console('g'));
    uart_print("# "); /* both: it stays */
    vfake_advance(KEYS_PROMPT_NS);
    assert_true(goes_to_console('h'));
    console_print("root\n");
    assert_false(goes_to_console('i'));
}

/* The key behind a BREAK is a SysRq key, of the serial port. */
static void test_keys_after_break(void **state)
{
    (void)state;
    use_console();
    assert_true(vm_devices_break(&vfake.vm));
    (void)vfake_port_in(UART + 5, 1);
    (void)vfake_port_in(UART, 1);
    assert_false(goes_to_console('h'));
    assert_true(goes_to_console('i'));
}

/* ---- anything, in any order ---- */

static struct {
    uint64_t printed, shown; /* letters */
    uint64_t typed, read;
    bool out[SIZE], in[SIZE]; /* chains that the device has */
    uint32_t out_bytes[SIZE];
} random_guest;

static uint64_t below(uint64_t n)
{
    return support_random_below(n);
}

static uint16_t free_chain(const bool *taken)
{
    for (uint16_t i = 0; i < SIZE / 2; i++) {
        if (!taken[i]) {
            return i;
        }
    }
    return SIZE;
}

/* Chains of two pieces, of descriptors 2n and 2n + 1. */
static void random_print(void)
{
    uint16_t n = free_chain(random_guest.out);
    uint32_t first = 1 + (uint32_t)below(700), second = 1 + (uint32_t)below(5000);
    const struct driver_segment pieces[] = {{TEXT + n * 0x4000u, first, false},
                                            {TEXT + n * 0x4000u + 0x1000, second, false}};

    if (n == SIZE) {
        return;
    }
    put_text(pieces[0].address, random_guest.printed, first);
    put_text(pieces[1].address, random_guest.printed + first, second);
    driver_add(&driver, TRANSMIT, (uint16_t)(n * 2), pieces, 2);
    random_guest.printed += first + second;
    random_guest.out[n] = true;
}

static void random_offer(void)
{
    uint16_t n = free_chain(random_guest.in);

    if (n != SIZE) {
        offer(n, 1 + (uint32_t)below(300));
        random_guest.in[n] = true;
    }
}

static void random_type(void)
{
    for (uint64_t n = below(300); n > 0 && vm_devices_type(&vfake.vm, letter(random_guest.typed));
         n--) {
        random_guest.typed++;
    }
    vm_devices_send_typed(&vfake.vm);
}

static void random_look(void)
{
    uint32_t head, bytes;

    random_guest.shown += take_shown(random_guest.shown);
    while (driver_used(&driver, TRANSMIT, &head, &bytes)) {
        random_guest.out[head / 2] = false;
    }
    while (driver_used(&driver, RECEIVE, &head, &bytes)) {
        random_guest.in[head] = false;
        for (uint32_t i = 0; i < bytes; i++) {
            assert_int_equal(vfake.memory[KEYS + head * 0x1000u + i],
                             letter(random_guest.read + i));
        }
        random_guest.read += bytes;
    }
}

/* What has not been shown or given is lost. */
static void random_reset(void)
{
    random_look();
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(vfake.pins, 0);
    memset(&random_guest, 0, sizeof(random_guest));
    vfake.wait_often = false;
    start_driver();
}

static void random_step(void)
{
    switch (below(7)) {
    case 0:
        random_print();
        break;
    case 1:
        (void)driver_notify(&driver, TRANSMIT);
        break;
    case 2:
        random_offer();
        break;
    case 3:
        (void)driver_notify(&driver, RECEIVE);
        break;
    case 4:
        random_type();
        break;
    case 5:
        vfake.busy = below(3) == 0;
        vfake.wait_often = below(2) == 0;
        break;
    default:
        if (console()->waiting) {
            console()->device.waiter.wake(&console()->device.waiter);
        }
        break;
    }
    random_look();
}

/* When nothing waits any more, all has come. */
static void random_settle(void)
{
    vfake.busy = false;
    vfake.wait_often = false;
    for (unsigned i = 0; i < 1000 && (random_guest.shown != random_guest.printed ||
                                      random_guest.read != random_guest.typed);
         i++) {
        (void)driver_notify(&driver, TRANSMIT);
        random_offer();
        (void)driver_notify(&driver, RECEIVE);
        random_look();
    }
    assert_int_equal(random_guest.shown, random_guest.printed);
    assert_int_equal(random_guest.read, random_guest.typed);
}

static void test_random(void **state)
{
    uint64_t shown = 0, read = 0;

    (void)state;
    support_seed(1);
    use_console();
    memset(&random_guest, 0, sizeof(random_guest));
    for (unsigned round = 0; round < 300; round++) {
        for (uint64_t n = below(400); n > 0; n--) {
            random_step();
        }
        if (below(3) != 0) {
            random_settle();
        }
        shown += random_guest.shown;
        read += random_guest.read;
        random_reset();
    }
    assert_true(shown > 1000000 && read > 100000);
    assert_false(is_broken());
}

/* Rings and descriptors of random bytes: each call ends, and nothing but memory is touched. */
static void test_random_bytes(void **state)
{
    (void)state;
    support_seed(2);
    for (unsigned round = 0; round < 300; round++) {
        start_driver();
        for (unsigned i = 0; i < 2 * DRIVER_RING; i++) {
            vfake.memory[DRIVER_RINGS + i] =
                (uint8_t)(below(4) == 0 ? below(256) : below(2) * below(20));
        }
        for (unsigned queue = 0; queue < VIRTIO_CONSOLE_QUEUES; queue++) {
            driver_store16(DRIVER_RINGS + queue * DRIVER_RING + DRIVER_AVAIL + 2,
                           (uint16_t)below(SIZE + 1));
            (void)vconsole_type(console(), 'x');
            vconsole_send_typed(console());
            for (unsigned i = 0; i < 20; i++) {
                (void)driver_notify(&driver, queue);
                vfake.output_bytes = 0;
            }
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_output),
                                       CASE(test_output_is_bounded),
                                       CASE(test_output_of_nothing),
                                       CASE(test_output_busy),
                                       CASE(test_busy_for_nothing),
                                       CASE(test_output_waits),
                                       CASE(test_reset_in_the_middle),
                                       CASE(test_emergency),
                                       CASE(test_input),
                                       CASE(test_input_full),
                                       CASE(test_input_waits),
                                       CASE(test_input_reset),
                                       CASE(test_hostile),
                                       CASE(test_keys_without_console),
                                       CASE(test_keys_prompt),
                                       CASE(test_keys_after_break),
                                       CASE(test_random),
                                       CASE(test_random_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
