# SPDX-License-Identifier: BSD-2-Clause
# make check: what can be said of the sources without running them.

# Each check prints what is wrong, then one line.
define check
	@if $(2); then echo 'check: PASS $(1)'; else echo 'check: FAIL $(1)'; exit 1; fi
endef

.PHONY: check-format check-layers check-sizes check-docs check-checks check-headers check-clang check-elf
check: check-format check-layers check-sizes check-docs check-checks check-headers check-clang check-elf

check-format:
	$(call check,format,tools/check-format)

check-layers:
	$(call check,layers and rooms and include cycles,tools/check-layers)

check-sizes:
	$(call check,lengths of files and functions,tools/check-sizes)

check-docs:
	$(call check,files that the documents name,tools/check-docs)

# Do they find what is planted for them?
check-checks:
	$(call check,planted faults are found,tests/checks/run)

check-elf: $(BUILD)/hypervisor.elf
	$(call check,W^X and no vector code,tools/check-elf $<)

# A header includes all that it needs.
HEADERS := $(wildcard $(SOURCE_DIRS:%=%/*.h)) boot/handover.h
check-headers: $(GENERATED)
	$(call check,headers are self-contained, \
	    printf '%s\n' $(HEADERS) | xargs -P 2 -I{} $(CC) $(CFLAGS) -fsyntax-only \
	    -Wno-unused-function -include {} -x c /dev/null)

CLANG_CFLAGS = $(subst $(GCC_INCLUDE),$(shell $(CLANG) -print-resource-dir)/include,$(CFLAGS))
check-clang: $(GENERATED)
	$(call check,clang compiles it, \
	    printf '%s\n' $(C_SOURCES) | xargs -P 2 -n 8 $(CLANG) $(CLANG_CFLAGS) -fsyntax-only && \
	    $(CLANG) $(filter-out -maccumulate-outgoing-args,$(LOADER_CFLAGS)) -fsyntax-only \
	    $(LOADER_SOURCES))
