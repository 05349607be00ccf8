/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures as the operator sees them: one table for each struct of hv/operator/stats.h says of every
 * figure what it is called, its unit and where it is; lines of text, columns and JSON are all made
 * from it.  A new figure is one line there, and a word in each view that shall show it.
 *
 * A view is text with figures in it, as {NAME}, {NAME:HOW} or {NAME:HOW,WIDTH}:
 *
 *     HOW    M: in MiB, of pages; s0, s1 or s3: in seconds with so many decimals, of microseconds
 *     WIDTH  as printf() has it: -12 is to the left, -12.12 cuts as well
 *
 * A figure that the table does not have, or that cannot be shown so, is shown as '?'.
 */
#ifndef SPILLWAY_HV_OPERATOR_FIGURES_H
#define SPILLWAY_HV_OPERATOR_FIGURES_H

#include "base/types.h"

struct text;

enum figure_unit {
    FIGURE_TEXT,   /* const char * */
    FIGURE_NUMBER, /* this and those below: uint64_t */
    FIGURE_PAGES,  /* of 4 KiB */
    FIGURE_US,     /* microseconds */
};

struct figure {
    const char *name; /* also in JSON */
    enum figure_unit unit;
    size_t at;           /* where it is in the struct */
    const char *heading; /* of its column; NULL: it is in none */
};

struct figures {
    const struct figure *figure;
    unsigned count;
};

extern const struct figures host_figures;  /* of struct host_stats */
extern const struct figures store_figures; /* of struct store_all_stats */
extern const struct figures vm_figures;    /* of struct vm_stats */
extern const struct figures nic_figures;   /* of struct nic_all_stats */
extern const struct figures pool_figures;  /* of struct pool_stats; not in JSON */

#define FIGURES_LINE_MAX   512 /* bytes that a view may come to */
#define FIGURES_JSON_BYTES 3072u
#define FIGURES_NIC_BYTES  640u /* of one NIC */

/* Shows `stats`, which is the struct that the figures are of, on the console. */
void figures_print(const struct figures *figures, const void *stats, const char *view);
/* The line above: each figure's heading in the place of the figure. */
void figures_print_headings(const struct figures *figures, const char *view);
/* All of them, in their order: {"NAME":VALUE,...}. */
void figures_add_json(const struct figures *figures, const void *stats, struct text *json);

#endif
