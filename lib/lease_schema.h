/*
 * lease_schema.h - the tables of environments, leases and activities, with
 * their version: made on first use, brought forward by a later program, and
 * refused by an older one.
 */
#ifndef LEASE_SCHEMA_H
#define LEASE_SCHEMA_H

#include "store.h"

/* 0, or -1 with p. */
int lease_schema_ready(struct store *s, struct problem *p);

#endif
