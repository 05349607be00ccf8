; SPDX-License-Identifier: BSD-2-Clause
; All of its vCPUs run a periodic APIC timer with the shortest period there is, for ever.
;
; Command line: `s`: they spin, `h`: they halt, `o`: they halt, with one-shot timers of one tick.
%include "bare.inc"
%include "smp.inc"

APIC        equ 0xfee00000
APIC_EOI    equ APIC + 0xb0
APIC_SVR    equ APIC + 0xf0
APIC_TIMER  equ APIC + 0x320
APIC_COUNT  equ APIC + 0x380
APIC_DIVIDE equ APIC + 0x3e0
VECTOR      equ 0x40
PERIODIC    equ 1 << 17

section .text
main:
        mov     eax, on_timer
        mov     [idt + VECTOR * 8], ax
        mov     word [idt + VECTOR * 8 + 2], 0x08
        mov     word [idt + VECTOR * 8 + 4], 0x8e00
        shr     eax, 16
        mov     [idt + VECTOR * 8 + 6], ax
        mov     eax, [boot_info]
        mov     esi, [eax + 16]     ; command line
        mov     al, [esi]
        mov     [key], al
        mov     esi, hello
        call    print
        call    start_others

; Each vCPU.
other_main:
        lidt    [idt_pointer]
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [APIC_DIVIDE], 0xb
        mov     eax, VECTOR
        cmp     byte [key], 'o'
        je      .mode
        or      eax, PERIODIC
.mode:  mov     [APIC_TIMER], eax
        mov     dword [APIC_COUNT], 1
        sti
        cmp     byte [key], 's'
        je      .spin
.halt:  hlt
        jmp     .halt
.spin:  jmp     .spin

on_timer:
        mov     dword [APIC_EOI], 0
        cmp     byte [key], 'o'
        jne     .done
        mov     dword [APIC_COUNT], 1
.done:  iret

section .data
hello:  db "timer: running", 10, 0
key:    db 0
align 8
idt_pointer:
        dw (VECTOR + 1) * 8 - 1
        dd idt

section .bss
align 16
idt:    resb (VECTOR + 1) * 8
