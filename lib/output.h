/*
 * output.h - lines to a reader that may be slow: what it does not take now
 * waits in memory, and nobody waits for it.
 *
 * The flags of the descriptor are left alone, since others share them: a
 * pipe is opened once more, a socket is told with every call, and for what is
 * neither, poll(2) is asked first.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "buf.h"

enum output_kind { OUTPUT_PIPE, OUTPUT_SOCKET, OUTPUT_FILE, OUTPUT_OTHER };

struct output {
	int fd;			/* to wait on: the one given, or our own */
	struct buf lines;	/* append here */
	size_t sent;		/* private: bytes of lines already written */
	enum output_kind kind;
	bool own;
};

/* Zeroes o. */
void output_open(struct output *o, int fd);
void output_close(struct output *o);

/* Bytes that wait. */
size_t output_pending(const struct output *o);

/* One write of all that waits: 0, whatever was taken of it, or -1 and errno. */
int output_flush(struct output *o);

/* What waits is for nobody: it is forgotten, and so is a want of memory. */
void output_drop(struct output *o);

#endif
