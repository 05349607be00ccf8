# SPDX-License-Identifier: BSD-2-Clause
# The program behind tools/spillway check: the parser and the admission, on the host.

# Only what it calls of them is linked.
CHECK_SOURCES := tools/check-config.c base/config_text.c $(wildcard hv/config/*.c) \
                 drivers/uart.c mm/space/space.c mm/space/identity.c mm/tmem/tmem.c mm/tmem/table.c mm/frame/frame_array.c mm/frame/frame_alloc.c mm/frame/buddy.c mm/content/store.c
CHECK_CFLAGS  := -std=gnu11 -O1 -g $(WARNINGS) -I. -isystem $(BUILD)/check -ffunction-sections \
                 -fdata-sections -Wl,--gc-sections

$(BUILD)/check/sys/tree.h: $(BUILD)/libc/newlib.h
	@mkdir -p $(@D)
	$(Q)cp $(NEWLIB)/include/sys/tree.h $@

$(BUILD)/check-config: $(CHECK_SOURCES) $(wildcard hv/*.h hv/*/*.h hv/*/*/*.h mm/*.h mm/*/*.h base/*.h) | $(BUILD)/check/sys/tree.h
	@echo '  CC      tools/check-config.c'
	$(Q)$(CC) $(CHECK_CFLAGS) $(CHECK_SOURCES) -o $@
