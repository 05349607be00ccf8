/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/irq/vpic.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"

#define INPUTS   8u
#define SPURIOUS 7u /* 8259A datasheet, "Interrupt Sequence" */

#define ICW1        0x10 /* written to the first port; else it is an OCW */
#define ICW1_IC4    0x01
#define ICW1_SINGLE 0x02
#define ICW2_BASE   0xf8
#define ICW4_AEOI   0x02
#define ICW4_SFNM   0x10

#define OCW3           0x08
#define OCW3_READ_ISR  0x01
#define OCW3_READ      0x02 /* bit 0 chooses the register that is read */
#define OCW3_POLL      0x04
#define OCW3_SMM       0x20
#define OCW3_ESMM      0x40 /* bit 5 sets or clears the special mask mode */
#define OCW2_INPUT     BITS(2, 0)
#define OCW2_COMMAND   BITS(7, 5)
#define POLL_REQUESTED 0x80

enum ocw2_command {
    AEOI_ROTATE_OFF = 0,
    EOI = 1,
    EOI_SPECIFIC = 3,
    AEOI_ROTATE_ON = 4,
    EOI_ROTATE = 5,
    SET_PRIORITY = 6,
    EOI_SPECIFIC_ROTATE = 7,
};

/* Inputs 0, 1, 2, 8 and 13 are edge-triggered whatever is written. */
static const uint8_t trigger_mask[2] = {0xf8, 0xde};

/* ---- who is next ---- */

/* The input of those bits that has the highest priority; INPUTS: none. */
static unsigned highest(const struct vpic_chip *chip, uint8_t bits, unsigned *rank)
{
    for (*rank = 0; *rank < INPUTS; ++*rank) {
        unsigned input = (chip->lowest + 1 + *rank) % INPUTS;

        if (bits & BIT(input)) {
            return input;
        }
    }
    return INPUTS;
}

static uint8_t irr_of(const struct vpic_chip *chip)
{
    return (uint8_t)((chip->edges & ~chip->trigger) | (chip->lines & chip->trigger));
}

/* The input that may interrupt now; INPUTS: none.  `cascade`: what its slave asks for. */
static unsigned next_of(const struct vpic_chip *chip, bool master, bool cascade)
{
    uint8_t requests = irr_of(chip);
    uint8_t service = chip->isr;
    unsigned requested, served, input;

    if (chip->icw_next != 0) {
        return INPUTS;
    }
    requests |= cascade ? (uint8_t)BIT(VPIC_CASCADE) : 0;
    if (chip->special_mask) {
        service &= (uint8_t)~chip->imr;
    }
    if (master && chip->fully_nested_special) {
        service &= (uint8_t)~BIT(VPIC_CASCADE);
    }
    input = highest(chip, requests & (uint8_t)~chip->imr, &requested);
    (void)highest(chip, service, &served);
    return requested < served ? input : INPUTS;
}

static unsigned next_of_slave(const struct vpic *pic)
{
    return next_of(&pic->chip[1], false, false);
}

static bool cascade_of(const struct vpic *pic)
{
    return !pic->chip[0].single && next_of_slave(pic) < INPUTS;
}

static unsigned next_of_master(const struct vpic *pic)
{
    return next_of(&pic->chip[0], true, cascade_of(pic));
}

static unsigned next_of_chip(const struct vpic *pic, unsigned index)
{
    return index == 0 ? next_of_master(pic) : next_of_slave(pic);
}

bool vpic_output(const struct vpic *pic)
{
    return next_of_master(pic) < INPUTS;
}

/* ---- acknowledgement and end of interrupt ---- */

static void take(struct vpic_chip *chip, unsigned input)
{
    chip->edges &= (uint8_t)~BIT(input);
    if (!chip->auto_eoi) {
        chip->isr |= (uint8_t)BIT(input);
    } else if (chip->rotate_auto_eoi) {
        chip->lowest = (uint8_t)input;
    }
}

/* Vector of one chip's part of the acknowledgement. */
static uint8_t take_next(struct vpic_chip *chip, unsigned input)
{
    if (input < INPUTS) {
        take(chip, input);
    } else {
        input = SPURIOUS;
    }
    return (uint8_t)(chip->base + input);
}

uint8_t vpic_acknowledge(struct vpic *pic)
{
    unsigned input = next_of_master(pic);
    bool slave = input == VPIC_CASCADE && !pic->chip[0].single;
    unsigned behind = next_of_slave(pic);
    uint8_t vector = take_next(&pic->chip[0], input);

    return slave ? take_next(&pic->chip[1], behind) : vector;
}

/* A non-specific one ends what is served with the highest priority, and is not hidden by the
 * special mask mode. */
static void end_of_interrupt(struct vpic_chip *chip, unsigned input, bool specific, bool rotate)
{
    unsigned rank;

    if (!specific) {
        uint8_t hidden = chip->special_mask ? chip->imr : 0;

        input = highest(chip, chip->isr & (uint8_t)~hidden, &rank);
    }
    if (input < INPUTS) {
        chip->isr &= (uint8_t)~BIT(input);
        chip->lowest = rotate ? (uint8_t)input : chip->lowest;
    }
}

/* ---- lines ---- */

void vpic_set_line(struct vpic *pic, unsigned irq, bool level)
{
    struct vpic_chip *chip = &pic->chip[irq / INPUTS % 2];
    uint8_t bit = (uint8_t)BIT(irq % INPUTS);

    ASSERT(irq < VPIC_LINES && irq != VPIC_CASCADE);
    if (!level) {
        chip->lines &= (uint8_t)~bit;
        chip->edges &= (uint8_t)~bit;
    } else if (!(chip->lines & bit)) {
        chip->lines |= bit;
        chip->edges |= bit;
    }
}

uint16_t vpic_open(const struct vpic *pic)
{
    uint16_t imr = (uint16_t)(pic->chip[0].imr | pic->chip[1].imr << 8);

    return imr & BIT(VPIC_CASCADE) ? (uint8_t)~imr : (uint16_t)~imr;
}

uint16_t vpic_requests(const struct vpic *pic)
{
    return (uint16_t)(irr_of(&pic->chip[0]) | irr_of(&pic->chip[1]) << 8);
}

/* ---- ports ---- */

/* "Initialization Command Words": what ICW1 resets. */
static void write_icw1(struct vpic_chip *chip, uint8_t value)
{
    chip->icw_next = 2;
    chip->single = (value & ICW1_SINGLE) != 0;
    chip->icw4_follows = (value & ICW1_IC4) != 0;
    chip->edges = 0;
    chip->imr = 0;
    chip->isr = 0;
    chip->lowest = INPUTS - 1;
    chip->special_mask = chip->poll = chip->read_isr = false;
    chip->auto_eoi = chip->rotate_auto_eoi = chip->fully_nested_special = false;
}

static void write_ocw2(struct vpic_chip *chip, uint8_t value)
{
    unsigned input = FIELD_GET(OCW2_INPUT, value);
    enum ocw2_command command = FIELD_GET(OCW2_COMMAND, value);

    switch (command) {
    case EOI:
    case EOI_ROTATE:
        end_of_interrupt(chip, 0, false, command == EOI_ROTATE);
        break;
    case EOI_SPECIFIC:
    case EOI_SPECIFIC_ROTATE:
        end_of_interrupt(chip, input, true, command == EOI_SPECIFIC_ROTATE);
        break;
    case AEOI_ROTATE_OFF:
    case AEOI_ROTATE_ON:
        chip->rotate_auto_eoi = command == AEOI_ROTATE_ON;
        break;
    case SET_PRIORITY:
        chip->lowest = (uint8_t)input;
        break;
    }
}

static void write_ocw3(struct vpic_chip *chip, uint8_t value)
{
    chip->poll = (value & OCW3_POLL) != 0;
    if (value & OCW3_READ) {
        chip->read_isr = (value & OCW3_READ_ISR) != 0;
    }
    if (value & OCW3_ESMM) {
        chip->special_mask = (value & OCW3_SMM) != 0;
    }
}

/* The second port: the ICW that is expected, or the mask. */
static void write_data(struct vpic_chip *chip, uint8_t value)
{
    switch (chip->icw_next) {
    case 2:
        chip->base = value & ICW2_BASE;
        chip->icw_next = !chip->single ? 3 : chip->icw4_follows ? 4 : 0;
        break;
    case 3: /* who is whose slave: soldered */
        chip->icw_next = chip->icw4_follows ? 4 : 0;
        break;
    case 4:
        chip->auto_eoi = (value & ICW4_AEOI) != 0;
        chip->fully_nested_special = (value & ICW4_SFNM) != 0;
        chip->icw_next = 0;
        break;
    default:
        chip->imr = value;
        break;
    }
}

static uint8_t read_poll(struct vpic *pic, unsigned index)
{
    unsigned input = next_of_chip(pic, index);

    pic->chip[index].poll = false;
    if (input == INPUTS) {
        return 0;
    }
    take(&pic->chip[index], input);
    return (uint8_t)(POLL_REQUESTED | input);
}

static unsigned chip_of(uint16_t port)
{
    return (port & ~1u) == VPIC_SLAVE_PORT;
}

uint8_t vpic_read(struct vpic *pic, uint16_t port)
{
    struct vpic_chip *chip = &pic->chip[chip_of(port)];
    uint8_t irr;

    if ((port & ~1u) == VPIC_TRIGGER_PORT) {
        return pic->chip[port & 1].trigger;
    }
    if (chip->poll) {
        return read_poll(pic, chip_of(port));
    }
    if (port & 1) {
        return chip->imr;
    }
    irr = irr_of(chip);
    if (chip == &pic->chip[0] && cascade_of(pic)) {
        irr |= (uint8_t)BIT(VPIC_CASCADE);
    }
    return chip->read_isr ? chip->isr : irr;
}

void vpic_write(struct vpic *pic, uint16_t port, uint8_t value)
{
    struct vpic_chip *chip = &pic->chip[chip_of(port)];

    if ((port & ~1u) == VPIC_TRIGGER_PORT) {
        pic->chip[port & 1].trigger = value & trigger_mask[port & 1];
    } else if (port & 1) {
        write_data(chip, value);
    } else if (value & ICW1) {
        write_icw1(chip, value);
    } else if (value & OCW3) {
        write_ocw3(chip, value);
    } else {
        write_ocw2(chip, value);
    }
}

void vpic_reset(struct vpic *pic)
{
    memset(pic, 0, sizeof(*pic));
    pic->chip[0].base = 0x08;
    pic->chip[1].base = 0x70;
    pic->chip[0].imr = (uint8_t)~BIT(VPIC_CASCADE);
    pic->chip[1].imr = 0xff;
    pic->chip[0].lowest = pic->chip[1].lowest = INPUTS - 1;
}
