/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pair of 8259s: what the datasheet says of each mode, then random operations against a model
 * that is written differently: inputs one by one, and the order of priority as a list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/irq/vpic.h"
#include "tests/unit/xorshift.h"

#define MASTER VPIC_MASTER_PORT
#define SLAVE  VPIC_SLAVE_PORT
#define ELCR   VPIC_TRIGGER_PORT

static struct vpic pic;

static void out(uint16_t port, uint8_t value)
{
    vpic_write(&pic, port, value);
}

static uint8_t in(uint16_t port)
{
    return vpic_read(&pic, port);
}

/* As Linux does: vectors 30h and 38h, all open. */
static void init(uint8_t icw4)
{
    vpic_reset(&pic);
    out(MASTER, 0x11);
    out(MASTER + 1, 0x30);
    out(MASTER + 1, 0x04);
    out(MASTER + 1, icw4);
    out(SLAVE, 0x11);
    out(SLAVE + 1, 0x38);
    out(SLAVE + 1, 0x02);
    out(SLAVE + 1, 1);
    out(MASTER + 1, 0);
    out(SLAVE + 1, 0);
}

static void pulse(unsigned irq)
{
    vpic_set_line(&pic, irq, true);
}

static void drop(unsigned irq)
{
    vpic_set_line(&pic, irq, false);
}

/* ---- by the datasheet ---- */

static void power_on_is_quiet(void **state)
{
    (void)state;
    vpic_reset(&pic);
    for (unsigned irq = 0; irq < VPIC_LINES; irq++) {
        if (irq != VPIC_CASCADE) {
            pulse(irq);
            assert_false(vpic_open(&pic) >> irq & 1);
        }
    }
    assert_false(vpic_output(&pic));
    assert_int_equal(in(MASTER + 1), 0xfb);
    assert_int_equal(in(SLAVE + 1), 0xff);
    out(MASTER + 1, 0xfa); /* the request has waited */
    assert_true(vpic_output(&pic));
    assert_int_equal(vpic_acknowledge(&pic), 8);
}

static void nested(void **state)
{
    (void)state;
    init(1);
    pulse(4);
    assert_int_equal(vpic_acknowledge(&pic), 0x34);
    assert_false(vpic_output(&pic));
    pulse(5);
    assert_false(vpic_output(&pic)); /* below the one in service */
    pulse(8);
    assert_true(vpic_output(&pic));
    assert_int_equal(in(MASTER), 0x24); /* IRR: 5, and the slave's */
    assert_int_equal(vpic_acknowledge(&pic), 0x38);
    out(MASTER, 0x0b);
    assert_int_equal(in(MASTER), 0x14);
    out(SLAVE, 0x0b);
    assert_int_equal(in(SLAVE), 0x01);
    out(SLAVE, 0x20);
    out(MASTER, 0x20); /* ends 2 */
    assert_false(vpic_output(&pic));
    out(MASTER, 0x64); /* ends 4 */
    assert_int_equal(vpic_acknowledge(&pic), 0x35);
}

/* Behind a slave's request of its own the master hears of a better one only in special mode. */
static void special_fully_nested(void **state)
{
    (void)state;
    for (unsigned special = 0; special < 2; special++) {
        init(special ? 0x11 : 1);
        pulse(12);
        assert_int_equal(vpic_acknowledge(&pic), 0x3c);
        pulse(9);
        assert_int_equal(vpic_output(&pic), special);
        pulse(14);
        out(SLAVE, 0x20);
        out(MASTER, 0x20);
        assert_int_equal(vpic_acknowledge(&pic), 0x39);
    }
}

static void spurious(void **state)
{
    (void)state;
    init(1);
    pulse(4);
    assert_true(vpic_output(&pic));
    drop(4);
    assert_false(vpic_output(&pic));
    assert_int_equal(vpic_acknowledge(&pic), 0x37);
    out(MASTER, 0x0b);
    assert_int_equal(in(MASTER), 0); /* nothing is in service */
    pulse(10);
    out(SLAVE + 1, 0xff);
    assert_false(vpic_output(&pic));
    out(SLAVE + 1, 0);
    assert_int_equal(vpic_acknowledge(&pic), 0x3a);
}

static void levels_and_edges(void **state)
{
    (void)state;
    init(3); /* automatic end of interrupt */
    out(ELCR, 0xff);
    out(ELCR + 1, 0xff);
    assert_int_equal(in(ELCR), 0xf8);
    assert_int_equal(in(ELCR + 1), 0xde);
    pulse(5);
    assert_int_equal(vpic_acknowledge(&pic), 0x35);
    assert_int_equal(vpic_acknowledge(&pic), 0x35); /* as long as it is high */
    drop(5);
    assert_false(vpic_output(&pic));
    pulse(1);
    assert_int_equal(vpic_acknowledge(&pic), 0x31);
    assert_false(vpic_output(&pic)); /* an edge is one */
    pulse(1);
    assert_false(vpic_output(&pic));
    drop(1);
    pulse(1);
    assert_true(vpic_output(&pic));
    out(MASTER, 0x11); /* ICW1 forgets edges, and is silent until it has its words */
    out(MASTER + 1, 0x40);
    pulse(3);
    assert_false(vpic_output(&pic));
    out(MASTER + 1, 0x04);
    out(MASTER + 1, 0x01);
    assert_true(vpic_output(&pic));
    assert_int_equal(vpic_acknowledge(&pic), 0x43);
}

static void rotation(void **state)
{
    (void)state;
    init(1);
    out(MASTER, 0xc3); /* 3 is the lowest, 4 the highest */
    pulse(3);
    pulse(4);
    pulse(0);
    assert_int_equal(vpic_acknowledge(&pic), 0x34);
    out(MASTER, 0xa0); /* and 4 goes to the end */
    assert_int_equal(vpic_acknowledge(&pic), 0x30);
    out(MASTER, 0xe0);
    pulse(1);
    assert_int_equal(vpic_acknowledge(&pic), 0x31);
    out(MASTER, 0x20);
    assert_int_equal(vpic_acknowledge(&pic), 0x33);
}

static void special_mask_and_poll(void **state)
{
    (void)state;
    init(1);
    pulse(1);
    assert_int_equal(vpic_acknowledge(&pic), 0x31);
    pulse(6);
    out(MASTER + 1, 0x02);
    assert_false(vpic_output(&pic));
    out(MASTER, 0x68); /* special mask mode: what is masked holds nobody back */
    assert_true(vpic_output(&pic));
    out(MASTER, 0x0c); /* poll */
    assert_int_equal(in(MASTER), 0x86);
    out(MASTER, 0x0b);
    assert_int_equal(in(MASTER), 0x42);
    out(MASTER, 0x20); /* not the masked one */
    assert_int_equal(in(MASTER), 0x02);
    out(MASTER, 0x48);
    out(MASTER, 0x20);
    assert_int_equal(in(MASTER), 0);
    out(MASTER, 0x0c);
    assert_int_equal(in(MASTER + 1), 0); /* nothing: and the poll is over */
    assert_int_equal(in(MASTER + 1), 0x02);
}

/* ---- the model ---- */

struct model_input {
    bool line, edge, level, masked, served;
};

struct model_chip {
    struct model_input input[8];
    unsigned order[8];    /* of priority, the highest first */
    unsigned base, words; /* words: of an initialisation that are missing; bit i: ICW i */
    bool single, auto_eoi, rotate, nested_special, special_mask, poll, read_isr;
};

static struct model_chip model[2];

static bool model_asks(const struct model_chip *chip, unsigned i, bool cascade)
{
    const struct model_input *input = &chip->input[i];

    return (input->level ? input->line : input->edge) || (i == 2 && cascade);
}

/* Down the list: the first that asks, unless one that is served comes before or is it. */
static int model_next(const struct model_chip *chip, bool cascade)
{
    for (unsigned n = 0; n < 8 && chip->words == 0; n++) {
        unsigned i = chip->order[n];
        bool holds = chip->input[i].served && !(chip->special_mask && chip->input[i].masked) &&
                     !(i == 2 && chip == &model[0] && chip->nested_special);

        if (holds) {
            return -1;
        }
        if (model_asks(chip, i, cascade) && !chip->input[i].masked) {
            return (int)i;
        }
    }
    return -1;
}

static bool model_cascade(void)
{
    return !model[0].single && model_next(&model[1], false) >= 0;
}

static void model_lowest(struct model_chip *chip, unsigned input)
{
    for (unsigned n = 0; n < 8; n++) {
        chip->order[n] = (input + 1 + n) & 7;
    }
}

static void model_take(struct model_chip *chip, unsigned i)
{
    chip->input[i].edge = false;
    if (!chip->auto_eoi) {
        chip->input[i].served = true;
    } else if (chip->rotate) {
        model_lowest(chip, i);
    }
}

static unsigned model_acknowledge(void)
{
    int behind = model_next(&model[1], false);
    int first = model_next(&model[0], model_cascade());

    if (first < 0) {
        return model[0].base + 7;
    }
    model_take(&model[0], (unsigned)first);
    if (first != 2 || model[0].single) {
        return model[0].base + (unsigned)first;
    }
    if (behind >= 0) {
        model_take(&model[1], (unsigned)behind);
    }
    return model[1].base + (unsigned)(behind < 0 ? 7 : behind);
}

static void model_eoi(struct model_chip *chip, uint8_t value)
{
    for (unsigned n = 0; n < 8; n++) {
        unsigned i = chip->order[n];
        bool meant = value & 0x40
                         ? i == (value & 7)
                         : chip->input[i].served && !(chip->special_mask && chip->input[i].masked);

        if (meant) {
            chip->input[i].served = false;
            if (value & 0x80) {
                model_lowest(chip, i);
            }
            return;
        }
    }
}

static void model_command(struct model_chip *chip, uint8_t value)
{
    if (value & 0x10) {
        for (unsigned i = 0; i < 8; i++) {
            struct model_input *input = &chip->input[i];

            input->edge = input->masked = input->served = false;
        }
        model_lowest(chip, 7);
        chip->single = value & 2;
        chip->words = 4 | (chip->single ? 0 : 8) | (value & 1 ? 16 : 0);
        chip->auto_eoi = chip->rotate = chip->nested_special = false;
        chip->special_mask = chip->poll = chip->read_isr = false;
    } else if (value & 8) {
        chip->poll = value & 4;
        chip->read_isr = value & 2 ? value & 1 : chip->read_isr;
        chip->special_mask = value & 0x40 ? value & 0x20 : chip->special_mask;
    } else if (value & 0x20) {
        model_eoi(chip, value);
    } else if (value & 0x40) {
        if (value & 0x80) {
            model_lowest(chip, value & 7);
        }
    } else {
        chip->rotate = value & 0x80;
    }
}

static void model_data(struct model_chip *chip, uint8_t value)
{
    unsigned word = chip->words ? (unsigned)__builtin_ctz(chip->words) : 0;

    chip->words &= chip->words - 1;
    if (word == 2) {
        chip->base = value & 0xf8;
    } else if (word == 4) {
        chip->auto_eoi = value & 2;
        chip->nested_special = value & 0x10;
    } else if (word == 0) {
        chip->words = 0;
        for (unsigned i = 0; i < 8; i++) {
            chip->input[i].masked = value >> i & 1;
        }
    }
}

static void model_write(uint16_t port, uint8_t value)
{
    struct model_chip *chip = &model[(port & ~1u) == SLAVE];

    if ((port & ~1u) == ELCR) {
        value &= port & 1 ? 0xde : 0xf8;
        for (unsigned i = 0; i < 8; i++) {
            model[port & 1].input[i].level = value >> i & 1;
        }
    } else if (port & 1) {
        model_data(chip, value);
    } else {
        model_command(chip, value);
    }
}

static unsigned model_read(uint16_t port)
{
    unsigned which = (port & ~1u) == SLAVE;
    struct model_chip *chip = &model[which];
    bool cascade = which == 0 && model_cascade();
    unsigned masks = 0, requests = 0, served = 0, levels = 0;
    int next = model_next(chip, cascade);

    for (unsigned i = 0; i < 8; i++) {
        masks |= (unsigned)chip->input[i].masked << i;
        requests |= (unsigned)model_asks(chip, i, cascade) << i;
        served |= (unsigned)chip->input[i].served << i;
        levels |= (unsigned)model[port & 1].input[i].level << i;
    }
    if ((port & ~1u) == ELCR) {
        return levels;
    }
    if (chip->poll) {
        chip->poll = false;
        if (next >= 0) {
            model_take(chip, (unsigned)next);
        }
        return next < 0 ? 0 : 0x80u | (unsigned)next;
    }
    return port & 1 ? masks : chip->read_isr ? served : requests;
}

static void model_line(unsigned irq, bool level)
{
    struct model_input *input = &model[irq / 8].input[irq % 8];

    input->edge = level && (input->edge || !input->line);
    input->line = level;
}

static void model_reset(void)
{
    memset(model, 0, sizeof(model));
    for (unsigned c = 0; c < 2; c++) {
        model_lowest(&model[c], 7);
        model[c].base = c ? 0x70 : 8;
        for (unsigned i = 0; i < 8; i++) {
            model[c].input[i].masked = c == 1 || i != 2;
        }
    }
}

static void random_operations(void **state)
{
    static const uint16_t ports[] = {MASTER, MASTER + 1, SLAVE, SLAVE + 1, ELCR, ELCR + 1};
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 0x8259, acknowledged = 0;

    (void)state;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    vpic_reset(&pic);
    model_reset();
    for (unsigned step = 0; step < 2000000; step++) {
        uint64_t chance = xorshift64(&seed);
        uint16_t port = ports[chance >> 8 & 1 ? (chance >> 9) % 2 * 2 : (chance >> 9) % 6];
        uint8_t value = (uint8_t)(chance >> 16);
        unsigned irq = chance >> 24 & 15;

        switch (chance % 16) {
        case 0: /* mostly OCWs, else it is initialised all the time */
            if (chance >> 40 & 15) {
                value &= port & 1 ? 0xff : 0xef;
            }
            out(port, value);
            model_write(port, value);
            break;
        case 1:
            assert_int_equal(in(port), model_read(port));
            break;
        case 2:
            assert_int_equal(vpic_acknowledge(&pic), model_acknowledge());
            break;
        case 3: /* a master that is never told of the end hears nothing */
        case 4:
            out(chance & 0x100 ? MASTER : SLAVE, 0x20);
            model_write(chance & 0x100 ? MASTER : SLAVE, 0x20);
            break;
        default:
            irq = irq == VPIC_CASCADE ? 7 : irq;
            vpic_set_line(&pic, irq, chance >> 32 & 1);
            model_line(irq, chance >> 32 & 1);
            break;
        }
        assert_int_equal(vpic_output(&pic), model_next(&model[0], model_cascade()) >= 0);
        if (vpic_output(&pic) && chance >> 48 & 1) {
            assert_int_equal(vpic_acknowledge(&pic), model_acknowledge());
            acknowledged++;
        }
    }
    assert_true(acknowledged > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_on_is_quiet),     cmocka_unit_test(nested),
        cmocka_unit_test(special_fully_nested),  cmocka_unit_test(spurious),
        cmocka_unit_test(levels_and_edges),      cmocka_unit_test(rotation),
        cmocka_unit_test(special_mask_and_poll), cmocka_unit_test(random_operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
