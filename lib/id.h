/*
 * id.h - request ids: names of files, so nothing but [A-Za-z0-9_-]{1,128}.
 *
 * Ours are UUIDv7 (RFC 9562 5.7, with 12 bits of the millisecond's fraction,
 * 6.2 method 3), so that byte order is the order of creation, in all
 * processes together.  Peers use UUIDv4; every valid id is taken.
 */
#ifndef ID_H
#define ID_H

#include <stdbool.h>

#include "span.h"

#define ID_MAX		128
#define ID_NEW_SIZE	37	/* a UUID in text and a NUL */

/*
 * Who waits for the answer.  A gateway's ids carry a mark, so that its
 * successor knows what a dead gateway had submitted.
 */
enum id_kind { ID_PLAIN, ID_GATEWAY };

bool id_is_valid(struct span id);

/* A valid id as a C string. */
void id_copy(struct span id, char out[static ID_MAX + 1]);

/* 0, or -1 with errno: no random numbers to be had. */
int id_make(enum id_kind kind, char out[static ID_NEW_SIZE]);

bool id_is_from_gateway(struct span id);

#endif
