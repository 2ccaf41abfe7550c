/* meter.h - how far a transfer is, told to whoever shows it. */
#ifndef METER_H
#define METER_H

#include <stddef.h>
#include <stdint.h>

struct meter {
	void (*moved)(void *arg, uint64_t bytes);	/* so many more */
	void *arg;
};

/* m may be NULL. */
static inline void
meter_moved(const struct meter *m, uint64_t bytes)
{
	if (m != NULL)
		m->moved(m->arg, bytes);
}

#endif
