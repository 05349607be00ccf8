# SPDX-License-Identifier: BSD-2-Clause
# The loader: a UEFI application with the hypervisor inside.

PAYLOAD        ?= $(BUILD)/hypervisor.stripped
LOADER_SOURCES := $(wildcard boot/*.c) base/config_text.c
LOADER_OBJECTS := $(LOADER_SOURCES:%.c=$(BUILD)/%.efi.o) $(BUILD)/boot/payload.efi.o
LOADER_CFLAGS  := -std=c11 -ffreestanding -fpic -fshort-wchar -fno-stack-protector -mno-red-zone \
                  -mgeneral-regs-only -fcf-protection=none -fno-strict-aliasing -maccumulate-outgoing-args \
                  -O2 -g -DGNU_EFI_USE_MS_ABI $(WARNINGS) -I. \
                  -isystem /usr/include/efi -isystem /usr/include/efi/x86_64

$(BUILD)/%.efi.o: %.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(LOADER_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/boot/payload.efi.o: boot/payload.S $(PAYLOAD)
	@mkdir -p $(@D)
	$(Q)$(CC) -DPAYLOAD='"$(PAYLOAD)"' -c $< -o $@

$(BUILD)/loader.so: $(LOADER_OBJECTS)
	@echo '  LD      $@'
	$(Q)ld -nostdlib -znocombreloc -z noexecstack --no-warn-rwx-segments -shared -Bsymbolic \
	    -T /usr/lib/elf_x86_64_efi.lds /usr/lib/crt0-efi-x86_64.o $(LOADER_OBJECTS) \
	    -L /usr/lib -lgnuefi -o $@

$(BUILD)/BOOTX64.EFI: $(BUILD)/loader.so
	@echo '  EFI     $@'
	$(Q)objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' -j '.rela*' \
	    -j .reloc --target efi-app-x86_64 --subsystem=10 $< $@
