; SPDX-License-Identifier: BSD-2-Clause
; Memory whose size is no multiple of 2 MiB: each page of the last 2 MiB region of each usable range holds
; what is written to it, and nothing is behind the range's end, up to the end of that region.  By PAE paging,
; since a range may lie above 4 GiB.
%include "bare.inc"

MEMORY_USABLE equ 1
WINDOW        equ 0x400000          ; one page of physical memory
LARGE         equ 0x200000
PCI_CONFIGURATION equ 0xc0000000  ; of the first function: it is behind 3 GiB

%macro EXPECT 2                     ; condition code, what
        j%1     %%good
        mov     esi, %%text
        jmp     wrong
section .data
%%text: db "edges: wrong: ", %2, 10, 0
section .text
%%good:
%endmacro

section .text
main:
        call    set_paging
        mov     ebp, [boot_info]
        mov     esi, [ebp + 48]     ; memory map
        mov     edi, [ebp + 44]
        add     edi, esi
.next:  push    esi
        push    edi
        cmp     dword [esi + 20], MEMORY_USABLE
        jne     .skip
        mov     eax, [esi + 4]
        mov     edx, [esi + 8]
        mov     ecx, eax
        or      ecx, edx
        jz      .skip               ; below 640 KiB: what is behind it is memory, too
        mov     [range], eax
        mov     [range + 4], edx
        add     eax, [esi + 12]
        adc     edx, [esi + 16]
        mov     [range_end], eax
        mov     [range_end + 4], edx
        call    check_end
        inc     dword [ranges]
.skip:  pop     edi
        pop     esi
        add     esi, [esi]
        add     esi, 4
        cmp     esi, edi
        jb      .next
        mov     esi, passed
        call    print
        mov     eax, [ranges]
        call    print_decimal
        mov     esi, newline
        call    print
        xor     eax, eax
        ret

wrong:  call    print
        mov     eax, [range_end + 4]
        call    print_hex
        mov     eax, [range_end]
        call    print_hex
        mov     esi, newline
        call    print
        mov     eax, 1
        mov     edx, STATUS_PORT
        out     dx, eax

; 2 MiB pages for the first 4 MiB, and the window behind them.
set_paging:
        mov     dword [page_table_pointers], page_directory + 1
        mov     dword [page_directory], 0x83
        mov     dword [page_directory + 8], LARGE + 0x83
        mov     dword [page_directory + 16], page_table + 3
        mov     eax, cr4
        or      eax, 1 << 5         ; PAE
        mov     cr4, eax
        mov     eax, page_table_pointers
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 1 << 31
        mov     cr0, eax
        ret

; The page at EDX:EAX comes into the window.
map:    push    eax
        or      eax, 3
        mov     [page_table], eax
        mov     [page_table + 4], edx
        pop     eax
        invlpg  [WINDOW]
        ret

; EDX:EAX: the page at which the walk over the last region begins: that region, or the range if it is shorter.
; The program itself, which lies at 1 MiB, is left out.
first_page:
        mov     eax, [range_end]
        mov     edx, [range_end + 4]
        sub     eax, 1
        sbb     edx, 0
        and     eax, -LARGE
        test    edx, edx
        jnz     .done
        cmp     eax, LARGE
        jae     .done
        mov     eax, LARGE
.done:  ret

check_end:
        call    first_page          ; each page gets its own address
.fill:  call    map
        mov     [WINDOW], eax
        mov     [WINDOW + 4092], eax
        add     eax, 4096
        adc     edx, 0
        cmp     eax, [range_end]
        jne     .fill
        test    edx, edx
        jnz     .behind
        cmp     eax, PCI_CONFIGURATION
        je      .again
.behind:                            ; one page at least, then up to the region's end
        call    map
        cmp     dword [WINDOW], -1
        EXPECT  e, "something is behind the end "
        mov     dword [WINDOW], 0
        cmp     dword [WINDOW + 4092], -1
        EXPECT  e, "something is behind the end "
        add     eax, 4096
        adc     edx, 0
        test    eax, LARGE - 1
        jnz     .behind
.again: call    first_page
.check: call    map
        cmp     [WINDOW], eax
        EXPECT  e, "a page has lost its contents, before the end "
        cmp     [WINDOW + 4092], eax
        EXPECT  e, "a page has lost its contents, before the end "
        add     eax, 4096
        adc     edx, 0
        cmp     eax, [range_end]
        jne     .check
        ret

section .data
passed:  db "edges: PASS, ranges: ", 0
newline: db 10, 0
align 8
range:     dq 0
range_end: dq 0
ranges:    dd 0

section .bss
alignb 4096
page_table_pointers: resb 4096
page_directory:      resb 4096
page_table:          resb 4096
