; SPDX-License-Identifier: BSD-2-Clause
; A driver of the balloon (hv/vdev/virtio/vballoon.h) that gives up pages which are none: behind its
; memory, of devices, of the ring itself, of the list itself, twice, by random numbers; and reports
; such ranges.  What it has named and is memory reads as zeroes then, all else is as it was, and the
; device goes on.
%include "bare.inc"

CONFIG_ADDRESS equ 0xcf8
CONFIG_DATA    equ 0xcfc
BALLOON        equ 0x10451af4       ; device, vendor
CAP_VENDOR     equ 9

; The common configuration
FEATURE_SELECT equ 8
FEATURE        equ 12
STATUS         equ 20
QUEUE_SELECT   equ 22
QUEUE_SIZE     equ 24
QUEUE_ENABLE   equ 28
QUEUE_RINGS    equ 32
NEEDS_RESET    equ 0x40
POISON         equ 12               ; of the device's configuration

PAGE_POISON    equ 1 << 4
REPORTING      equ 1 << 5

INFLATE        equ 0                ; queues
REPORT         equ 4
ENTRIES        equ 8

RINGS          equ 0x600000         ; of queue n: n pages behind it: descriptors, used ring, avail ring
AVAIL          equ 0x400
USED           equ 0x800
LIST           equ 0x700000
PAGES          equ 0x800000         ; what is given up, and what is not
PAGES_COUNT    equ 32
MEMORY_END     equ 0x2000000
ROUNDS         equ 300

; A failure unless the flags say so.
%macro EXPECT 2                     ; condition code, what
        j%1     %%good
        pushad
        mov     esi, %%text
        call    print
        popad
        inc     dword [failures]
section .data
%%text: db "balloon: wrong: ", %2, 10, 0
section .text
%%good:
%endmacro

; An entry of a list: a page by its address.
%macro NAME 1
        mov     eax, %1
        shr     eax, 12
        stosd
%endmacro

; A descriptor of the report: address, its upper half, bytes.
%macro RANGE 3
        mov     eax, %1
        mov     ebx, %2
        mov     ecx, %3
        call    add_range
%endmacro

section .text
main:
        call    find
        test    eax, eax
        EXPECT  nz, "there is no balloon"
        jz      .end
        call    start
        call    lists
        call    own_list
        call    reports
        call    poison
        call    random_lists
        call    broken
.end:   mov     eax, [failures]
        test    eax, eax
        jnz     .done
        mov     esi, passed
        call    print
        xor     eax, eax
.done:  ret

; ---- the device ----

; Reads register EBX of the function's configuration.
config_read:
        mov     edx, CONFIG_ADDRESS
        mov     eax, [function]
        or      eax, ebx
        and     al, 0xfc
        out     dx, eax
        mov     edx, CONFIG_DATA
        in      eax, dx
        ret

; EAX: was there one?  Finds its registers.
find:   mov     dword [function], 0x80000000
.next:  xor     ebx, ebx
        call    config_read
        cmp     eax, BALLOON
        je      .found
        add     dword [function], 0x800
        cmp     dword [function], 0x80010000
        jb      .next
        xor     eax, eax
        ret
.found: mov     ebx, 4
        call    config_read
        or      eax, 6              ; memory, master
        out     dx, eax
        mov     ebx, 0x10
        call    config_read
        and     eax, ~15
        mov     [bar], eax
        mov     ebx, 0x34
        call    config_read
        movzx   ebx, al
.cap:   call    config_read
        mov     esi, eax
        cmp     al, CAP_VENDOR
        jne     .skip
        shr     eax, 24
        cmp     eax, 5
        jae     .skip
        mov     edi, eax
        push    ebx
        add     ebx, 8
        call    config_read
        add     eax, [bar]
        mov     [structure + edi * 4], eax
        add     ebx, 8
        call    config_read         ; of the notifications: their multiplier
        cmp     edi, 2
        jne     .other
        mov     [multiplier], eax
.other: pop     ebx
.skip:  shr     esi, 8
        and     esi, 0xff
        mov     ebx, esi
        jnz     .cap
        mov     eax, 1
        ret

start:  mov     esi, [registers]
        mov     byte [esi + STATUS], 0
        mov     byte [esi + STATUS], 3
        mov     dword [esi + FEATURE_SELECT], 0
        mov     dword [esi + FEATURE], PAGE_POISON | REPORTING
        mov     dword [esi + FEATURE_SELECT], 1
        mov     dword [esi + FEATURE], 1
        mov     byte [esi + STATUS], 11
        test    byte [esi + STATUS], 8
        EXPECT  nz, "its features are not accepted"
        mov     edi, RINGS
        mov     ecx, 5 * 4096 / 4
        xor     eax, eax
        rep stosd
        mov     ebx, INFLATE
        call    enable
        mov     ebx, REPORT
        call    enable
        mov     byte [esi + STATUS], 15
        ret

; Queue EBX, of the device whose common configuration is at ESI.
enable: mov     [esi + QUEUE_SELECT], bx
        mov     word [esi + QUEUE_SIZE], ENTRIES
        mov     eax, ebx
        shl     eax, 12
        add     eax, RINGS
        mov     [esi + QUEUE_RINGS], eax
        add     eax, AVAIL
        mov     [esi + QUEUE_RINGS + 8], eax
        add     eax, USED - AVAIL
        mov     [esi + QUEUE_RINGS + 16], eax
        mov     word [esi + QUEUE_ENABLE], 1
        cmp     word [esi + QUEUE_ENABLE], 1
        EXPECT  e, "a queue is not taken into use"
        ret

; Publishes descriptor 0 of queue EBX and notifies; it is given back by then.
publish:
        mov     edi, ebx
        shl     edi, 12
        add     edi, RINGS
        inc     word [edi + AVAIL + 2]
        mov     eax, ebx
        imul    eax, [multiplier]
        add     eax, [notifications]
        mov     [eax], bx
        mov     ax, [edi + AVAIL + 2]
        cmp     [edi + USED + 2], ax
        ret

; Gives up the ECX pages whose list is at EAX.
give_up:
        mov     edi, RINGS + INFLATE * 4096
        mov     [edi], eax
        shl     ecx, 2
        mov     [edi + 8], ecx
        mov     dword [edi + 12], 0
        mov     ebx, INFLATE
        jmp     publish

; ---- memory ----

; Every page says which it is.
fill:   mov     edi, PAGES
.next:  mov     eax, edi
        not     eax
        stosd
        cmp     edi, PAGES + PAGES_COUNT * 4096
        jb      .next
        ret

; Are the pages as bits of EDX say, 1: zero?
check:  mov     edi, PAGES
.page:  mov     ecx, 1024
.word:  mov     eax, edi
        not     eax
        test    edx, 1
        jz      .kept
        xor     eax, eax
.kept:  scasd
        jne     .wrong
        loop    .word
.next:  shr     edx, 1
        cmp     edi, PAGES + PAGES_COUNT * 4096
        jb      .page
        ret
.wrong: test    edx, 1
        EXPECT  nz, "a page that was not given up has changed"
        test    edx, 1
        EXPECT  z, "a page that was given up is not zero"
        add     edi, 4095
        and     edi, ~4095
        jmp     .next

; ---- what is tried ----

lists:  call    fill
        mov     edi, LIST
        NAME    PAGES
        NAME    PAGES               ; twice
        NAME    MEMORY_END
        NAME    MEMORY_END - 1 + 4096 * 3
        NAME    [bar]
        NAME    0xfee00000
        NAME    0xfec00000
        NAME    0xc0000000
        NAME    0xa0000
        NAME    RINGS
        NAME    PAGES + 2 * 4096
        mov     dword [edi], 0xffffffff
        mov     dword [edi + 4], 0x80000800
        mov     ecx, 13
        mov     eax, LIST
        call    give_up
        EXPECT  e, "a list is not given back"
        mov     edx, 5
        call    check
        mov     eax, LIST           ; and zeroes behind it
        mov     ecx, 0x1000
        call    give_up
        EXPECT  e, "a long list is not given back"
        ret

; The page with the list is in the list.
own_list:
        call    fill
        mov     edi, LIST
        NAME    LIST
        NAME    PAGES + 3 * 4096
        mov     eax, LIST
        mov     ecx, 2
        call    give_up
        EXPECT  e, "a list that names itself is not given back"
        cmp     dword [LIST], 0
        EXPECT  e, "the list is there still"
        mov     edx, 8
        jmp     check

; The next descriptor of the report, whose number is [ranges].
add_range:
        mov     edi, [ranges]
        inc     dword [ranges]
        shl     edi, 4
        add     edi, RINGS + REPORT * 4096
        mov     [edi], eax
        mov     [edi + 4], ebx
        mov     [edi + 8], ecx
        mov     ax, [ranges]
        shl     eax, 16
        mov     al, 3               ; next, written by the device
        mov     [edi + 12], ax
        shr     eax, 16
        mov     [edi + 14], ax
        ret

report: mov     edi, [ranges]
        mov     dword [ranges], 0
        shl     edi, 4
        mov     word [edi + RINGS + REPORT * 4096 - 4], 2
        mov     ebx, REPORT
        jmp     publish

reports:
        call    fill
        RANGE   PAGES + 4 * 4096, 0, 2 * 4096
        RANGE   PAGES + 6 * 4096 + 16, 0, 2 * 4096 - 32     ; not one page is whole
        RANGE   [bar], 0, 0x4000
        RANGE   MEMORY_END - 4096, 0, 0x100000
        RANGE   RINGS + REPORT * 4096, 0, 4096
        RANGE   0xfffff000, 0xffffffff, 0xfff
        RANGE   PAGES + 9 * 4096 + 1, 0, 3 * 4096           ; two are
        call    report
        EXPECT  e, "a report is not given back"
        mov     edx, 3 << 4 | 3 << 10
        jmp     check

; Whoever expects another value in a free page than zero finds what was there.
poison: call    fill
        mov     esi, [config]
        mov     dword [esi + POISON], 0xaaaaaaaa
        RANGE   PAGES, 0, 4096
        call    report
        EXPECT  e, "a report of poisoned pages is not given back"
        xor     edx, edx
        call    check
        mov     dword [esi + POISON], 0
        RANGE   PAGES, 0, 4096
        call    report
        mov     edx, 1
        jmp     check

; Numbers behind the end of memory.
random_lists:
        call    fill
        mov     dword [round], ROUNDS
.next:  mov     edi, LIST
        mov     ecx, 256
.fill:  call    random
        or      eax, MEMORY_END >> 12
        stosd
        loop    .fill
        mov     eax, LIST
        mov     ecx, 256
        call    give_up
        EXPECT  e, "a random list is not given back"
        dec     dword [round]
        jnz     .next
        xor     edx, edx
        jmp     check

; A list that is in no memory breaks the device, until it is reset.
broken: call    fill
        mov     eax, [bar]
        mov     ecx, 16
        call    give_up
        EXPECT  ne, "a list that is nowhere is given back"
        mov     esi, [registers]
        test    byte [esi + STATUS], NEEDS_RESET
        EXPECT  nz, "the device does not want a reset"
        mov     edi, LIST
        NAME    PAGES
        call    start
        mov     eax, LIST
        mov     ecx, 1
        call    give_up
        EXPECT  e, "the device does not go on after its reset"
        mov     edx, 1
        jmp     check

section .data
passed:         db "balloon: PASS", 10, 0
align 4
function:       dd 0
bar:            dd 0
structure:      dd 0                ; by type, of which 1 to 4 are
registers:      dd 0
notifications:  dd 0
isr:            dd 0
config:         dd 0
multiplier:     dd 0
ranges:         dd 0
round:          dd 0
failures:       dd 0
