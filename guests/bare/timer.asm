; SPDX-License-Identifier: BSD-2-Clause
; All of its vCPUs run a periodic APIC timer with the shortest period there is, for ever.
;
; Command line: `s`: they spin, `h`: they halt, `o`: they halt, with one-shot timers of one tick.
%include "bare.inc"

APIC        equ 0xfee00000
APIC_EOI    equ APIC + 0xb0
APIC_SVR    equ APIC + 0xf0
APIC_ICR    equ APIC + 0x300
APIC_TIMER  equ APIC + 0x320
APIC_COUNT  equ APIC + 0x380
APIC_DIVIDE equ APIC + 0x3e0
ICR_INIT    equ 0xc4500             ; all but self
ICR_SIPI    equ 0xc4600
TRAMPOLINE  equ 0x8000
VECTOR      equ 0x40
PERIODIC    equ 1 << 17
STACK_BYTES equ 1024
CPUS        equ 8

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
        mov     esi, trampoline
        mov     edi, TRAMPOLINE
        mov     ecx, trampoline_end - trampoline
        rep     movsb
        mov     esi, hello
        call    print
        mov     dword [APIC_ICR], ICR_INIT
        mov     ecx, 100000
.init:  pause
        loop    .init
        mov     dword [APIC_ICR], ICR_SIPI + TRAMPOLINE / 4096

; Each vCPU: ESP is its stack.
run:
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

bits 16
trampoline:
        cli
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [TRAMPOLINE + trampoline_gdt - trampoline]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 0x08:other_start
align 8
trampoline_gdt:
        dw 23
        dd gdt
trampoline_end:
bits 32

other_start:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     eax, STACK_BYTES
        lock xadd [stacks_used], eax
        lea     esp, [eax + stacks + STACK_BYTES]
        jmp     run

section .data
hello:  db "timer: running", 10, 0
key:    db 0
align 8
idt_pointer:
        dw (VECTOR + 1) * 8 - 1
        dd idt
stacks_used: dd 0

section .bss
align 16
idt:    resb (VECTOR + 1) * 8
stacks: resb STACK_BYTES * CPUS
