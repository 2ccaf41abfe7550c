/* respond.h - from a response line to a file in responses/, and a report. */
#ifndef RESPOND_H
#define RESPOND_H

#include "queue.h"
#include "record.h"

/* Zeroed but for the first two. */
struct responder {
	struct queue *q;
	size_t body_max;
	struct record record;	/* of the last line: its id, its fault */
	struct buf file;	/* private */
	int error;		/* errno of the last that was not written */
};

enum respond_result {
	RESPOND_REPORTED,	/* published or not: the report was appended */
	RESPOND_PASSED,		/* no response: the line was appended */
	RESPOND_NOTHING,	/* an empty line: a keep-alive */
	RESPOND_INVALID		/* record.fault says why; nothing appended */
};

/* Deals with one line; what comes of it is appended to out. */
enum respond_result respond_line(struct responder *r, struct span line,
    struct buf *out);

/* Publishes r->record, which has an id, as the response; appends the report. */
void respond_record(struct responder *r, struct buf *out);

void responder_free(struct responder *r);

#endif
