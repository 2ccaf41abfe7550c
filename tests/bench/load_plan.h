/* load_plan.h - what load is to do, from its command line. */
#ifndef LOAD_PLAN_H
#define LOAD_PLAN_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"

#define PLAN_MARKS_MAX		16
#define PLAN_NUMBER_DIGITS	10
#define PLAN_NUMBER_FIRST	UINT64_C(1000000000)	/* all have 10 digits */

struct plan {
	struct sockaddr_storage address;
	socklen_t address_len;
	char *authority, *path;
	size_t clients;
	uint64_t calls;			/* 0: for a time */
	int64_t duration, timeout;	/* ns */
	const char *method;
	struct span body;		/* of NULL: none */
	struct buf file;		/* what body is of, after -b @FILE */
	struct buf headers;		/* lines */
	bool is_head, unique, verify, json;
	FILE *log;			/* or NULL */
	struct buf request;		/* as it is sent, but for the number */
	size_t marks[PLAN_MARKS_MAX], nmarks;	/* the number's places in it */
};

/*
 * Fills a zeroed plan, or exits: 0 after help, 100 for usage, 111 when the
 * host, a file or memory is not to be had.
 */
void plan_parse(struct plan *plan, int argc, char *argv[]);
void plan_free(struct plan *plan);

/* p, or exit 111 when it is NULL. */
void *plan_allocated(void *p);

#endif
