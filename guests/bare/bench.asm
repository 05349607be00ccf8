; SPDX-License-Identifier: BSD-2-Clause
; Cost of an exit and of a first touch, in TSC ticks (instructions on Bochs).  The loop's own cost is
; measured and taken off.  Prints `bench: NAME TICKS` and ends well.
%include "bare.inc"

ROUNDS      equ 10000
PAGES       equ 8192                ; 32 MiB, from 16 MiB on: each touched once
TOUCH_START equ 0x1000000

section .text
main:
        call    bench_empty
        mov     [overhead], eax
        mov     esi, name_cpuid
        call    bench_cpuid
        call    report
        mov     esi, name_port
        call    bench_port
        call    report
        call    bench_touch
        mov     esi, name_touch
        call    print
        call    print_decimal
        mov     al, 10
        call    print_char
        xor     eax, eax
        ret

; ESI name, EAX ticks a round: without the loop's own.
report:
        call    print
        sub     eax, [overhead]
        jnc     .print
        xor     eax, eax            ; less than the noise of the loop
.print: call    print_decimal
        mov     al, 10
        jmp     print_char

%macro TIMED 1                      ; label of the body, called ROUNDS times; EAX: ticks a round
        push    ebx
        push    esi
        call    %1                  ; once to warm up
        rdtsc
        mov     [start], eax
        mov     [start + 4], edx
        mov     edi, ROUNDS
%%next: call    %1
        dec     edi
        jnz     %%next
        rdtsc
        sub     eax, [start]
        sbb     edx, [start + 4]
        mov     ecx, ROUNDS
        div     ecx
        pop     esi
        pop     ebx
        ret
%endmacro

bench_empty: TIMED body_empty
bench_cpuid: TIMED body_cpuid
bench_port:  TIMED body_port

body_empty:
        ret
body_cpuid:
        xor     eax, eax
        cpuid
        ret
body_port:
        mov     edx, 0x5000         ; nobody's
        in      al, dx
        ret

; EAX: ticks for the first touch of a page.
bench_touch:
        mov     edi, TOUCH_START
        mov     ecx, PAGES
        rdtsc
        mov     [start], eax
        mov     [start + 4], edx
.next:  mov     [edi], edi
        add     edi, 4096
        dec     ecx
        jnz     .next
        rdtsc
        sub     eax, [start]
        sbb     edx, [start + 4]
        mov     ecx, PAGES
        div     ecx
        ret

section .data
name_cpuid:     db "bench: cpuid-exit ", 0
name_port:      db "bench: port-read ", 0
name_touch:     db "bench: first-touch ", 0
align 4
overhead: dd 0
start:    dd 0, 0
