/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/machine/uplinks.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/machine/refuse.h"
#include "hv/net/uplink.h"

#define NAMES_MAX (NIC_MAX * (NIC_NAME_MAX + 2))

/* "eth0, eth1", or "none". */
static void list_names(char names[NAMES_MAX])
{
    size_t used = 0;

    strcpy(names, "none");
    for (unsigned i = 0; i < nic_count(); i++) {
        used += (size_t)snprintf(names + used, NAMES_MAX - used, "%s%s", i == 0 ? "" : ", ",
                                 nic_at(i)->name);
    }
}

/* False: it is reported. */
static bool create(unsigned number, const struct switch_config *net)
{
    struct nic *nic = nic_find(net->uplink);
    char names[NAMES_MAX];

    if (nic == NULL) {
        list_names(names);
        refuse_value(net->uplink_line, "uplink: expected one of %s, got '%s'", names, net->uplink);
        return false;
    }
    if (nic->used) {
        refuse_value(net->uplink_line, "uplink: expected a NIC that is no other switch's, got '%s'",
                     net->uplink);
        return false;
    }
    if (!uplink_create(machine_switch(number), nic)) {
        log_error("switch %s: no memory for its uplink; going on without", net->name);
        return true;
    }
    log_info("switch %s: uplink %s", net->name, nic->name);
    return true;
}

void machine_uplinks_create(void)
{
    const struct config *config = machine_config();
    bool good = true;

    for (unsigned i = 0; i < config->nets_used; i++) {
        good &= config->net[i].uplink[0] == '\0' || create(i, &config->net[i]);
    }
    if (!good) {
        refuse_configuration();
    }
}
