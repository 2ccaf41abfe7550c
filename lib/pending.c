#include <stdlib.h>
#include <string.h>

#include "pending.h"

static void
swap(struct pending *p, size_t a, size_t b)
{
	char *id = p->ids[a];

	p->ids[a] = p->ids[b];
	p->ids[b] = id;
}

static bool
has_room(struct pending *p)
{
	size_t cap = p->cap ? p->cap * 2 : 64;
	char **ids;

	if (p->count < p->cap)
		return true;
	if (p->cap >= PENDING_MAX)
		return false;
	ids = realloc(p->ids, cap * sizeof(*ids));
	if (ids == NULL)
		return false;
	p->ids = ids;
	p->cap = cap;
	return true;
}

void
pending_add(struct pending *p, const char *id)
{
	size_t at, parent;

	if (!has_room(p) || (p->ids[p->count] = strdup(id)) == NULL) {
		p->dropped = true;
		return;
	}
	for (at = p->count++; at > 0; at = parent) {
		parent = (at - 1) / 2;
		if (strcmp(p->ids[parent], p->ids[at]) <= 0)
			break;
		swap(p, parent, at);
	}
}

char *
pending_take(struct pending *p)
{
	size_t at = 0, child;
	char *first;

	if (p->count == 0)
		return NULL;
	first = p->ids[0];
	p->ids[0] = p->ids[--p->count];
	while ((child = 2 * at + 1) < p->count) {
		if (child + 1 < p->count &&
		    strcmp(p->ids[child + 1], p->ids[child]) < 0)
			child++;
		if (strcmp(p->ids[at], p->ids[child]) <= 0)
			break;
		swap(p, at, child);
		at = child;
	}
	return first;
}

void
pending_clear(struct pending *p)
{
	while (p->count > 0)
		free(p->ids[--p->count]);
	p->dropped = false;
}

void
pending_free(struct pending *p)
{
	pending_clear(p);
	free(p->ids);
	memset(p, 0, sizeof(*p));
}
