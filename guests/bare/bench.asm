; SPDX-License-Identifier: BSD-2-Clause
; Cost of an exit and of a first touch, in TSC ticks: instructions on Bochs, 2^shift a piece on QEMU
; with -icount.  `ticks` is what a thousand plain instructions take, to tell which.  The loop's own
; cost is measured and taken off.  Prints `bench: NAME TICKS` lines and ends well.
;
; sequential: every page in order.  scattered: every other page of the next area, so that no page has
; a resident neighbour and each takes a fault of its own where pages are mapped singly.
%include "bare.inc"

ROUNDS      equ 10000
PAGES       equ 4096                ; touched in each of the two ways
SEQUENTIAL  equ 0x1000000
SCATTERED   equ SEQUENTIAL + PAGES * 4096

section .text
main:
        call    bench_ticks
        mov     esi, name_ticks
        call    report
        call    bench_empty
        mov     [overhead], eax
        mov     esi, name_cpuid
        call    bench_cpuid
        call    report
        mov     esi, name_port
        call    bench_port
        call    report
        mov     esi, name_msr
        call    bench_msr
        call    report
        mov     edi, SEQUENTIAL
        mov     ebx, 4096
        call    bench_touch
        mov     esi, name_sequential
        call    report
        mov     edi, SCATTERED
        mov     ebx, 8192
        call    bench_touch
        mov     esi, name_scattered
        call    report
        xor     eax, eax
        ret

; ESI name, EAX ticks a round: without the loop's own.
report:
        push    eax
        call    print
        pop     eax
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
bench_ticks: TIMED body_ticks
bench_cpuid: TIMED body_cpuid
bench_port:  TIMED body_port
bench_msr:   TIMED body_msr

body_empty:
        ret
body_ticks:
        mov     ecx, 498            ; with call, ret, dec and jnz: 1001
.next:  dec     ecx
        jnz     .next
        ret
body_cpuid:
        xor     eax, eax
        cpuid
        ret
body_port:
        mov     edx, 0x5000         ; nobody's
        in      al, dx
        ret
body_msr:
        mov     ecx, 0x1b           ; IA32_APIC_BASE
        rdmsr
        ret

; EDI address, EBX stride; EAX: ticks for the first touch of a page.
bench_touch:
        mov     ecx, PAGES
        rdtsc
        mov     [start], eax
        mov     [start + 4], edx
.next:  mov     [edi], edi
        add     edi, ebx
        dec     ecx
        jnz     .next
        rdtsc
        sub     eax, [start]
        sbb     edx, [start + 4]
        mov     ecx, PAGES
        div     ecx
        ret

section .data
name_ticks:      db "bench: ticks ", 0
name_cpuid:      db "bench: cpuid-exit ", 0
name_port:       db "bench: port-read ", 0
name_msr:        db "bench: msr-read ", 0
name_sequential: db "bench: first-touch-sequential ", 0
name_scattered:  db "bench: first-touch-scattered ", 0
align 4
overhead: dd 0
start:    dd 0, 0
