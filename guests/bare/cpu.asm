; SPDX-License-Identifier: BSD-2-Clause
; What a guest may expect of its CPU, and where virtualisation shows if it is not careful: control
; registers, instructions that guests do not have, debug exceptions, delivery of events through pages
; that are not there yet, NMI blocking, interrupt shadows, PAE and long mode, CR8.
; Prints `cpu: NAME` for each check that fails, then `cpu: PASS` or `cpu: FAIL`.
%include "bare.inc"
%include "smp.inc"

CR0_NE equ 1 << 5
CR0_NW equ 1 << 29
CR0_CD equ 1 << 30
CR0_PG equ 1 << 31

%macro CHECK 1                      ; ZF: good; else names the check that failed
        jz      %%good
        mov     esi, %%name
        call    failed
        jmp     %%good
%%name: db %1, 0
%%good:
%endmacro

%macro FAULTS 3+                    ; name, vector, instruction that must raise it
        mov     dword [resume_at], %%after
        mov     dword [seen], -1
        %3
%%after:
        cmp     dword [seen], %2
        CHECK   %1
%endmacro

section .text
main:
        call    set_idt
        lidt    [idt_pointer]
        call    control_registers
        call    absent_instructions
        call    debug_exceptions
        call    fresh_pages
        call    absent_pages
        call    device_operands
        call    task_switches
        call    interrupts
        call    nmis
        call    halts
        call    pae
        call    long_mode
        mov     esi, text_pass
        cmp     dword [failures], 0
        je      .say
        mov     esi, text_fail
.say:   call    print
        mov     eax, [failures]
        ret

; ESI: what failed.
failed:
        inc     dword [failures]
        push    esi
        mov     esi, text_cpu
        call    print
        pop     esi
        call    print
        mov     al, ' '
        call    print_char
        mov     eax, [seen]
        call    print_hex
        mov     al, 10
        jmp     print_char

section .data
text_cpu:  db "cpu: ", 0
text_pass: db "cpu: PASS", 10, 0
text_fail: db "cpu: FAIL", 10, 0
failures:  dd 0

%include "cpu_events.inc"
%include "cpu_control.inc"
%include "cpu_debug.inc"
%include "cpu_delivery.inc"
%include "cpu_paging.inc"
%include "cpu_absent.inc"
%include "cpu_tasks.inc"
