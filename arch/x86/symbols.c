/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/symbols.h"

#include <stddef.h>

/* One function; the table is sorted by offset.  Generated: see tools/mksymbols. */
struct symbol {
    uint32_t offset; /* of the function, from image_start */
    uint32_t name;   /* of its name, in symbol_names */
};
_Static_assert(sizeof(struct symbol) == 8, "tools/mksymbols emits two 32-bit words");

extern const struct symbol symbol_table[];
extern const uint32_t symbol_count;
extern const char symbol_names[];
extern const char image_start[], text_start[], text_end[];

const char *symbol_lookup(uint64_t address, uint64_t *offset)
{
    uint32_t low = 0, high = symbol_count;

    if (address < (uint64_t)(uintptr_t)text_start || address >= (uint64_t)(uintptr_t)text_end) {
        return NULL;
    }
    uint64_t target = address - (uint64_t)(uintptr_t)image_start;
    /* The last entry that is not above the target: it is in [low, high). */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (symbol_table[middle].offset <= target) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (symbol_count == 0 || symbol_table[low].offset > target) {
        return NULL;
    }
    *offset = target - symbol_table[low].offset;
    return &symbol_names[symbol_table[low].name];
}
