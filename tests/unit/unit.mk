# SPDX-License-Identifier: BSD-2-Clause
# Unit tests on the host.  `make unit`, or `make -f tests/unit/unit.mk unit` from the root.
#
# Each tests/unit/test_*.c is a program.  It is linked with mm/, base/, hv/vdev/, the table formats and the
# support files of tests/unit (an archive, so that only what it calls comes in), and with
#     /* SOURCES: file.c ... */     more files of the tree
#     /* LIBS: -lfoo ... */         more libraries
# if it says so in its first lines.  Built twice: by gcc with ASan and UBSan, and by clang, optimised.
#
#     make unit UNIT=test_table     one suite
#     make unit UNIT_CFLAGS=...     other flags
#     make mutations                every rule is broken once: does its test notice?

BUILD ?= build
UNIT  ?= $(sort $(basename $(notdir $(wildcard tests/unit/test_*.c))))

UNIT_DIR      := $(BUILD)/unit
UNIT_WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Wcast-qual -Wstrict-prototypes \
                 -Werror
UNIT_COMMON   := -std=gnu11 -g -I. -isystem $(UNIT_DIR) $(UNIT_WARNINGS) -fno-omit-frame-pointer -pthread $(UNIT_CFLAGS)
UNIT_CC_gcc   := gcc $(UNIT_COMMON) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_CC_clang := clang-14 $(UNIT_COMMON) -O2
UNIT_LINK     := -Wl,--wrap=frame_alloc,--wrap=frame_alloc_zeroed,--wrap=frame_alloc_promised -lcmocka -pthread
UNIT_TIMEOUT  ?= 600

UNIT_LIBRARY := $(sort $(wildcard mm/*/*.c base/*.c tests/unit/support*.c)) arch/x86/vmx/ept_format.c \
                arch/x86/svm/npt_format.c tests/unit/fake_format.c tests/unit/fake_disk.c \
                $(filter-out hv/vdev/testdev.c hv/vdev/testdev_disk.c,$(wildcard hv/net/*.c hv/vdev/*.c hv/vdev/*/*.c))
UNIT_HEX     := $(patsubst %.asl,$(UNIT_DIR)/%.hex,$(wildcard hv/vdev/legacy/*.asl))

# Words behind "NAME:" in the comments at the top of a test.
unit-words = $(shell sed -n '1,12p' tests/unit/$(2).c | tr '\n' ' ' | \
             sed -n 's|.*/\* $(1): ||p' | sed 's|\*/.*||' | tr -d '*')
unit-extra = $(filter-out $(UNIT_LIBRARY),$(call unit-words,SOURCES,$(1)))

.PHONY: unit mutations
.SECONDARY:

mutations:
	@BUILD=$(BUILD) tests/mutations/run

# $(1) compiler, $(2) suite
define unit-program
$(UNIT_DIR)/$(1)/$(2): $(UNIT_DIR)/$(1)/tests/unit/$(2).o \
                       $(patsubst %.c,$(UNIT_DIR)/$(1)/%.o,$(call unit-extra,$(2))) \
                       $(UNIT_DIR)/$(1)/support.a tests/unit/unit.mk
	@$$(UNIT_CC_$(1)) $$(filter %.o,$$^) $(UNIT_DIR)/$(1)/support.a $$(UNIT_LINK) \
	    $(call unit-words,LIBS,$(2)) -o $$@

.PHONY: unit-run-$(1)-$(2) unit-build-$(1)
unit-build-$(1): $(UNIT_DIR)/$(1)/$(2)
unit-run-$(1)-$(2): $(UNIT_DIR)/$(1)/$(2)
	@tests/unit/run-suite $(1) $(2) $$< $(UNIT_TIMEOUT)
unit: unit-run-$(1)-$(2)
endef

# $(1) compiler
define unit-compiler
$(UNIT_DIR)/$(1)/%.o: %.c | $(UNIT_HEX) $(UNIT_DIR)/sys/tree.h
	@mkdir -p $$(@D)
	@$$(UNIT_CC_$(1)) -MMD -MP -c $$< -o $$@

$(UNIT_DIR)/$(1)/support.a: $(UNIT_LIBRARY:%.c=$(UNIT_DIR)/$(1)/%.o)
	@rm -f $$@
	@ar rcsP $$@ $$^
endef

# The one header of newlib's that the C library of the host does not have.
$(UNIT_DIR)/sys/tree.h:
	@mkdir -p $(@D)
	@tar xOf $(firstword $(wildcard /usr/src/newlib/newlib-*.tar.xz)) --wildcards \
	    '*/newlib/libc/include/sys/tree.h' > $@

$(UNIT_DIR)/%.hex: %.asl
	@mkdir -p $(@D)
	@iasl -p $(UNIT_DIR)/$* -tc $< > $(@:.hex=.log) || { cat $(@:.hex=.log); exit 1; }

# Parsing every suite's comments costs time, so the rules are made only when they are wanted.
ifneq ($(filter unit%,$(MAKECMDGOALS)),)
$(foreach compiler,gcc clang,$(eval $(call unit-compiler,$(compiler))) \
    $(foreach suite,$(UNIT),$(eval $(call unit-program,$(compiler),$(suite)))))
-include $(shell find $(UNIT_DIR) -name '*.d' 2>/dev/null)
endif
