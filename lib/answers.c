#include <stdlib.h>

#include "answers.h"
#include "id.h"

struct answer *
answers_find(const struct answers *a, struct span id)
{
	char name[ID_MAX + 1];

	if (id.n > ID_MAX)
		return NULL;
	memcpy(name, id.p, id.n);
	name[id.n] = '\0';
	/* The node comes first in its answer. */
	return (struct answer *)(void *)idmap_get(&a->map, name);
}

struct answer *
answers_add(struct answers *a, struct span id, bool safe, int64_t until)
{
	struct answer *answer = malloc(sizeof(*answer) + id.n + 1);
	char *name;

	if (answer == NULL)
		return NULL;
	name = (char *)(answer + 1);
	memcpy(name, id.p, id.n);
	name[id.n] = '\0';
	*answer = (struct answer){ .node.id = name, .safe = safe,
	    .until = until };
	if (idmap_add(&a->map, &answer->node) == -1) {
		free(answer);
		return NULL;
	}
	return answer;
}

/*
 * len is what tells the states apart: an answer is never empty, and one that
 * lost its text keeps the length.
 */
enum answer_state
answer_state(const struct answer *answer, struct span *text)
{
	*text = (struct span){ answer->text, answer->len };
	if (answer->len == 0)
		return ANSWER_PENDING;
	return answer->text != NULL ? ANSWER_KEPT : ANSWER_DROPPED;
}

static void
append(struct answers_list *list, struct answer *answer)
{
	if (list->count++ == 0)
		list->end = &list->first;
	answer->next = NULL;
	*list->end = answer;
	list->end = &answer->next;
}

static struct answer *
take_first(struct answers_list *list)
{
	struct answer *answer = list->first;

	list->first = answer->next;
	list->count--;
	return answer;
}

static void
drop_text(struct answers *a, struct answer *answer)
{
	if (answer->text == NULL)
		return;
	a->bytes -= answer->len;
	free(answer->text);
	answer->text = NULL;
}

static void
forget_first(struct answers *a, struct answers_list *list)
{
	struct answer *answer = take_first(list);

	(void)idmap_take(&a->map, answer->node.id);
	drop_text(a, answer);
	free(answer);
}

/*
 * Only what is in front is looked at: an old answer behind one with a later
 * deadline stays a little longer, and no pass over all of them is needed.
 */
static void
forget_expired(struct answers *a, struct answers_list *list, int64_t now)
{
	while (list->count > 0 && list->first->until >= 0 &&
	    list->first->until < now)
		forget_first(a, list);
}

static void
shrink(struct answers *a)
{
	struct answer *answer;

	while (a->bytes > a->bytes_max) {
		if (a->safe.count > 0) {
			forget_first(a, &a->safe);
		} else {
			answer = take_first(&a->unsafe);
			drop_text(a, answer);
			append(&a->bare, answer);
		}
	}
	while (a->safe.count + a->unsafe.count + a->bare.count > a->ids_max)
		forget_first(a, a->safe.count > 0 ? &a->safe :
		    a->bare.count > 0 ? &a->bare : &a->unsafe);
}

void
answers_keep(struct answers *a, struct answer *answer, struct span text,
    int64_t now)
{
	struct answers_list *list = answer->safe ? &a->safe : &a->unsafe;

	answer->len = text.n;
	answer->text = malloc(text.n);
	if (answer->text != NULL) {
		memcpy(answer->text, text.p, text.n);
		a->bytes += text.n;
	}
	append(answer->text != NULL || answer->safe ? list : &a->bare, answer);
	forget_expired(a, &a->safe, now);
	forget_expired(a, &a->unsafe, now);
	forget_expired(a, &a->bare, now);
	shrink(a);
}

void
answers_free(struct answers *a)
{
	struct idmap_node *node;
	struct answer *answer;

	while ((node = idmap_any(&a->map)) != NULL) {
		(void)idmap_take(&a->map, node->id);
		answer = (struct answer *)(void *)node;
		free(answer->text);
		free(answer);
	}
	idmap_free(&a->map);
	memset(a, 0, sizeof(*a));
}
