; SPDX-License-Identifier: BSD-2-Clause
; Asynchronous page faults, on builds with the test device, which evicts our pages (hv/vdev/testdev.h).
;
; We ask for them in ring 0, and our #PF handler does nothing but note the token: the access faults
; again and again, until all tokens are given out or the page has come.  Each token has to be told,
; once, and the bytes have to be right.
%include "bare.inc"

PORT_EVICT  equ 0xe4

APIC_EOI    equ 0xfee000b0
APIC_SVR    equ 0xfee000f0
MSR_EN      equ 0x4b564d02
MSR_INT     equ 0x4b564d06
MSR_ACK     equ 0x4b564d07
ENABLE      equ 1 | 2 | 8           ; in ring 0, too; pages that have come by a vector
VECTOR      equ 0xf3
VECTOR_GP   equ 13
VECTOR_PF   equ 14
TOKEN_ALL   equ 0xffffffff
TOKENS      equ 64

AREA        equ 0x800000
PAGES       equ 48
ROUNDS      equ 12
BRIEF       equ 3000000
END         equ 1                   ; writes 0 to MSR_EN
BEGIN       equ 2                   ; ... what is there already
HALT        equ 3                   ; halts until all has been told, each time
IDLE_MIN    equ 4                   ; before any waits itself
PARKS_MAX   equ 31                  ; that wait themselves, in a row

; Counts and prints a failure unless the flags are right.
%macro EXPECT 2                     ; condition code, what
        j%1     %%good
        push    esi
        mov     esi, %%text
        call    print
        pop     esi
        inc     dword [failures]
section .data
%%text: db "async: wrong: ", %2, 10, 0
section .text
%%good:
%endmacro

section .text
main:
        lidt    [idt_pointer]
        mov     edi, VECTOR_PF
        mov     eax, on_fault
        call    set_gate
        mov     edi, VECTOR
        mov     eax, on_told
        call    set_gate
        mov     edi, VECTOR_GP
        mov     eax, on_refused
        call    set_gate
        mov     dword [APIC_SVR], 0x1ff
        mov     ecx, MSR_INT
        mov     eax, VECTOR
        xor     edx, edx
        wrmsr
        call    fill
        call    enable
        mov     dword [left], ROUNDS
.round: call    read_all
        dec     dword [left]
        jnz     .round
        call    refused
        call    not_now
        call    unacknowledged
        call    begun_anew
        call    ended
        call    enable
        call    read_all
        call    idle
        call    busy_again
        mov     esi, text_given
        call    print
        mov     eax, [given]
        call    print_decimal
        mov     esi, text_idle
        call    print
        mov     eax, [idle_given]
        call    print_decimal
        mov     esi, text_fail
        cmp     dword [failures], 0
        jne     .end
        mov     esi, text_pass
.end:   call    print
        mov     eax, [failures]
        ret

; That all is over that was before, is the first thing that we are told.
enable: mov     dword [all], 0
        mov     eax, shared + ENABLE
        call    write_enable
        sti
        nop
        nop
        cli
        cmp     dword [all], 1
        EXPECT  e, "the token of all has not come"
        ret

write_enable:
        mov     ecx, MSR_EN
        xor     edx, edx
        wrmsr
        ret

fill:   mov     edi, AREA
        mov     ecx, PAGES * 1024
.next:  mov     eax, edi            ; no word repeats
        imul    eax, 0x9e3779b1
        stosd
        loop    .next
        ret

; EAX: of a page, which is in no frame on return.
evict:  push    edx
        push    ecx
        mov     ecx, eax
        mov     edx, PORT_EVICT
.again: mov     eax, ecx
        out     dx, eax
        in      al, dx
        test    al, al
        jz      .again
        mov     eax, ecx
        pop     ecx
        pop     edx
        ret

evict_all:
        mov     eax, AREA
        mov     ecx, PAGES
.next:  call    evict
        add     eax, 4096
        loop    .next
        ret

; EDI: a word of ours, which may be in no frame.
read_word:
        mov     eax, [edi]
        mov     ebx, edi
        imul    ebx, 0x9e3779b1
        cmp     eax, ebx
        EXPECT  e, "a word that was read"
        ret

; All pages, which have left.
read_away:
        call    evict_all
        mov     eax, [given]
        mov     [before], eax
        mov     edi, AREA + 2048
        mov     ecx, PAGES
        sti
.next:  call    read_word
        add     edi, 4096
        loop    .next
        cli
        mov     eax, [given]
        ret

; The same; then waits until each token has been told.
read_all:
        call    read_away
        cmp     eax, [before]
        EXPECT  ne, "no access was asynchronous"
wait_told:                          ; we do not halt: whoever does has nothing to do
        sti
        nop
        cmp     dword [count], 0
        jne     wait_told
        cli
        ret

; Areas that there cannot be, and bits: each is a #GP, and the protocol goes on as it was.
refused:
        mov     dword [gps], 0
        mov     eax, 0x7f000000 + ENABLE    ; no memory
        call    write_enable
        mov     eax, 0xfee00000 + ENABLE    ; the APIC
        call    write_enable
        mov     eax, shared + ENABLE + 4
        call    write_enable
        mov     eax, shared + ENABLE + 0x20
        call    write_enable
        cmp     dword [gps], 4
        EXPECT  e, "an area was taken that cannot be"
        ret

; With IF = 0, or while the last #PF has not been seen, an access waits.
not_now:
        mov     eax, AREA
        call    evict
        mov     eax, [given]
        mov     [before], eax
        mov     edi, AREA + 8
        call    read_word
        mov     eax, AREA
        call    evict
        mov     dword [shared], 1
        sti
        call    read_word
        cli
        mov     dword [shared], 0
        mov     eax, [given]
        cmp     eax, [before]
        EXPECT  e, "a fault was asynchronous that must not be"
        ret

; We look at the first one that is told, and do not say so: accesses go on, and nothing more is told until we do.
unacknowledged:
        mov     dword [lazy], 1
        mov     dword [told], 0
        call    evict_all
        mov     edi, AREA + 1024
        mov     ecx, PAGES
        sti
.next:  call    read_word
        add     edi, 4096
        loop    .next
        mov     ecx, BRIEF
.wait:  loop    .wait
        cli
        cmp     dword [told], 1
        EXPECT  e, "not one token was told without an acknowledgement"
        mov     dword [lazy], 0
        call    acknowledge
        jmp     wait_told

; At the first #PF the protocol begins anew: of what was before, nothing is told.
begun_anew:
        mov     eax, AREA
        call    evict
        mov     dword [all], 0
        mov     dword [at_fault], BEGIN
        mov     edi, AREA + 8
        sti
        call    read_word
        cli
        cmp     dword [at_fault], 0
        EXPECT  e, "no access was asynchronous before the new beginning"
        cmp     dword [all], 1
        EXPECT  e, "the token of all has not come at the new beginning"
        jmp     wait_told

; The first #PF ends the protocol: nothing is told any more.
ended:  mov     eax, AREA
        call    evict
        mov     dword [at_fault], END
        mov     edi, AREA + 8
        sti
        call    read_word
        mov     ecx, BRIEF
.wait:  loop    .wait
        cli
        cmp     dword [at_fault], 0
        EXPECT  e, "no access was asynchronous before the end"
        cmp     dword [count], 1
        EXPECT  e, "a token was told behind the end"
        mov     dword [count], 0
        ret

; We halt until each page has come: soon accesses wait themselves, most of them, and now and then one is tried.
; How many were asynchronous, is printed: a disk may have read before we can halt, and then it is all of them.
idle:   mov     eax, [given]
        mov     [before], eax
        mov     dword [at_fault], HALT
        mov     edi, AREA + 512
        mov     ecx, PAGES
.next:  mov     eax, edi
        call    evict
        sti
        call    read_word
        cli
        add     edi, 4096
        loop    .next
        mov     dword [at_fault], 0
        mov     eax, [given]
        sub     eax, [before]
        mov     [idle_given], eax
        cmp     eax, IDLE_MIN
        EXPECT  ae, "too few accesses of an idle guest were asynchronous"
        ret

; A few more accesses wait themselves; then they are asynchronous as before.
busy_again:
        mov     dword [left], PARKS_MAX + 1
.round: call    read_away
        cmp     eax, [before]
        jne     .end
        dec     dword [left]
        jnz     .round
.end:   call    wait_told
        jmp     read_all

on_fault:
        pushad
        cmp     dword [esp + 32], 0 ; error code
        EXPECT  e, "the error code"
        cmp     dword [shared], 1
        EXPECT  e, "the flags"
        mov     dword [shared], 0
        inc     dword [given]
        mov     eax, cr2
        test    eax, eax
        EXPECT  nz, "a token of 0"
        mov     edi, tokens
        mov     ecx, [count]
        jecxz   .new
        repne   scasd
        EXPECT  ne, "a token that is outstanding"
.new:   mov     ecx, [count]
        cmp     ecx, TOKENS
        EXPECT  b, "more tokens than there may be"
        mov     [tokens + ecx * 4], eax
        inc     dword [count]
        mov     ecx, [at_fault]
        cmp     ecx, HALT
        je      .halt
        mov     dword [at_fault], 0
        xor     eax, eax
        cmp     ecx, END
        je      .write
        cmp     ecx, BEGIN
        jne     .end
        mov     eax, shared + ENABLE
.write: push    ecx
        call    write_enable
        pop     ecx
        mov     eax, [shared + 4]   ; the read was fast: it was told before, and its interrupt is pending
        dec     eax
        cmp     eax, TOKEN_ALL - 1
        mov     eax, 0
        adc     eax, 0
        cmp     ecx, END
        jne     .count
        inc     eax                 ; this one is never told
.count: mov     [count], eax
.end:   popad
        add     esp, 4
        iret
.halt:  sti
        hlt
        cli
        cmp     dword [count], 0
        jne     .halt
        jmp     .end

on_told:
        pushad
        mov     eax, [shared + 4]
        test    eax, eax
        EXPECT  nz, "an interrupt without a token"
        cmp     eax, TOKEN_ALL
        je      .all
        mov     edi, tokens
        mov     ecx, [count]
        jecxz   .none
        repne   scasd
        jne     .none
        mov     ecx, [count]        ; the last one takes its place
        mov     eax, [tokens + ecx * 4 - 4]
        mov     [edi - 4], eax
        dec     dword [count]
        jmp     .end
.none:  cmp     esp, 0
        EXPECT  e, "a token that is not outstanding was told"
        jmp     .end
.all:   inc     dword [all]
.end:   mov     dword [APIC_EOI], 0
        inc     dword [told]
        cmp     dword [lazy], 0
        jne     .lazy
        call    acknowledge
.lazy:  popad
        iret

acknowledge:
        mov     dword [shared + 4], 0
        mov     ecx, MSR_ACK
        mov     eax, 1
        xor     edx, edx
        wrmsr
        ret

; Of a WRMSR, which is skipped.
on_refused:
        inc     dword [gps]
        add     esp, 4
        add     dword [esp], 2
        iret

; EDI: vector, EAX: handler.
set_gate:
        lea     edi, [idt + edi * 8]
        mov     [edi], ax
        mov     word [edi + 2], 0x08
        mov     word [edi + 4], 0x8e00
        shr     eax, 16
        mov     [edi + 6], ax
        ret

section .data
text_given: db "async: tokens: ", 0
text_idle:  db ", idle: ", 0
text_pass:  db 10, "async: PASS", 10, 0
text_fail:  db 10, "async: FAIL", 10, 0
align 8
idt_pointer:
            dw 256 * 8 - 1
            dd idt
align 4
failures:   dd 0
left:       dd 0
given:      dd 0
idle_given: dd 0
before:     dd 0
count:      dd 0                    ; outstanding
all:        dd 0
at_fault:   dd 0                    ; what is done at the next one: END, BEGIN
lazy:       dd 0
told:       dd 0
gps:        dd 0

section .bss
align 64
shared:     resb 64
tokens:     resd TOKENS + 1
idt:        resb 256 * 8
