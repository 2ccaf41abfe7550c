/*
 * lease_clean.h - runs the clean-up command of an environment for a lease.
 *
 * It is a program of this host, with PC_LEASE_ID, PC_LEASE_EPOCH,
 * PC_LEASE_ENVIRONMENT (the name), PC_LEASE_PROVIDER, PC_LEASE_PROVIDER_ID,
 * PC_LEASE_WORKSPACE, PC_LEASE_RUN and PC_LEASE_STATUS in its environment,
 * and the metadata to read: nothing of a lease is ever part of a shell's
 * text.  A command that takes longer than its limit is killed, with all of
 * its process group.
 */
#ifndef LEASE_CLEAN_H
#define LEASE_CLEAN_H

#include "lease.h"

/* A lease_cleaner; arg is not used. */
int lease_clean(void *arg, const struct environment *e,
    const struct environment_config *config, const struct lease *l,
    struct problem *p);

#endif
