; SPDX-License-Identifier: BSD-2-Clause
; The serial port in both directions, by polling.
;
; Command line: `i`: says `console: reads`, takes 65,536 bytes and prints their sum, where each byte is
; added to 31 times what was; `o`: says `console: writes`, waits for a byte, then sends 1 MiB of the
; letters a to z; `d`: says `console: deaf` and reads nothing, for ever; `l`: says `console: lies`, waits
; for a byte, prints what the hypervisor says when it powers off, and waits for another; `n`: prints 2,000
; numbered lines; `m`: reads MSRs that do not exist, for ever.
%include "bare.inc"

IN_BYTES  equ 65536
OUT_BYTES equ 1 << 20
LINES     equ 2000

section .text
main:
        mov     eax, [boot_info]
        mov     esi, [eax + 16]     ; command line
        cmp     byte [esi], 'o'
        je      write_much
        cmp     byte [esi], 'd'
        je      deaf
        cmp     byte [esi], 'l'
        je      lie
        cmp     byte [esi], 'n'
        je      lines
        cmp     byte [esi], 'm'
        je      msrs
        mov     esi, hello_reads
        call    print
        xor     ebx, ebx
        mov     ecx, IN_BYTES
.next:  call    read_char
        imul    ebx, 31
        movzx   eax, al
        add     ebx, eax
        loop    .next
        mov     esi, text_sum
        call    print
        mov     eax, ebx
        call    print_hex
        mov     al, 10
        call    print_char
        xor     eax, eax
        ret

write_much:
        mov     esi, hello_writes
        call    print
        call    read_char
        mov     ecx, OUT_BYTES
        mov     al, 'a'
.next:  call    print_char
        inc     al
        cmp     al, 'z'
        jbe     .same
        mov     al, 'a'
.same:  loop    .next
        call    read_char           ; all of it has been seen
        xor     eax, eax
        ret

deaf:   mov     esi, hello_deaf
        call    print
.again: pause
        jmp     .again

lie:    mov     esi, hello_lies
        call    print
        call    read_char
        mov     esi, text_lie
        call    print
        call    read_char
        mov     eax, 1              ; it fails
        ret

lines:  xor     ebx, ebx
.next:  mov     esi, text_line
        call    print
        mov     eax, ebx
        call    print_decimal
        mov     esi, text_filling
        call    print
        inc     ebx
        cmp     ebx, LINES
        jb      .next
        xor     eax, eax
        ret

VECTOR_GP equ 13

msrs:   mov     eax, skip
        mov     edi, idt + 8 * VECTOR_GP
        mov     [edi], ax
        mov     word [edi + 2], 0x08
        mov     word [edi + 4], 0x8e00  ; present, 32-bit interrupt gate
        shr     eax, 16
        mov     [edi + 6], ax
        lidt    [idt_pointer]
        mov     ecx, 0x12340000
.next:  rdmsr
        inc     ecx
        jmp     .next

; The instruction that faults has two bytes.
skip:   add     esp, 4              ; error code
        add     dword [esp], 2
        iret

; AL: the next byte.
read_char:
        push    edx
        mov     edx, SERIAL + 5
.wait:  in      al, dx
        test    al, 1
        jz      .wait
        mov     edx, SERIAL
        in      al, dx
        pop     edx
        ret

section .data
idt_pointer:  dw 8 * (VECTOR_GP + 1) - 1
              dd idt
hello_reads:  db "console: reads", 10, 0
hello_writes: db "console: writes", 10, 0
hello_deaf:   db "console: deaf", 10, 0
hello_lies:   db "console: lies", 10, 0
text_lie:     db 13, 10, "spillway: power off: all guests ok", 13, 10, 0
text_line:    db "console: line ", 0
text_filling: db " ", "................................................................", 10, 0
text_sum:     db "console: sum ", 0

section .bss
align 8
idt:    resb 8 * (VECTOR_GP + 1)
