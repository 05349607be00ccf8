/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/nic.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "drivers/platform.h"

#define PAUSE_TURNS   3u /* a pause is so many times as long as the turn before it */
#define BOOT_POLL_US  10u
#define BOOT_RESET_NS 1000000000ull

static struct nic *nics[NIC_MAX];
static _Atomic unsigned count_of_nics; /* other CPUs poll while the boot CPU adds */

/* ---- the list ---- */

unsigned nic_count(void)
{
    return count_of_nics;
}

struct nic *nic_at(unsigned index)
{
    return nics[index];
}

void nic_format_mac(const uint8_t mac[NIC_MAC_BYTES], char text[18])
{
    snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
}

static bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

struct nic *nic_find(const char *name)
{
    for (unsigned i = 0; i < count_of_nics; i++) {
        char mac[18];

        nic_format_mac(nics[i]->mac, mac);
        if (strcmp(name, nics[i]->name) == 0 || text_equal(name, mac)) {
            return nics[i];
        }
    }
    return NULL;
}

static bool is_used(const struct nic *nic)
{
    return atomic_load_explicit(&nic->used, memory_order_acquire);
}

static void nic_add(struct nic *nic)
{
    char mac[18];

    spin_init(&nic->lock, RANK_NIC, "nic");
    nics[count_of_nics] = nic;
    snprintf(nic->name, sizeof(nic->name), "eth%u", (uint8_t)count_of_nics);
    nic->up = nic->ops->link(nic);
    nic_format_mac(nic->mac, mac);
    log_info("%s: %s, MAC %s, %s, link %s", nic->name, nic->model, mac,
             nic->polled ? "polled" : "MSI", nic->up ? "up" : "down");
    atomic_fetch_add(&count_of_nics, 1); /* release: it is whole before anybody finds it */
}

void nic_init(void)
{
    count_of_nics = 0;
    for (struct pci_device *pci = pci_next(NULL); pci; pci = pci_next(pci)) {
        struct nic *nic;

        if (count_of_nics == NIC_MAX) {
            log_warn("more than %d NICs may be there: the rest is not looked for", NIC_MAX);
            return;
        }
        nic = virtio_net_probe(pci);
        if (!nic) {
            nic = e1000_probe(pci);
        }
        if (nic) {
            nic_add(nic);
        }
    }
}

struct nic *nic_leave_out(const struct pci_device *pci, const char *why)
{
    log_error("NIC %02x:%02x.%x (%04x:%04x): %s: left out", pci->bus, pci->slot, pci->function,
              pci->vendor, pci->device, why);
    return NULL;
}

bool nic_reset_and_wait(struct nic *nic)
{
    uint64_t deadline = platform_clock_ns() + BOOT_RESET_NS;

    nic->ops->reset_begin(nic);
    while (!nic->ops->reset_done(nic)) {
        if (platform_clock_ns() >= deadline) {
            return false;
        }
        platform_delay_us(BOOT_POLL_US);
    }
    return true;
}

void nic_attach(struct nic *nic, nic_receiver receiver, void *owner)
{
    nic->receiver = receiver;
    nic->receiver_owner = owner;
    /* Release: who sees that there is one finds it. */
    atomic_store_explicit(&nic->used, true, memory_order_release);
    atomic_store_explicit(&nic->look_at, 0, memory_order_relaxed);
}

void nic_get_stats(const struct nic *nic, struct nic_stats *stats)
{
    *stats = nic->stats;
}

/* ---- sending ---- */

uint32_t nic_gather(uint8_t *to, const struct nic_piece *pieces, unsigned count)
{
    uint32_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        memcpy(to + bytes, pieces[i].at, pieces[i].bytes);
        bytes += pieces[i].bytes;
    }
    return bytes;
}

/* 0: no frame that can be sent. */
static uint32_t frame_bytes(const struct nic_piece *pieces, unsigned count)
{
    uint32_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].bytes > NIC_FRAME_MAX - bytes) {
            return 0;
        }
        bytes += pieces[i].bytes;
    }
    return bytes >= NIC_FRAME_MIN ? bytes : 0;
}

/* The lock is held, and it is not stopped. */
static void reap(struct nic *nic)
{
    int back = nic->ops->reap(nic);

    if (back < 0 || (unsigned)back > nic->sent) {
        nic->nonsense = true;
    } else if (back > 0) {
        nic->sent -= (unsigned)back;
        nic->progress_ns = platform_clock_ns();
    }
}

/* The lock is held. */
static bool try_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    if (nic->stopped || !nic->up) {
        return false;
    }
    reap(nic);
    if (nic->nonsense || !nic->ops->send(nic, pieces, count)) {
        return false;
    }
    if (nic->sent++ == 0) {
        nic->progress_ns = platform_clock_ns();
    }
    return true;
}

bool nic_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    uint32_t bytes = frame_bytes(pieces, count);
    bool sent;

    spin_lock(&nic->lock);
    sent = bytes != 0 && try_send(nic, pieces, count);
    if (sent) {
        nic->stats.tx_frames++;
        nic->stats.tx_bytes += bytes;
    } else {
        nic->stats.tx_dropped++;
    }
    spin_unlock(&nic->lock);
    return sent;
}

/* ---- receiving; `busy` is owned from here on ---- */

void nic_received(struct nic *nic, const void *frame, uint32_t bytes)
{
    if (!frame || bytes < NIC_FRAME_MIN || bytes > NIC_FRAME_MAX) {
        nic->stats.rx_errors++;
        return;
    }
    nic->stats.rx_frames++;
    nic->stats.rx_bytes += bytes;
    nic->receiver(nic->receiver_owner, frame, bytes);
}

static void set_interrupts(struct nic *nic, bool on)
{
    if (!nic->polled && nic->masked == on) {
        nic->ops->interrupts(nic, on);
        nic->masked = !on;
    }
}

/* False: the hardware returned nonsense. */
static bool receive(struct nic *nic)
{
    uint64_t begin = platform_clock_ns(), end = begin;
    bool well = true;

    for (unsigned i = 0; well && i < NIC_TURN / NIC_TURN_PART && end - begin < NIC_TURN_NS &&
                         (i == 0 || nic->ops->pending(nic));
         i++) {
        well = nic->ops->receive(nic, NIC_TURN_PART);
        end = platform_clock_ns();
    }
    atomic_store_explicit(&nic->receive_after, end + PAUSE_TURNS * (end - begin) + 1,
                          memory_order_relaxed);
    /* Interrupts would only say what is known: more has come, and is for after the pause. */
    set_interrupts(nic, !nic->ops->pending(nic));
    return well;
}

/* ---- resets ---- */

static void set_link(struct nic *nic, bool up)
{
    spin_lock(&nic->lock);
    nic->up = up;
    nic->progress_ns = platform_clock_ns(); /* what waited for the link gets all its time */
    spin_unlock(&nic->lock);
}

static void set_stopped(struct nic *nic, bool stopped)
{
    spin_lock(&nic->lock);
    nic->stopped = stopped;
    nic->sent = 0;
    nic->nonsense = false;
    spin_unlock(&nic->lock);
}

static void look_after(struct nic *nic, uint64_t ns)
{
    atomic_store_explicit(&nic->look_at, platform_clock_ns() + ns, memory_order_relaxed);
}

static void reset_begin(struct nic *nic, const char *why)
{
    log_error("%s: %s, resetting it", nic->name, why);
    set_stopped(nic, true);
    nic->state = NIC_RESETTING;
    nic->stats.resets++;
    nic->deadline = platform_clock_ns() + NIC_RESET_NS;
    atomic_store_explicit(&nic->receive_after, UINT64_MAX, memory_order_relaxed);
    nic->ops->reset_begin(nic);
    look_after(nic, NIC_SETTLE_NS); /* so one that is mad resets, and says so, once a second */
}

/* It may still write to its buffers, which are nobody else's, ever. */
static void give_up(struct nic *nic)
{
    nic->state = NIC_DEAD;
    set_link(nic, false);
    pci_master_disable(nic->pci);
    log_error("%s: the reset failed, it is given up", nic->name);
    atomic_store_explicit(&nic->look_at, UINT64_MAX, memory_order_relaxed);
}

static void reset_step(struct nic *nic)
{
    if (!nic->ops->reset_done(nic)) {
        if (platform_clock_ns() >= nic->deadline) {
            give_up(nic);
            return;
        }
        look_after(nic, NIC_SETTLE_NS);
        return;
    }
    if (!nic->ops->start(nic)) {
        give_up(nic);
        return;
    }
    nic->masked = false;
    nic->state = NIC_RUNNING;
    set_stopped(nic, false);
    atomic_store_explicit(&nic->receive_after, 0, memory_order_relaxed);
    look_after(nic, 0);
}

/* ---- the look at all of it ---- */

static void watch_link(struct nic *nic)
{
    bool up = nic->ops->link(nic);

    if (up == nic->up) {
        return;
    }
    set_link(nic, up);
    nic->stats.link_changes++;
    log_line(up ? LOG_INFO : LOG_WARN, "%s: link %s", nic->name, up ? "up" : "down");
}

/* Why it has to be reset, or NULL. */
static const char *watch_sending(struct nic *nic)
{
    const char *why = NULL;

    spin_lock(&nic->lock);
    reap(nic);
    if (nic->nonsense) {
        why = "it returns what it was not given";
    } else if (nic->sent != 0 && nic->up &&
               platform_clock_ns() - nic->progress_ns >= NIC_TIMEOUT_NS) {
        why = "what it was given does not come back";
    }
    spin_unlock(&nic->lock);
    return why;
}

/* Somebody wants what comes, and it has no pause. */
static bool shall_receive(const struct nic *nic, uint64_t now)
{
    return is_used(nic) && now >= atomic_load_explicit(&nic->receive_after, memory_order_relaxed);
}

static void work(struct nic *nic)
{
    uint64_t now = platform_clock_ns();
    const char *why;

    if (nic->state != NIC_RUNNING) {
        if (nic->state == NIC_RESETTING) {
            reset_step(nic);
        }
        return;
    }
    if (now >= atomic_load_explicit(&nic->look_at, memory_order_relaxed)) {
        look_after(nic, nic->polled && is_used(nic) ? NIC_POLL_NS : NIC_LINK_NS);
        watch_link(nic);
        why = watch_sending(nic);
        if (why) {
            reset_begin(nic, why);
            return;
        }
    }
    if (shall_receive(nic, now) && !receive(nic)) {
        reset_begin(nic, "it returns what it was not given");
    }
}

/* When there is something to do; what is pending now may be. */
static uint64_t due_at(const struct nic *nic)
{
    uint64_t look_at = atomic_load_explicit(&nic->look_at, memory_order_relaxed);
    uint64_t after = atomic_load_explicit(&nic->receive_after, memory_order_relaxed);

    return is_used(nic) && after < look_at && nic->ops->pending(nic) ? after : look_at;
}

/*
 * Two turns at most: the first one ends with a pause.  Whoever finds `busy` set goes away, so its
 * owner looks once more when it has cleared it; both are full fences, so one of the two sees what
 * has come.
 */
static void poll_nic(struct nic *nic)
{
    while (platform_clock_ns() >= due_at(nic) && !atomic_exchange(&nic->busy, true)) {
        if (platform_clock_ns() >= due_at(nic)) {
            work(nic);
        }
        atomic_store(&nic->busy, false);
    }
}

void nic_poll(void)
{
    for (unsigned i = 0; i < count_of_nics; i++) {
        poll_nic(nics[i]);
    }
}

uint64_t nic_deadline(void)
{
    uint64_t soonest = UINT64_MAX;

    for (unsigned i = 0; i < count_of_nics; i++) {
        if (!atomic_load_explicit(&nics[i]->busy, memory_order_relaxed)) {
            uint64_t at = due_at(nics[i]);

            soonest = MIN(soonest, at);
        }
    }
    return soonest;
}
