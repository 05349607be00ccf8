; SPDX-License-Identifier: BSD-2-Clause
; A device that reads and writes this guest's memory (hv/vdev/testdev.h, in builds with TESTDEV=1) and
; has to wait for pages: strings by port and in memory, single accesses.  Source and target are evicted
; before each of them; every byte has to arrive, once, and the registers have to be right.
%include "bare.inc"

PORT_EVICT   equ 0xe4
PORT_ADDRESS equ 0x2020
PORT_DATA    equ 0x2024
PORT_WAITS   equ 0x2028
WINDOW       equ 0xff010000

SOURCE       equ 0x800000
TARGET       equ 0xa00000
PAGES        equ 3
MIDDLE       equ TARGET + 2 * 4096 - 4 ; behind BYTES
ORIGIN       equ SOURCE + 13        ; both strings cross pages, and so do some of their elements
DEST         equ TARGET + 7
BYTES        equ 6000

; Says what is wrong in which round, unless the flags are right.  All registers may be lost.
%macro EXPECT 2                     ; condition code, what
        j%1     %%good
        mov     esi, %%text
        call    print
        mov     esi, [name]
        call    print
        mov     esi, end_of_line
        call    print
        inc     dword [failures]
section .data
%%text: db "park: wrong: ", %2, ": ", 0
section .text
%%good:
%endmacro

section .text
main:
        mov     dword [round], rounds
.next:  mov     esi, [round]
        mov     eax, [esi]
        mov     [name], eax
        mov     eax, [esi + 4]
        mov     [size], eax
        call    prepare
        mov     esi, [round]
        call    [esi + 8]
        call    check_waits
        add     dword [round], 12
        cmp     dword [round], rounds_end
        jb      .next
        mov     eax, [failures]
        test    eax, eax
        jnz     .done
        mov     esi, passed
        call    print
        xor     eax, eax
.done:  ret

; Random bytes in the source, none in the target, and neither is in a frame.
prepare:
        mov     edi, SOURCE
        mov     ecx, PAGES * 4096 / 4
.fill:  call    random
        stosd
        loop    .fill
        mov     edi, TARGET
        mov     ecx, PAGES * 4096 / 4
        xor     eax, eax
        rep stosd
        mov     dword [TARGET], 1   ; pages of zeros would not be written anywhere
        mov     dword [MIDDLE], 1
        mov     dword [TARGET + PAGES * 4096 - 4], 1
evict_all:
        mov     ebx, PAGES
        mov     eax, SOURCE
.evict: call    evict
        add     eax, TARGET - SOURCE
        call    evict
        sub     eax, TARGET - SOURCE - 4096
        dec     ebx
        jnz     .evict
        xor     eax, eax
        mov     edx, PORT_WAITS
        out     dx, eax
        ret

; EAX: of a page, which is in no frame on return.
evict:  mov     ecx, eax
        mov     edx, PORT_EVICT
.again: mov     eax, ecx
        out     dx, eax
        in      al, dx
        test    al, al
        jz      .again
        mov     eax, ecx
        ret

check_waits:
        mov     edx, PORT_WAITS
        in      eax, dx
        test    eax, eax
        EXPECT  nz, "the device has not waited"
        ret

; EAX: where the device reads and writes.
set_address:
        mov     edx, PORT_ADDRESS
        out     dx, eax
        mov     edx, PORT_DATA
        ret

; EAX: where it does next.
expect_address:
        mov     ebx, eax
        mov     edx, PORT_ADDRESS
        in      eax, dx
        cmp     eax, ebx
        EXPECT  e, "the device has been accessed more or less often"
        ret

; ECX: how many elements.
count:  mov     eax, BYTES
        xor     edx, edx
        div     dword [size]
        mov     ecx, eax
        ret

; After a whole string.
check_string:
        cmp     dword [left], 0
        EXPECT  e, "ECX"
        mov     esi, ORIGIN
        mov     edi, DEST
        mov     ecx, BYTES
        repe cmpsb
        EXPECT  e, "the bytes"
        cmp     dword [TARGET], 1
        EXPECT  e, "what lies before them"
        cmp     word [DEST - 2], 0
        EXPECT  e, "what lies just before them"
        cmp     dword [DEST + BYTES], 0
        EXPECT  e, "what lies behind them"
        ret

out_string:
        mov     eax, DEST
        call    set_address
        call    count
        mov     edx, PORT_DATA
        mov     esi, ORIGIN
        cmp     dword [size], 2
        jb      .byte
        je      .word
        rep outsd
        jmp     .done
.word:  rep outsw
        jmp     .done
.byte:  rep outsb
.done:  mov     [left], ecx
        cmp     esi, ORIGIN + BYTES
        EXPECT  e, "ESI"
        mov     eax, DEST + BYTES
        call    expect_address
        jmp     check_string

in_string:
        mov     eax, ORIGIN
        call    set_address
        call    count
        mov     edx, PORT_DATA
        mov     edi, DEST
        cmp     dword [size], 2
        jb      .byte
        je      .word
        rep insd
        jmp     .done
.word:  rep insw
        jmp     .done
.byte:  rep insb
.done:  mov     [left], ecx
        cmp     edi, DEST + BYTES
        EXPECT  e, "EDI"
        mov     eax, ORIGIN + BYTES
        call    expect_address
        jmp     check_string

; A page through the window: from memory, and to it.
WINDOW_FROM  equ SOURCE + 22
WINDOW_TO    equ TARGET + 18
to_window:
        mov     eax, WINDOW_TO
        call    set_address
        mov     esi, WINDOW_FROM
        mov     edi, WINDOW
        mov     ecx, 1024
        rep movsd
        cmp     edi, WINDOW + 4096
        EXPECT  e, "EDI"
        jmp     check_window

from_window:
        mov     eax, WINDOW_FROM
        call    set_address
        mov     esi, WINDOW
        mov     edi, WINDOW_TO
        mov     ecx, 1024
        rep movsd
        cmp     esi, WINDOW + 4096
        EXPECT  e, "ESI"
check_window:
        mov     esi, WINDOW_FROM
        mov     edi, WINDOW_TO
        mov     ecx, 4096
        repe cmpsb
        EXPECT  e, "the bytes"
        cmp     dword [WINDOW_TO + 4096], 0
        EXPECT  e, "what lies behind them"
        ret

single_out:
        mov     eax, DEST
        call    set_address
        mov     eax, 0x12345678
        out     dx, eax
        cmp     dword [DEST], 0x12345678
        EXPECT  e, "the word"
        mov     eax, DEST + 4
        jmp     expect_address

single_in:
        mov     eax, ORIGIN
        call    set_address
        in      eax, dx
        cmp     eax, [ORIGIN]
        EXPECT  e, "the word"
        mov     eax, ORIGIN + 4
        jmp     expect_address

; Reads and writes.
add_to_window:
        mov     eax, DEST
        call    set_address
        mov     dword [WINDOW + 4], 70
        call    evict_all
        mov     eax, 7
        lock xadd [WINDOW + 4], eax
        cmp     eax, 70
        EXPECT  e, "what was there"
        cmp     dword [DEST + 4], 77
        EXPECT  e, "the sum"
        ret

section .data
align 4
rounds: dd name_out, 1, out_string
        dd name_out, 2, out_string
        dd name_out, 4, out_string
        dd name_in, 1, in_string
        dd name_in, 2, in_string
        dd name_in, 4, in_string
        dd name_to, 4, to_window
        dd name_from, 4, from_window
        dd name_single, 4, single_out
        dd name_single, 4, single_in
        dd name_add, 4, add_to_window
rounds_end:
name_out:    db "OUTS", 0
name_in:     db "INS", 0
name_to:     db "MOVS to the device", 0
name_from:   db "MOVS from the device", 0
name_single: db "IN or OUT", 0
name_add:    db "XADD", 0
end_of_line: db 10, 0
passed:      db "park: PASS", 10, 0
align 4
round:       dd 0
name:        dd 0
size:        dd 0
left:        dd 0
failures:    dd 0
