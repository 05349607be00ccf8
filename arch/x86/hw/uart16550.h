/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550 UART: PC16550D data sheet, "8.0 Registers". */
#ifndef SPILLWAY_ARCH_X86_HW_UART16550_H
#define SPILLWAY_ARCH_X86_HW_UART16550_H

/* Offsets from the first port. */
enum uart_register {
    UART_DATA, /* RBR when read, THR when written; DLL with LCR_DLAB */
    UART_IER,  /* DLM with LCR_DLAB */
    UART_IIR,  /* FCR when written */
    UART_LCR,
    UART_MCR,
    UART_LSR,
    UART_MSR,
    UART_SCR,
    UART_PORTS,
};
#define UART_FCR UART_IIR
#define UART_DLL UART_DATA
#define UART_DLM UART_IER

#define IER_DATA  0x01
#define IER_THRE  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08
#define IER_MASK  0x0f

#define IIR_NONE  0x01
#define IIR_LINE  0x06
#define IIR_DATA  0x04
#define IIR_THRE  0x02
#define IIR_MODEM 0x00
#define IIR_FIFO  0xc0 /* both set: working FIFOs */

#define FCR_ENABLE         0x01
#define FCR_CLEAR_RECEIVE  0x02
#define FCR_CLEAR_TRANSMIT 0x04
#define FCR_KEPT           0xc9 /* trigger level, DMA mode, enable; the rest acts at once */

#define LCR_8N1  0x03
#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* connects the interrupt line on a PC */
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DATA  0x01
#define LSR_OVER  0x02
#define LSR_BREAK 0x10
#define LSR_THRE  0x20
#define LSR_TEMT  0x40 /* FIFO and shift register are empty */
#define LSR_EMPTY (LSR_THRE | LSR_TEMT)
#define LSR_FIFO  0x80 /* something in the FIFO has come with an error */

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI  0x40
#define MSR_DCD 0x80

#define UART_CLOCK      115200 /* 1.8432 MHz / 16: the speed with divisor 1 */
#define UART_FIFO_BYTES 16

#endif
