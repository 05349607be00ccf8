/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vuart.h"

#include "arch/x86/hw/uart16550.h"
#include "base/bits.h"

#define DIVISOR_9600 (UART_CLOCK / 9600)

static bool has_data(const struct vuart *uart)
{
    return uart->head != uart->tail;
}

/* LSR's bits for the character that is read next. */
static uint8_t next_errors(const struct vuart *uart)
{
    return has_data(uart) ? uart->queue[uart->head % VUART_QUEUE_SIZE] >> 8 : 0;
}

/* The four modem lines: a terminal that is always there, or our own outputs looped back. */
static uint8_t modem_lines(const struct vuart *uart)
{
    uint8_t lines = 0;

    if (!(uart->mcr & MCR_LOOP)) {
        return MSR_DCD | MSR_DSR | MSR_CTS;
    }
    lines |= uart->mcr & MCR_RTS ? MSR_CTS : 0;
    lines |= uart->mcr & MCR_DTR ? MSR_DSR : 0;
    lines |= uart->mcr & MCR_OUT1 ? MSR_RI : 0;
    lines |= uart->mcr & MCR_OUT2 ? MSR_DCD : 0;
    return lines;
}

/* The reason with the highest priority: table "Interrupt Control Functions". */
static uint8_t interrupt_reason(const struct vuart *uart)
{
    if ((uart->ier & IER_LINE) && (uart->lsr_errors || next_errors(uart))) {
        return IIR_LINE;
    }
    if ((uart->ier & IER_DATA) && has_data(uart)) {
        return IIR_DATA;
    }
    if ((uart->ier & IER_THRE) && uart->thre_pending) {
        return IIR_THRE;
    }
    if ((uart->ier & IER_MODEM) && uart->msr_delta) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update_irq(struct vuart *uart)
{
    bool level = interrupt_reason(uart) != IIR_NONE;

    if (level != uart->irq_level) {
        uart->irq_level = level;
        uart->host->set_irq(uart->owner, level);
    }
}

static bool is_full(const struct vuart *uart)
{
    return uart->tail - uart->head == VUART_QUEUE_SIZE;
}

/* After each access. */
static void update(struct vuart *uart)
{
    update_irq(uart);
    if (uart->refused && !is_full(uart) && !(uart->mcr & MCR_LOOP)) {
        uart->refused = false;
        uart->host->room(uart->owner);
    }
}

static bool queue_put(struct vuart *uart, uint8_t c, uint8_t errors)
{
    if (is_full(uart)) {
        uart->lsr_errors |= LSR_OVER;
        return false;
    }
    uart->queue[uart->tail % VUART_QUEUE_SIZE] = (uint16_t)(errors << 8 | c);
    uart->tail++;
    uart->breaks += errors != 0;
    return true;
}

/* LSR has told of them, or what they belong to is gone. */
static void drop_next_errors(struct vuart *uart)
{
    if (next_errors(uart) != 0) {
        uart->queue[uart->head % VUART_QUEUE_SIZE] &= 0xff;
        uart->breaks--;
    }
}

static void drop_input(struct vuart *uart)
{
    uart->head = uart->tail;
    uart->breaks = 0;
}

static uint8_t read_data(struct vuart *uart)
{
    uint8_t value = 0;

    if (has_data(uart)) {
        drop_next_errors(uart);
        value = (uint8_t)uart->queue[uart->head % VUART_QUEUE_SIZE];
        uart->head++;
    }
    return value;
}

static uint8_t read_iir(struct vuart *uart)
{
    uint8_t reason = interrupt_reason(uart);

    if (reason == IIR_THRE) {
        uart->thre_pending = false; /* reading it is the acknowledgement */
    }
    return reason | (uart->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

/* One that waits is ready as soon as anybody sees that, whoever sees it first. */
static bool transmitter_waits(struct vuart *uart)
{
    bool busy = uart->host->busy(uart->owner);

    if (uart->waits && !busy) {
        uart->thre_pending = true;
    }
    uart->waits = busy;
    return busy;
}

static uint8_t read_lsr(struct vuart *uart)
{
    uint8_t value = uart->lsr_errors | next_errors(uart) | (has_data(uart) ? LSR_DATA : 0);

    value |= transmitter_waits(uart) ? 0 : LSR_EMPTY;
    value |= (uart->fcr & FCR_ENABLE) && uart->breaks > 0 ? LSR_FIFO : 0;
    uart->lsr_errors = 0;
    drop_next_errors(uart);
    return value;
}

static uint8_t read_msr(struct vuart *uart)
{
    uint8_t value = modem_lines(uart) | uart->msr_delta;

    uart->msr_delta = 0;
    return value;
}

static uint8_t read_register(struct vuart *uart, unsigned reg)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;

    switch (reg) {
    case UART_DATA:
        return dlab ? (uint8_t)uart->divisor : read_data(uart);
    case UART_IER:
        return dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case UART_IIR:
        return read_iir(uart);
    case UART_LCR:
        return uart->lcr;
    case UART_MCR:
        return uart->mcr;
    case UART_LSR:
        return read_lsr(uart);
    case UART_MSR:
        return read_msr(uart);
    default:
        return uart->scr;
    }
}

static uint8_t read_byte(struct bus_access *access, unsigned reg)
{
    struct vuart *uart = access->range->owner;
    uint8_t value = read_register(uart, reg);

    update(uart);
    return value;
}

/*
 * The character is gone at once, though another may have to wait.  The THRE interrupt falls and
 * rises again, since an edge-triggered pin would not notice otherwise.
 */
static void write_data(struct vuart *uart, uint8_t value)
{
    uart->thre_pending = false;
    update_irq(uart);
    if (uart->mcr & MCR_LOOP) {
        (void)queue_put(uart, value, 0);
    } else {
        uart->host->output(uart->owner, (char)value);
    }
    uart->thre_pending = !transmitter_waits(uart);
}

static void write_ier(struct vuart *uart, uint8_t value)
{
    value &= IER_MASK;
    if ((value & IER_THRE) && !(uart->ier & IER_THRE)) {
        uart->thre_pending = !transmitter_waits(uart); /* enabling it while empty raises it */
    }
    uart->ier = value;
}

static void write_fcr(struct vuart *uart, uint8_t value)
{
    /* Switching the FIFOs on or off empties them. */
    if ((value & FCR_CLEAR_RECEIVE) || ((value ^ uart->fcr) & FCR_ENABLE)) {
        drop_input(uart);
    }
    uart->fcr = value & FCR_KEPT;
}

static void write_mcr(struct vuart *uart, uint8_t value)
{
    uint8_t before = modem_lines(uart);
    uint8_t changed;

    uart->mcr = value & MCR_MASK;
    changed = before ^ modem_lines(uart);
    uart->msr_delta |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
    if ((changed & MSR_RI) && (before & MSR_RI)) {
        uart->msr_delta |= MSR_RI >> 4; /* trailing edge only */
    }
}

static void set_divisor(struct vuart *uart, unsigned shift, uint8_t value)
{
    uart->divisor = (uint16_t)((uart->divisor & ~(0xffu << shift)) | (unsigned)value << shift);
}

static void write_register(struct vuart *uart, unsigned reg, uint8_t value)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;

    switch (reg) {
    case UART_DATA:
        if (dlab) {
            set_divisor(uart, 0, value);
        } else {
            write_data(uart, value);
        }
        break;
    case UART_IER:
        if (dlab) {
            set_divisor(uart, 8, value);
        } else {
            write_ier(uart, value);
        }
        break;
    case UART_IIR:
        write_fcr(uart, value);
        break;
    case UART_LCR:
        uart->lcr = value;
        break;
    case UART_MCR:
        write_mcr(uart, value);
        break;
    case UART_SCR:
        uart->scr = value;
        break;
    default:
        break; /* LSR and MSR are read-only */
    }
    update(uart);
}

static void write_byte(struct bus_access *access, unsigned reg, uint8_t value)
{
    write_register(access->range->owner, reg, value);
}

static enum bus_result uart_read(struct bus_access *access)
{
    bus_read_bytes(access, VUART_PORTS, read_byte);
    return BUS_DONE;
}

static enum bus_result uart_write(struct bus_access *access)
{
    bus_write_bytes(access, VUART_PORTS, write_byte);
    return BUS_DONE;
}

static const struct bus_ops uart_ops = {.read = uart_read, .write = uart_write};

/* ---- the host's side ---- */

/* In loop mode the receiver is disconnected. */
static bool take_input(struct vuart *uart, uint8_t c, uint8_t errors)
{
    if ((uart->mcr & MCR_LOOP) || is_full(uart)) {
        uart->refused = true;
        return false;
    }
    (void)queue_put(uart, c, errors);
    update_irq(uart);
    return true;
}

bool vuart_input(struct vuart *uart, char c)
{
    bool taken;

    spin_lock(&uart->lock);
    taken = take_input(uart, (uint8_t)c, 0);
    spin_unlock(&uart->lock);
    return taken;
}

bool vuart_break(struct vuart *uart)
{
    bool taken;

    spin_lock(&uart->lock);
    taken = take_input(uart, 0, LSR_BREAK);
    spin_unlock(&uart->lock);
    return taken;
}

void vuart_output_ready(struct vuart *uart)
{
    spin_lock(&uart->lock);
    if (uart->waits) {
        uart->waits = false;
        uart->thre_pending = true;
        update_irq(uart);
    }
    spin_unlock(&uart->lock);
}

/* ---- life ---- */

void vuart_reset(struct vuart *uart)
{
    spin_lock(&uart->lock);
    uart->ier = 0;
    uart->lcr = 0;
    uart->mcr = 0;
    uart->fcr = 0;
    uart->scr = 0;
    uart->msr_delta = 0;
    uart->lsr_errors = 0;
    uart->divisor = DIVISOR_9600;
    uart->thre_pending = false;
    drop_input(uart);
    uart->waits = false;
    update(uart);
    spin_unlock(&uart->lock);
}

bool vuart_init(struct vuart *uart, void *owner, const struct vuart_host *host,
                struct bus_map *ports)
{
    uart->owner = owner;
    uart->host = host;
    uart->irq_level = false;
    uart->refused = false;
    spin_init(&uart->lock, RANK_VDEV, "vuart");
    uart->range = (struct bus_range){.ops = &uart_ops, .owner = uart, .lock = &uart->lock};
    vuart_reset(uart);
    return bus_add(ports, &uart->range, VUART_PORT, VUART_PORTS);
}
