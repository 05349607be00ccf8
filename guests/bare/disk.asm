; SPDX-License-Identifier: BSD-2-Clause
; A driver that does to a virtio disk (hv/vdev/virtio/vblk.h), and then to virtio-rng, what none
; should: chains that loop, that are too long, that lie where no memory is; rings in device memory
; or behind memory; an index that runs backwards; a queue that is changed while it is in use; resets
; in the middle; random words in its registers, its configuration space and its rings.  After each
; of these a reset, and the device does what a good driver asks for.
%include "bare.inc"
%include "virtio.inc"

section .text
main:
        mov     eax, DISK
        call    find
        test    eax, eax
        EXPECT  nz, "there is no disk"
        jz      .end
        call    good
        call    chains
        call    tables
        call    requests
        call    indices
        call    places
        call    in_use
        call    in_the_middle
        call    registers_at_random
        call    rings_at_random
        mov     dword [trying], random_device
        mov     eax, RNG
        call    find
        test    eax, eax
        jz      .end                ; this CPU has no random numbers
        mov     dword [make_good], good_rng
        call    good
        call    chains
        call    tables
        call    indices
        call    places
        call    registers_at_random
        call    rings_at_random
.end:   mov     eax, [failures]
        test    eax, eax
        jnz     .done
        mov     esi, passed
        call    print
        xor     eax, eax
.done:  ret

; ---- chains ----

chains: TRY     "a descriptor that is its own next"
        DESC    0, IN_DATA, 64, BY_DEVICE | NEXT, 0
        BREAKS
        TRY     "a loop of two"
        DESC    0, IN_DATA, 64, BY_DEVICE | NEXT, 1
        DESC    1, IN_DATA, 64, BY_DEVICE | NEXT, 0
        BREAKS
        TRY     "a next one behind the table"
        DESC    0, IN_DATA, 64, BY_DEVICE | NEXT, ENTRIES
        BREAKS
        TRY     "a next one far behind it"
        DESC    0, IN_DATA, 64, BY_DEVICE | NEXT, 0xffff
        BREAKS
        TRY     "no bytes"
        DESC    0, IN_DATA, 0, BY_DEVICE, 0
        BREAKS
        TRY     "more than 4 GiB"
        DESC    0, IN_DATA, 0xffffffff, BY_DEVICE | NEXT, 1
        DESC    1, IN_DATA, 0xffffffff, BY_DEVICE, 0
        BREAKS
        TRY     "over the end of all addresses"
        DESC    0, 0xfffffff0, 0x1000, BY_DEVICE, 0
        mov     dword [RINGS + 4], 0xffffffff
        BREAKS
        TRY     "what it reads behind what it writes"
        DESC    0, IN_DATA, 64, BY_DEVICE | NEXT, 1
        DESC    1, HEADER, 16, 0, 0
        BREAKS
        ret

; Descriptor 0 names a table of %2 bytes at %1.
%macro AT_TABLE 3
        DESC    0, %1, %2, %3, 1
%endmacro

tables: TRY     "a table in a table"
        AT_TABLE TABLE, 32, INDIRECT
        ENTRY   TABLE, 0, TABLE, 32, INDIRECT, 0
        BREAKS
        TRY     "a loop in a table"
        AT_TABLE TABLE, 32, INDIRECT
        ENTRY   TABLE, 0, IN_DATA, 64, BY_DEVICE | NEXT, 1
        ENTRY   TABLE, 1, IN_DATA, 64, BY_DEVICE | NEXT, 0
        BREAKS
        TRY     "a next one behind a table"
        AT_TABLE TABLE, 32, INDIRECT
        ENTRY   TABLE, 0, IN_DATA, 64, BY_DEVICE | NEXT, 2
        BREAKS
        TRY     "half an entry of a table"
        AT_TABLE TABLE, 24, INDIRECT
        ENTRY   TABLE, 0, IN_DATA, 64, BY_DEVICE, 0
        BREAKS
        TRY     "an empty table"
        AT_TABLE TABLE, 0, INDIRECT
        BREAKS
        TRY     "a table of 4 GiB"
        AT_TABLE TABLE, 0xfffffff0, INDIRECT
        BREAKS
        TRY     "a descriptor behind a table"
        AT_TABLE TABLE, 16, INDIRECT | NEXT
        ENTRY   TABLE, 0, IN_DATA, 64, BY_DEVICE, 0
        BREAKS
        TRY     "a table in device memory"
        AT_TABLE [bar], 32, INDIRECT
        BREAKS
        TRY     "a table behind memory"
        AT_TABLE MEMORY_END - 16, 32, INDIRECT
        BREAKS
        ret

; ---- requests of a disk ----

; A read, of which the test then changes what it likes.
read_request:
        mov     eax, READ
        mov     edx, 8
        mov     ebx, IN_DATA
        mov     ecx, DATA_BYTES
        mov     ebp, BY_DEVICE
        jmp     request

requests:
        TRY     "a header that is too short"
        call    read_request
        mov     dword [RINGS + 8], 15
        BREAKS
        TRY     "a header in device memory"
        call    read_request
        mov     eax, [bar]
        mov     [RINGS], eax
        BREAKS
        TRY     "no status"
        DESC    0, HEADER, 16, NEXT, 1
        DESC    1, OUT_DATA, 512, 0, 0
        BREAKS
        TRY     "data in device memory"
        call    read_request
        mov     eax, [bar]
        mov     [RINGS + 16], eax
        ENDS    IOERR
        TRY     "data over the end of memory"
        call    read_request
        mov     dword [RINGS + 16], MEMORY_END - 4096
        ENDS    IOERR
        TRY     "data where no address is"
        call    read_request
        mov     dword [RINGS + 20], 0x7fffffff
        ENDS    IOERR
        TRY     "half a sector"
        call    read_request
        mov     dword [RINGS + 24], 256
        ENDS    IOERR
        TRY     "almost 4 GiB"
        call    read_request
        mov     dword [RINGS + 24], 0xfffffe00
        ENDS    IOERR
        TRY     "a sector behind the disk"
        call    read_request
        mov     dword [HEADER + 12], 1
        ENDS    IOERR
        TRY     "the last sector that there can be"
        call    read_request
        mov     dword [HEADER + 8], 0xffffffff
        mov     dword [HEADER + 12], 0xffffffff
        ENDS    IOERR
        TRY     "a request of no type"
        call    read_request
        mov     dword [HEADER], 0x7777
        ENDS    UNSUPP
        TRY     "ranges of nothing without end"
        call    read_request
        mov     dword [HEADER], 13
        mov     dword [RINGS + 28], NEXT | 2 << 16
        mov     dword [RINGS + 16], ARENA
        mov     dword [RINGS + 24], 0x800000
        ENDS    IOERR
        TRY     "data that is its own header and status"
        call    read_request
        mov     dword [RINGS + 16], HEADER
        xor     eax, eax
        call    push_head
        call    notify
        call    ended
        EXPECT  e, "it does not end"
        call    good
        TRY     "a status in device memory"
        call    read_request
        mov     eax, [bar]
        mov     [RINGS + 32], eax
        ENDS    NONE
        ret

; ---- the indices ----

indices:
        TRY     "an index that runs backwards"
        dec     word [AVAIL + 2]
        call    notify
        call    broken
        call    good
        TRY     "more than the ring is long"
        mov     word [AVAIL + 2], ENTRIES + 1
        call    notify
        call    broken
        call    good
        TRY     "a head that is none"
        mov     eax, ENTRIES
        call    push_head
        call    notify
        call    broken
        call    good
        TRY     "a head far behind the table"
        mov     eax, 0xffff
        call    push_head
        call    notify
        call    broken
        call    good
        TRY     "notifications without anything"
        mov     edi, [notifications]
        mov     ecx, 1024
.bell:  mov     [edi], ecx
        add     edi, 4
        loop    .bell
        call    good
        ret

; ---- where a ring cannot be ----

; Rings at EAX, EBX, EDX, whose upper halves are ECX.
%macro PLACE 5
        mov     dword [trying], %%text
section .data
%%text: db %1, 0
section .text
        call    reset
        call    negotiate
        mov     dword [esi + QUEUE_RINGS + 4], %5
        mov     dword [esi + QUEUE_RINGS + 12], %5
        mov     dword [esi + QUEUE_RINGS + 20], %5
        mov     eax, %2
        mov     ebx, %3
        mov     edx, %4
        call    enable
        cmp     word [esi + QUEUE_ENABLE], 0
        EXPECT  e, "it is taken into use"
        mov     byte [esi + STATUS], 15
        call    notify
        call    good
%endmacro

places: PLACE   "descriptors in device memory", [bar], AVAIL, USED, 0
        PLACE   "an avail ring in device memory", RINGS, [bar], USED, 0
        PLACE   "a used ring in an APIC", RINGS, AVAIL, 0xfee00000, 0
        PLACE   "descriptors behind memory", MEMORY_END, AVAIL, USED, 0
        PLACE   "a used ring over the end of memory", RINGS, AVAIL, MEMORY_END - 32, 0
        PLACE   "rings at the end of all addresses", 0xfffffff0, 0xfffffffe, 0xfffffffc, 0xffffffff
        PLACE   "rings where no address is", RINGS, AVAIL, USED, 0x80000000
        PLACE   "odd descriptors", RINGS + 8, AVAIL, USED, 0
        PLACE   "an odd used ring", RINGS, AVAIL, USED + 2, 0
        ret

; ---- a queue that is in use ----

; It stays where it was, and as large.
in_use: TRY     "a queue that is moved while it is in use"
        call    read_request
        xor     eax, eax
        call    push_head
        call    notify
        mov     esi, [registers]
        mov     eax, [bar]
        mov     [esi + QUEUE_RINGS], eax
        mov     [esi + QUEUE_RINGS + 8], eax
        mov     [esi + QUEUE_RINGS + 16], eax
        mov     word [esi + QUEUE_SIZE], 2
        mov     word [esi + QUEUE_ENABLE], 0
        mov     word [esi + QUEUE_ENABLE], 1
        call    ended
        EXPECT  e, "its request does not end"
        cmp     byte [ANSWER], OK
        EXPECT  e, "its request fails"
        call    good_disk
        TRY     "the same chain twice"
        call    read_request
        xor     eax, eax
        call    push_head
        call    push_head
        call    notify
        mov     esi, [registers]
        mov     ecx, 1000
.look:  mov     al, [esi + STATUS]  ; it is broken, or the first one was faster
        loop    .look
        call    good
        TRY     "descriptors that change while they are in use"
        call    read_request
        xor     eax, eax
        call    push_head
        call    notify
        mov     edi, RINGS
        mov     ecx, ENTRIES * 4
        mov     eax, 0xffffffff
        rep stosd
        call    ended
        EXPECT  e, "it does not end"
        call    good
        ret

; ---- resets in the middle ----

; What is in flight is over when the status is 0: nobody writes to its memory any more.
in_the_middle:
        mov     dword [round], 40
.next:  TRY     "a reset in the middle"
        call    read_request
        xor     eax, eax
        call    push_head
        call    notify
        mov     ecx, [round]
        and     ecx, 7
        jz      .now
        mov     esi, [registers]
.wait:  mov     al, [esi + STATUS]
        loop    .wait
.now:   call    reset
        mov     edi, IN_DATA
        mov     ecx, DATA_BYTES / 4
        mov     eax, 0x5a5a5a5a
        rep stosd
        mov     byte [ANSWER], NONE
        mov     ecx, 200
.look:  mov     al, [esi + STATUS]
        loop    .look
        mov     edi, IN_DATA
        mov     ecx, DATA_BYTES / 4
        mov     eax, 0x5a5a5a5a
        repe scasd
        EXPECT  e, "its data comes behind the reset"
        cmp     byte [ANSWER], NONE
        EXPECT  e, "its status comes behind the reset"
        dec     dword [round]
        jnz     .next
        TRY     "a reset in a reset"
        call    read_request
        xor     eax, eax
        call    push_head
        call    notify
        mov     esi, [registers]
        mov     byte [esi + STATUS], 0
        mov     byte [esi + STATUS], 15
        mov     byte [esi + STATUS], 0
        mov     word [esi + QUEUE_ENABLE], 1
        call    reset_end
        call    good
        ret

; ---- random words ----

registers_at_random:
        mov     dword [round], ROUNDS
.next:  TRY     "random registers"
        mov     ebp, 16
.write: call    random
        mov     edi, eax
        and     edi, 63             ; of the common configuration, and a bit behind it
        add     edi, [registers]
        call    random
        mov     ecx, eax
        and     ecx, 3
        call    random
        cmp     ecx, 1
        jb      .byte
        je      .word
        and     edi, ~3
        mov     [edi], eax
        jmp     .wrote
.byte:  mov     [edi], al
        jmp     .wrote
.word:  and     edi, ~1
        mov     [edi], ax
.wrote: dec     ebp
        jnz     .write
        mov     edi, [config]
        call    random
        mov     [edi + 32], al      ; of a disk: is it to cache?
        call    notify
        dec     dword [round]
        jnz     .next
        call    good
        mov     dword [round], ROUNDS
        mov     dword [trying], spaces
.space: call    random
        and     eax, 0xfc
        mov     ebx, eax
        call    random
        call    config_write
        dec     dword [round]
        jnz     .space
        mov     ebx, 0x10           ; back to where it was, master again, and no more MSI-X
        mov     eax, [bar]
        call    config_write
        mov     ebx, 0x14
        xor     eax, eax
        call    config_write
        mov     ebx, 4
        mov     eax, 6
        call    config_write
        call    good
        ret

; EAX: an address in the arena, of the device, or where nothing is.
some_address:
        call    random
        test    eax, 7 << 24
        jz      .nowhere
        test    eax, 1 << 28
        jz      .far
        and     eax, 0xfc           ; what is likely to be a header
.far:   and     eax, 0x7fffff
        or      eax, ARENA
        ret
.nowhere:
        test    eax, 8 << 24
        jz      .device
        or      eax, MEMORY_END
        ret
.device:
        and     eax, 0x3fff
        add     eax, [bar]
        ret

rings_at_random:
        mov     dword [round], ROUNDS
.next:  TRY     "random rings"
        mov     edi, RINGS
        mov     edx, ENTRIES
.entry: call    some_address
        stosd
        xor     eax, eax
        stosd
        call    random
        and     eax, 0x3fff
        stosd
        call    random
        and     eax, 0x70007        ; flags; the next one is in the table
        stosd
        dec     edx
        jnz     .entry
        mov     edi, ARENA          ; what headers and tables may be
        mov     ecx, 64
.arena: call    random
        and     eax, 15
        stosd
        loop    .arena
        mov     ecx, ENTRIES
.head:  call    random
        and     eax, ENTRIES - 1
        call    push_head
        loop    .head
        call    notify
        mov     esi, [registers]
        mov     ecx, 20
.look:  mov     al, [esi + STATUS]
        loop    .look
        dec     dword [round]
        jnz     .next
        call    good
        ret

section .data
wrong:          db "disk: wrong: ", 0
passed:         db "disk: PASS", 10, 0
nothing:        db "nothing yet", 0
random_device:  db "virtio-rng", 0
spaces:         db "a random configuration space", 0
align 4
trying:         dd nothing
make_good:      dd good_disk
function:       dd 0
bar:            dd 0
structure:      dd 0                ; by type, of which 1 to 4 are
registers:      dd 0
notifications:  dd 0
isr:            dd 0
config:         dd 0
round:          dd 0
failures:       dd 0
