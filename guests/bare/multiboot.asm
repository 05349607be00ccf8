; SPDX-License-Identifier: BSD-2-Clause
; Checks what a multiboot 1 kernel is handed: Multiboot Specification 0.6.96, "3.2 Machine state"
; and "3.3 Boot information format".
%include "boot.inc"

section .text
main:
        cmp     dword [boot_magic], 0x2badb002
        EXPECT  e, "EAX at entry"
        mov     ebp, [boot_info]
        mov     eax, [ebp]
        and     eax, 0x4d           ; memory, command line, modules, memory map
        cmp     eax, 0x4d
        EXPECT  e, "flags"
        mov     esi, [ebp + 16]
        mov     edi, cmdline_text
        call    starts_with
        EXPECT  e, "command line"
        cmp     dword [ebp + 20], MODULES
        EXPECT  e, "number of modules"
        mov     ebx, [ebp + 24]
        xor     ecx, ecx
.module:
        mov     eax, [ebx]
        mov     edx, [ebx + 4]
        sub     edx, eax
        mov     esi, [ebx + 8]
        call    check_module
        add     ebx, 16
        inc     ecx
        cmp     ecx, MODULES
        jb      .module
        mov     esi, [ebp + 48]     ; memory map
        mov     edi, [ebp + 44]
        add     edi, esi
.next:  mov     eax, [esi + 4]
        mov     ecx, [esi + 12]
        mov     edx, [esi + 20]
        call    check_range
        add     esi, [esi]
        add     esi, 4
        cmp     esi, edi
        jb      .next
        jmp     check_total
