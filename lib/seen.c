#include <stdlib.h>

#include "id.h"
#include "seen.h"

struct seen_request *
seen_find(const struct seen_table *t, struct span id)
{
	char name[ID_MAX + 1];

	id_copy(id, name);
	/* The node comes first in its struct. */
	return (struct seen_request *)(void *)idmap_get(&t->map, name);
}

struct seen_request *
seen_add(struct seen_table *t, struct span id, bool safe, int64_t until)
{
	struct seen_request *s = malloc(sizeof(*s) + id.n + 1);
	char *name;

	if (s == NULL)
		return NULL;
	name = (char *)(s + 1);
	memcpy(name, id.p, id.n);
	name[id.n] = '\0';
	*s = (struct seen_request){ .node.id = name, .safe = safe,
	    .until = until };
	if (idmap_add(&t->map, &s->node) == -1) {
		free(s);
		return NULL;
	}
	return s;
}

/*
 * len is what tells the states apart: an answer is never empty, and one that
 * lost its text keeps the length.
 */
enum seen_state
seen_state(const struct seen_request *s, struct span *text)
{
	*text = (struct span){ s->text, s->len };
	if (s->len == 0)
		return SEEN_PENDING;
	return s->text != NULL ? SEEN_ANSWERED : SEEN_DROPPED;
}

static void
append(struct seen_list *list, struct seen_request *s)
{
	if (list->count++ == 0)
		list->end = &list->first;
	s->next = NULL;
	*list->end = s;
	list->end = &s->next;
}

static struct seen_request *
take_first(struct seen_list *list)
{
	struct seen_request *s = list->first;

	list->first = s->next;
	list->count--;
	return s;
}

static void
drop_text(struct seen_table *t, struct seen_request *s)
{
	if (s->text == NULL)
		return;
	t->bytes -= s->len;
	free(s->text);
	s->text = NULL;
}

static void
forget(struct seen_table *t, struct seen_request *s)
{
	(void)idmap_take(&t->map, s->node.id);
	drop_text(t, s);
	free(s);
}

static void
forget_first(struct seen_table *t, struct seen_list *list)
{
	forget(t, take_first(list));
}

/*
 * Only what is in front is looked at: an old answer behind one with a later
 * deadline stays a little longer, and no pass over all of them is needed.
 */
static void
forget_expired(struct seen_table *t, struct seen_list *list, int64_t now)
{
	while (list->count > 0 && list->first->until >= 0 &&
	    list->first->until < now)
		forget_first(t, list);
}

static void
shrink(struct seen_table *t)
{
	struct seen_request *s;

	while (t->bytes > t->bytes_max) {
		if (t->safe.count > 0) {
			forget_first(t, &t->safe);
		} else {
			s = take_first(&t->unsafe);
			drop_text(t, s);
			append(&t->bare, s);
		}
	}
	while (t->safe.count + t->unsafe.count + t->bare.count > t->ids_max)
		forget_first(t, t->safe.count > 0 ? &t->safe :
		    t->bare.count > 0 ? &t->bare : &t->unsafe);
}

void
seen_answer(struct seen_table *t, struct seen_request *s, struct span text,
    int64_t now)
{
	s->len = text.n;
	/* Without memory for it, the text may be none at all. */
	s->text = text.n > 0 ? malloc(text.n) : NULL;
	if (s->text != NULL) {
		memcpy(s->text, text.p, text.n);
		t->bytes += text.n;
		append(s->safe ? &t->safe : &t->unsafe, s);
	} else if (s->safe) {
		forget(t, s);
	} else {
		append(&t->bare, s);
	}
	forget_expired(t, &t->safe, now);
	forget_expired(t, &t->unsafe, now);
	forget_expired(t, &t->bare, now);
	shrink(t);
}

void
seen_free(struct seen_table *t)
{
	struct idmap_node *node;

	while (t->safe.count > 0)
		forget_first(t, &t->safe);
	while (t->unsafe.count > 0)
		forget_first(t, &t->unsafe);
	while (t->bare.count > 0)
		forget_first(t, &t->bare);
	while ((node = idmap_any(&t->map)) != NULL)
		forget(t, (struct seen_request *)(void *)node);
	idmap_free(&t->map);
	memset(t, 0, sizeof(*t));
}
