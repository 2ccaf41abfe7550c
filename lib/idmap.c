#include <sys/random.h>

#include <stdlib.h>
#include <string.h>

#include "idmap.h"

/*
 * FNV-1a from a random start, since others choose some of the ids.
 */
static uint32_t
hash_id(const char *id)
{
	static uint32_t seed;
	uint32_t h;

	while (seed == 0)
		if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) !=
		    (ssize_t)sizeof(seed))
			seed = 2166136261u;
	for (h = seed; *id != '\0'; id++)
		h = (h ^ (unsigned char)*id) * 16777619u;
	return h ^ h >> 15;
}

static int
grow(struct idmap *m)
{
	size_t n = m->nbuckets ? m->nbuckets * 2 : 64, i;
	struct idmap_node **buckets, *node, *next;

	buckets = calloc(n, sizeof(*buckets));
	if (buckets == NULL)
		return m->nbuckets > 0 ? 0 : -1;	/* fuller, still right */
	for (i = 0; i < m->nbuckets; i++)
		for (node = m->buckets[i]; node != NULL; node = next) {
			next = node->next;
			node->next = buckets[node->hash & (n - 1)];
			buckets[node->hash & (n - 1)] = node;
		}
	free(m->buckets);
	m->buckets = buckets;
	m->nbuckets = n;
	return 0;
}

int
idmap_add(struct idmap *m, struct idmap_node *node)
{
	struct idmap_node **bucket;

	if (m->count >= m->nbuckets && grow(m) == -1)
		return -1;
	node->hash = hash_id(node->id);
	bucket = &m->buckets[node->hash & (m->nbuckets - 1)];
	node->next = *bucket;
	*bucket = node;
	m->count++;
	return 0;
}

static struct idmap_node **
find(const struct idmap *m, const char *id)
{
	struct idmap_node **at;
	uint32_t hash;

	if (m->count == 0)
		return NULL;
	hash = hash_id(id);
	at = &m->buckets[hash & (m->nbuckets - 1)];
	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->hash == hash && strcmp((*at)->id, id) == 0)
			return at;
	return NULL;
}

struct idmap_node *
idmap_get(const struct idmap *m, const char *id)
{
	struct idmap_node **at = find(m, id);

	return at != NULL ? *at : NULL;
}

struct idmap_node *
idmap_take(struct idmap *m, const char *id)
{
	struct idmap_node **at = find(m, id), *node;

	if (at == NULL)
		return NULL;
	node = *at;
	*at = node->next;
	m->count--;
	return node;
}

struct idmap_node *
idmap_next(const struct idmap *m, const struct idmap_node *node)
{
	size_t i = 0;

	if (node != NULL && node->next != NULL)
		return node->next;
	if (node != NULL)
		i = (node->hash & (m->nbuckets - 1)) + 1;
	for (; i < m->nbuckets; i++)
		if (m->buckets[i] != NULL)
			return m->buckets[i];
	return NULL;
}

struct idmap_node *
idmap_any(const struct idmap *m)
{
	return m->count > 0 ? idmap_next(m, NULL) : NULL;
}

void
idmap_free(struct idmap *m)
{
	free(m->buckets);
	memset(m, 0, sizeof(*m));
}
