; SPDX-License-Identifier: BSD-2-Clause
; Checks what a PVH kernel is handed: Xen, "x86/HVM direct boot ABI", struct hvm_start_info.
%define NO_MULTIBOOT
%include "boot.inc"

NOTE_PHYS32_ENTRY equ 18

section .note.pvh
align 4
        dd 4, 4, NOTE_PHYS32_ENTRY
        db "Xen", 0
        dd _start

section .text
main:
        mov     ebp, [boot_info]
        cmp     dword [ebp], 0x336ec578
        EXPECT  e, "magic of the start info"
        mov     esi, [ebp + 24]
        mov     edi, cmdline_text
        call    starts_with
        EXPECT  e, "command line"
        cmp     dword [ebp + 12], MODULES
        EXPECT  e, "number of modules"
        mov     ebx, [ebp + 16]
        xor     ecx, ecx
.module:
        mov     eax, [ebx]
        mov     edx, [ebx + 8]
        mov     esi, [ebx + 16]
        call    check_module
        add     ebx, 32
        inc     ecx
        cmp     ecx, MODULES
        jb      .module
        mov     esi, [ebp + 32]
        cmp     dword [esi], 'RSD '
        EXPECT  e, "ACPI root pointer"
        mov     esi, [ebp + 40]     ; memory map
        mov     edi, [ebp + 48]
.next:  mov     eax, [esi]
        mov     ecx, [esi + 8]
        mov     edx, [esi + 16]
        call    check_range
        add     esi, 24
        dec     edi
        jnz     .next
        jmp     check_total
